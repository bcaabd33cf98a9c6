# Two commands: `make lab` and `make test`. Each installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip installs into the environment from outside, so that nothing but Python with pip is needed.
INSTALL = $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --editable

.PHONY: lab test check format transcripts clean
.DELETE_ON_ERROR:

lab: $(VENV)/lab.stamp ## install, then run the experiments and write lab-report/
	$(BIN)/halfstep lab

test: $(VENV)/test.stamp ## install, then run the tests
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile # threads of both processes would compete

check: $(VENV)/dev.stamp ## lint, strict types and the import contract
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

transcripts: $(VENV)/test.stamp ## rewrite the output of the commands that the README and the docs show
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/transcripts.py

clean:
	rm -rf $(VENV) lab-report

$(BIN)/python:
	$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/lab.stamp: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[plot,tune]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[test]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[dev]'
	@touch $@
