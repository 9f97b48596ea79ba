# Two commands do all: `make bench` runs the main job on embedded data, `make test` the tests.

PYTHON ?= python3
VENV ?= .venv
MODELS ?= --model models:ReconPCA --model models:ReconAE
BIN := $(VENV)/bin
READY := $(VENV)/.reconeval-ready
DOCS_READY := $(VENV)/.reconeval-docs-ready

.PHONY: bench test lint docs wheel-test setup clean

bench: $(READY)
	$(BIN)/pytest benchmarks $(MODELS) $(ARGS)

test: $(READY)
	$(BIN)/pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS_READY)
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -d build/doctrees docs build/site
	@echo "the site is in build/site/index.html"

wheel-test: $(READY)
	VENV=$(VENV) .ci/wheel

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "reconeval needs Python 3.11 or later; say PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,scvi,drvi]"
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
