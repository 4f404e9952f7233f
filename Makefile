# make            what there is
# make quickstart a virtual environment, a training of a few minutes on a CPU, a table of its errors
#
# PYTHON  the interpreter that the environment is made with, 3.11 or later
# TORCH   what pip is asked for. On Linux the default build brings several GB of CUDA libraries; without a GPU
#         take the CPU build from the index that pytorch.org names for it:
#             make quickstart TORCH="torch==2.13.0 --index-url <PyTorch's CPU index>"
# VENV    where the environment is

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
.DEFAULT_GOAL := help
.PHONY: help install quickstart cluster test slow clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed  ## the environment in .venv

quickstart: $(VENV)/.installed  ## install, train on 270 frames of MgO, evaluate on 30
	$(BIN)/esen train recipes/quickstart.yaml
	@echo
	@echo "Curves and system load:  $(BIN)/mlflow ui      (then open http://127.0.0.1:5000)"
	@echo "What else there is:      $(BIN)/esen --help"

# torch-cluster is published as source only, and its build needs the torch that is here: a C++ compiler, 2 GB of memory,
# 10 to 20 minutes of one core (MAX_JOBS=4 make cluster: four cores, 8 GB).
cluster: $(VENV)/.installed  ## torch-cluster, for graph.backend: torch_cluster; compiles for 10 to 20 minutes
	$(PIP) install setuptools wheel
	MAX_JOBS=$${MAX_JOBS:-1} $(PIP) install --no-build-isolation --no-deps torch-cluster==1.6.3

test: $(VENV)/.installed-dev  ## style, types, imports, and all tests but the slow ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

slow: $(VENV)/.installed-dev  ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

clean:  ## remove the environment and all caches; runs/ and mlflow.db stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find esen esen_cli tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# The stamps keep `make` from installing again what has not changed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python %d.%d is too old: make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) install $(TORCH)
	$(PIP) install -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -e ".[dev]"
	@touch $@
