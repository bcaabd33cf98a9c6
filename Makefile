# The main commands are `make lab` and `make test`. Each command installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip installs into the environment from outside, so that nothing but Python with pip is needed.
# CONSTRAINTS=constraints/dev.txt installs the locked versions instead of the newest.
CONSTRAINTS :=
INSTALL = $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check $(CONSTRAINTS:%=--constraint %) --editable
CLUSTERS := tests/spark tests/cluster/test_ray.py tests/cluster/test_ray_fits.py
# Threads of the test processes would compete, hence one BLAS thread each. Without bytecode, all compile all tests. A
# third process uses the cores while others wait for servers and other processes, of which the quick tests have few.
# The run ends if a worker process does: with --dist loadfile, pytest-xdist 3.8 may wait forever for its replacement.
PYTEST = OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist loadfile --max-worker-restart 0

.PHONY: lab test test-clusters test-thorough quick test-oldest test-processors test-integrations integrations check docs format transcripts lock clean
.DELETE_ON_ERROR:

lab: $(VENV)/lab.stamp ## install, then run the experiments and write lab-report/
	$(BIN)/python -m lab

test: $(VENV)/test.stamp ## install, then run the tests except those of Spark and Ray
	$(PYTEST) -n 3 $(CLUSTERS:%=--ignore=%)

test-clusters: $(VENV)/test.stamp ## the tests of Spark, which needs Java, and Ray
	$(PYTEST) -n 2 $(CLUSTERS)

test-thorough: $(VENV)/test.stamp ## the tests with more random examples, interruptions and kills, and all combinations of parameters, as in nightly runs
	HALFSTEP_TEST_THOROUGH=1 $(PYTEST) -n 3

quick: $(VENV)/test.stamp ## the tests without those marked slow, with fewer random examples, in less than a minute on two cores
	$(PYTEST) -n 2 -m "not slow"

test-oldest: ## the quick tests with the oldest supported versions of Python and all dependencies
	$(MAKE) quick VENV=.venv-oldest PYTHON=python3.11 CONSTRAINTS=constraints/oldest.txt

# OpenBLAS multiplies matrices with other instructions, and kernels have narrower vectors.
test-processors: ## the tests with the instructions of older x86-64 processors: SSE, then AVX2
	OPENBLAS_CORETYPE=Nehalem NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES= $(MAKE) test
	OPENBLAS_CORETYPE=Haswell $(MAKE) test

test-integrations: ## the tests of halfstep.integrations with the frameworks, in .venv-integrations
	$(MAKE) integrations VENV=.venv-integrations

integrations: $(VENV)/integrations.stamp
	OPENBLAS_NUM_THREADS=1 NUMBA_CACHE_DIR=$(CURDIR)/$(VENV)/kernels HALFSTEP_TEST_INTEGRATIONS=required \
	  $(BIN)/python -m pytest tests/integrations

check: $(VENV)/dev.stamp ## lint, strict types and the import contract
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/docs.stamp ## install, then build the site in docs/_build/html; a warning, such as a broken link, is an error
	rm -rf docs/gallery docs/api/generated # pages of what is gone would be errors
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --jobs auto --quiet docs docs/_build/html

format: $(VENV)/dev.stamp
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

transcripts: $(VENV)/test.stamp ## rewrite the output of the commands that the README and the docs show
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/transcripts.py

lock: $(VENV)/dev.stamp ## write the versions of all installed packages to constraints/dev.txt
	{ echo "# Versions of all dependencies for development. Written by \`make lock\`."; \
	  $(PYTHON) -m pip --python $(BIN)/python freeze --quiet --exclude-editable; } > constraints/dev.txt

clean:
	rm -rf $(VENV) .venv-oldest .venv-integrations lab-report docs/_build docs/gallery docs/api/generated

$(BIN)/python:
	$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/lab.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[plot,tune]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[test]'
	@touch $@

$(VENV)/docs.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[docs]'
	@touch $@

$(VENV)/integrations.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[integrations-test]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[dev]'
	@touch $@
