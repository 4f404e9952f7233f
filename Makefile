# make             lists the targets
# make quickstart  makes a virtual environment, trains for a few minutes on a CPU, and prints a table of errors
#
# PYTHON  interpreter from which the environment is made, 3.11 or later
# TORCH   requirement of torch that is passed to pip. On Linux the default build contains several GB of CUDA libraries.
#         Without a GPU, take the CPU build from the index that pytorch.org names for it:
#             make quickstart TORCH="torch==2.13.0 --index-url <PyTorch's CPU index>"
# VENV    folder of the environment

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
.DEFAULT_GOAL := help
.PHONY: help install quickstart cluster test slow clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed  ## make the environment in .venv

quickstart: $(VENV)/.installed  ## install, train on 256 frames of MgO, validate on 14, test on 30
	$(BIN)/esen train recipes/quickstart.yaml
	@echo
	@echo "Curves and system load:  $(BIN)/mlflow ui      (then open http://127.0.0.1:5000)"
	@echo "All commands:            $(BIN)/esen --help"

# torch-cluster is published as source only and is built against the installed torch. The build needs a C++ compiler,
# 2 GB of memory, and 10 to 20 minutes on one core (MAX_JOBS=4 make cluster: four cores, 8 GB).
cluster: $(VENV)/.installed  ## build torch-cluster for graph.backend: torch_cluster, 10 to 20 minutes
	$(PIP) install setuptools wheel
	MAX_JOBS=$${MAX_JOBS:-1} $(PIP) install --no-build-isolation --no-deps torch-cluster==1.6.3

test: $(VENV)/.installed-dev  ## check style, types and imports, and run all tests but the slow ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

slow: $(VENV)/.installed-dev  ## run the tests that take minutes each
	$(BIN)/python -m pytest -m slow

clean:  ## remove the environment and all caches; runs/ and mlflow.db are kept
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find esen esen_cli tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# The stamp files prevent `make` from installing again when nothing has changed.
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
