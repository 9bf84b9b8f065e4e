# Set-up happens by itself: every target that needs the package first makes .venv and installs into it.
# Needed on the machine: make, Python >= 3.11 with its venv module, and pip's access to a package index.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ifeq ($(wildcard pyproject.toml),)
$(error No pyproject.toml in "$(CURDIR)": run make in the folder of this Makefile, or make -C FOLDER)
endif

VENV := .venv
STAMP := $(VENV)/installed
WORKERS ?= 2
OUT ?= runs/demo

# Python 3.11 where it answers, else the first interpreter that is at least as new.
is_new_enough := import sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for candidate in python3.11 /usr/bin/python3.11 python3 python3.13 python3.12 python; do \
	"$$candidate" -c "$(is_new_enough)" >/dev/null 2>&1 && echo "$$candidate" && break; done)

# Nothing here downloads a model; a hub name that slips in fails at once instead of after 20 s.
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test install format docs site bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: $(STAMP) ## audit tiny-clip in the built-in world and say where the report is
	$(VENV)/bin/alignscope audit tiny-clip --out "$(OUT)" --overwrite

test: $(STAMP) ## format check, lint, types, import contract, tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/pytest -q -n auto --maxprocesses $(WORKERS) --dist loadfile

install: $(STAMP) ## make .venv and install the package with everything for development

format: $(STAMP) ## write the format and the lint fixes that are safe
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

docs: $(STAMP) ## write docs/cli.md again from the program's own help
	$(VENV)/bin/python tools/cli_help.py

bench: $(STAMP) ## run all speed comparisons and write docs/speed.md (ARGS=--quick: a few minutes)
	$(VENV)/bin/python benchmarks/bench.py $(ARGS)

site: $(STAMP) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "site/index.html; with search: $(VENV)/bin/python -m http.server --bind 127.0.0.1 --directory site"

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with the venv module was found." \
		"Install one (Debian: apt install python3.11-venv) or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c "$(is_new_enough)" || { echo "PYTHON=$(PYTHON) cannot be used:" \
		"Python >= 3.11 with the venv module is needed. Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing into $(VENV) (once; about two minutes and 2 GB, most of it torch)"
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable ".[dev]"
	@date > $@

clean: ## remove .venv, caches and runs/demo
	rm -rf $(VENV) runs/demo site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src -name '*.egg-info' -prune -exec rm -rf {} +
	find src tests -name __pycache__ -prune -exec rm -rf {} +
