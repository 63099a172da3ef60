# Each target sets up what it needs in .venv (test-oldest and test-wheel in their own), on a fresh machine too.
PYTHON ?= python3
BIN := .venv/bin
# the library chooses threads for fits; this is for torch and NumPy around them, which spin on a busy machine
export OMP_NUM_THREADS ?= 1
# a worker for each core; each needs half a gigabyte
PYTEST := python -m pytest -n logical --maxprocesses 8 --dist worksteal
COVERAGE := --cov --cov-report=term

.PHONY: demo test all test-all gallery browser fuzz test-oldest test-wheel lint docs linkcheck bench judge clean

demo: .venv/.plot
	$(BIN)/python examples/demo.py

# what CI runs: all but the tests marked as thorough
test: .venv/.test
	$(BIN)/$(PYTEST) $(COVERAGE)

# all that is checked anywhere but in `make fuzz`, one after the other
all: lint gallery test-all

# those marked as thorough, too, with a hundredth of the made-up inputs of `make fuzz`
test-all: .venv/.test
	NOISYFIT_FUZZ=0.01 $(BIN)/$(PYTEST) -m "" $(COVERAGE)

# the review page in a browser, where /usr/bin/chromium and chromedriver are there
browser: .venv/.test
	$(BIN)/$(PYTEST) -m "" tests/test_review_page.py tests/test_review_checks.py

# a hundred times as many made-up inputs and files as the tests have, and a hundred kills: an hour or two
fuzz: .venv/.test
	NOISYFIT_FUZZ=1 $(BIN)/python -m pytest -m "" tests/test_fuzz*.py tests/test_image_files.py tests/test_checkpoint.py
	$(BIN)/python benchmarks/reliability.py kills --n 100

# the lowest versions that pyproject.toml allows
test-oldest: .venv-oldest/.test
	NOISYFIT_FUZZ=0.01 .venv-oldest/bin/$(PYTEST) -m ""

test-wheel: .venv-wheel/.empty
	tests/wheel.sh

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the pages, with the text of the examples
docs: .venv/.docs
	$(BIN)/sphinx-build -W --keep-going -q -D plot_gallery=0 -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# the pages, with what the examples print and draw: runs them all
gallery: .venv/.docs
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
