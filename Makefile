# `make` alone lists the targets. Each makes the virtual environment by itself, once: it is made
# again only when pyproject.toml or constraints.txt change. Windows: see README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# For more options of pytest: make test PYTEST="-k tiff -x"
PYTEST ?=
# A process for each core, with one thread each: networks as small as those of the tests gain
# nothing from more. Tests of a file stay together, but for some (tests/conftest.py). A process that
# dies ends the run: started anew, pytest-xdist has been seen to wait for its tests for ever.
PARALLEL := -n logical --maxprocesses 4 --dist loadgroup --max-worker-restart 0

# Where Qt's system libraries are not there, pytest-qt would end all tests, not only its own.
QT = $$($(BIN)/python -c 'from PySide6 import QtGui, QtTest, QtWidgets' 2>/dev/null || echo -p no:pytest-qt)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-gui lint format bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1	/'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "osteon needs Python 3.11 or newer, and '$(PYTHON)' is not:" \
	    "$$($(PYTHON) --version 2>&1)"; \
	  echo "Give another, such as: make test PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## simulate scans, fit, predict a scan, evaluate, report: into osteon-demo/
	$(BIN)/osteon demo --out osteon-demo --overwrite

test: $(STAMP)  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(QT) $(PARALLEL) $(PYTEST)

test-slow: $(STAMP)  ## the tests that take long
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(QT) $(PARALLEL) -m slow $(PYTEST)

test-gui: $(STAMP)  ## the tests of the window alone, slow ones too (they are part of the others)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(QT) tests/gui -m "slow or not slow" $(PYTEST)

lint: $(STAMP)  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## put the code into ruff's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## the measurements that need no data
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/prediction.py

clean:  ## remove what make and the tools left, but for the environment
	rm -rf osteon-demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache
	find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
