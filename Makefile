# Each target sets up what it needs in .venv, on a fresh machine too.
PYTHON ?= python3
BIN := .venv/bin
# the networks here are too small for more, and on a busy machine spinning threads take ten times the time
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint docs bench clean

demo: .venv/.plot
	$(BIN)/python examples/demo.py

test: .venv/.test
	$(BIN)/python -m pytest --cov --cov-report=term

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: .venv/.bench
	$(BIN)/python benchmarks/against_cleanlab.py

clean:
	rm -rf .venv docs/_build docs/generated demo_output build *.egg-info

# one stamp per extra: plot, test, lint, docs, bench
.venv/.%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]"
	touch $@
