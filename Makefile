# For a newcomer: `make quickstart` and `make test`.
# Everything lives in .venv; PYTHON chooses another interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt $(shell find qaqfilter plugins -name '*.py')
# qaqfilter needs llama.cpp's text models only; leaving the image library out saves compiling it.
LLAMA := CMAKE_ARGS="-DLLAVA_BUILD=OFF $(CMAKE_ARGS)"

.DEFAULT_GOAL := help
.PHONY: help quickstart laptop test fast lint types unit reference site dev clean

help:  ## Say what there is to make.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(VENV)/.core  ## Install the core and filter 150 real records; no compiler, no torch.
	$(BIN)/python examples/quickstart.py

laptop: $(VENV)/.laptop  ## The same with Gemma 3 270M (compiles llama.cpp once).
	$(BIN)/python examples/quickstart.py examples/laptop.yaml

test: lint types unit  ## Everything that CI runs.

# Two at once, each file by one: no test counts on having the machine to itself.
fast: $(VENV)/.tests  ## The tests without the slow ones.
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.tests
	$(BIN)/mypy

unit: $(VENV)/.tests
	$(BIN)/pytest -n 2 --dist loadfile

reference: $(VENV)/.tests  ## Write docs/recipe-reference.md anew from the code.
	$(BIN)/python tools/recipe_reference.py

site: $(VENV)/.site  ## Write the documentation as a site, to build/site/html.
	$(BIN)/python tools/site/build.py

dev: $(VENV)/.tests  ## An editable install, and the pre-commit hooks.
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/pre-commit install

clean:  ## Remove what was made.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis examples/out

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.core: $(VENV)/.made $(SOURCES)
	$(BIN)/pip install --quiet --constraint constraints.txt .
	touch $@

$(VENV)/.laptop: $(VENV)/.made $(SOURCES)
	@echo "Installing; the first time this compiles llama.cpp, which takes minutes."
	$(LLAMA) $(BIN)/pip install --quiet --constraint constraints.txt '.[llamacpp,gemma]'
	touch $@

# The site needs no models, so nothing is compiled for it.
$(VENV)/.site: $(VENV)/.made $(SOURCES)
	$(BIN)/pip install --quiet --constraint constraints.txt '.[testing]' --group site
	touch $@

# Tests run on the built wheel, not on the source tree.
$(VENV)/.tests: $(VENV)/.made $(SOURCES)
	@echo "Installing; the first time this compiles llama.cpp, which takes minutes."
	$(LLAMA) $(BIN)/pip install --quiet --constraint constraints.txt '.[all]' --group dev
	touch $@
