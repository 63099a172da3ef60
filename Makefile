# Each target sets up what it needs in .venv (test-oldest and test-wheel in their own), on a fresh machine too.
PYTHON ?= python3
BIN := .venv/bin
# the library chooses threads for fits; this is for torch and NumPy around them, which spin on a busy machine
export OMP_NUM_THREADS ?= 1

.PHONY: demo test fuzz test-oldest test-wheel lint docs linkcheck bench judge clean

demo: .venv/.plot
	$(BIN)/python examples/demo.py

test: .venv/.test
	$(BIN)/python -m pytest --cov --cov-report=term

# a hundred times as many made-up inputs and files as the tests have, and a hundred kills: hours
fuzz: .venv/.test
	NOISYFIT_FUZZ=1 $(BIN)/python -m pytest tests/test_fuzz*.py tests/test_image_files.py tests/test_checkpoint.py
	$(BIN)/python benchmarks/reliability.py kills --n 100

# the lowest versions that pyproject.toml allows
test-oldest: .venv-oldest/.test
	.venv-oldest/bin/python -m pytest

test-wheel: .venv-wheel/.empty
	tests/wheel.sh

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# needs a network
linkcheck: .venv/.docs
	$(BIN)/sphinx-build -q -b linkcheck docs docs/_build/linkcheck

bench: .venv/.bench
	$(BIN)/python benchmarks/against_cleanlab.py

# learns the judge's weights from the corpus in benchmarks/judge, and tells how good it is on tables it has not seen
judge: .venv/.bench
	$(BIN)/python benchmarks/judge/learn.py
	$(BIN)/python benchmarks/judge/evaluate.py

clean:
	rm -rf .venv .venv-oldest .venv-wheel docs/_build docs/auto_examples docs/generated demo_output build *.egg-info

# one stamp per extra: plot, test, lint, docs, bench
.venv/.%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]"
	touch $@

# these two start anew, so that nothing is left in them that is no longer asked for
.venv-oldest/.test: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable ".[test]"
	touch $@

.venv-wheel/.empty: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-wheel
	touch $@
