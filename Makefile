# `make run` sets everything up and runs the main job; `make test` sets everything up and runs the tests.
PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= logical
BIN    := $(VENV)/bin

.PHONY: run test test-slow test-train lint setup clean help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: $(VENV)/.installed  ## nine researchers on w2s-math, then the report
	$(BIN)/aarlab run w2s-math

test: $(VENV)/.installed-dev  ## lint, types and all fast tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m "not slow and not train"

test-slow: $(VENV)/.installed-dev  ## the kill -9 drills and whole runs (about forty minutes on two cores)
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m slow

test-train: $(VENV)/.installed-dev  ## feature extraction against the data pack (needs the [train] extra)
	$(BIN)/pytest -m train

lint: $(VENV)/.installed-dev  ## formatting, lint and types
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

setup: $(VENV)/.installed-dev  ## the virtual environment with everything the tests need

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aarlab needs Python 3.11 or newer; this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:           ## remove the virtual environment and caches (labs are kept)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
