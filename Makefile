# Every target first sets up .venv from requirements.lock where that is missing or out of date.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3# any Python from 3.11 on, used to create .venv
TORCH ?= 2.13.0# the release that `make lock` pins
LOGS ?=# make demo LOGS=DIR: train on the data set in DIR instead of simulated logs
PYTEST_ARGS ?=# make test PYTEST_ARGS="-k market -x"
TEST_JOBS ?= 2# processes that run the tests, each on one thread but for what a test asks for; 0: none beside pytest
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UNFINISHED := $(VENV)/.unfinished
PIP := -m pip --quiet --quiet --disable-pip-version-check --no-input

.PHONY: help setup demo test browser docs lint check check-all bench lock lowest release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## create .venv (the other targets do it by themselves)

demo: $(STAMP) ## run the suite demo/v2, write runs/demo/report.html; LOGS=DIR trains on your own logs
	@$(BIN)/vamo demo $(if $(LOGS),--logs "$(LOGS)")

test: $(STAMP) ## run the tests but the exhaustive ones; PYTEST_ARGS="-k market -x" goes to pytest
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal $(PYTEST_ARGS)

browser: ## install Debian's Chromium, in which the tests open the report pages; without it they are skipped
	@command -v chromium >/dev/null || { \
	  command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || { \
	    echo "make: Chromium needs root and apt-get (Debian, Ubuntu); install it by hand" >&2; exit 1; }; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null; }

lint: $(STAMP) ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

check: lint ## what every change must pass: lint, mypy --strict, tests
	@$(BIN)/mypy
	@$(MAKE) test

check-all: lint ## what a release must pass: check with the exhaustive tests too
	@$(BIN)/mypy
	@$(MAKE) test PYTEST_ARGS='-m "exhaustive or not exhaustive" $(PYTEST_ARGS)'

bench: $(STAMP) ## print the speed figures; BENCH_ARGS goes to `vamo bench speed`
	@$(BIN)/vamo bench speed $(BENCH_ARGS)

docs: $(STAMP) ## build the documentation and the pages of published results into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --clean
	@echo "site/index.html (with search: $(BIN)/python -m http.server --directory site)"

# An interrupted set-up leaves $(UNFINISHED), so the next one starts from an empty environment. An environment
# that somebody made by hand has neither mark and is completed in place.
$(STAMP): requirements.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "make: no '$(PYTHON)' found; set PYTHON to a Python >= 3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: needs Python >= 3.11, '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); set PYTHON" >&2; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock (once; 1 to 5 minutes, about 2 GB) ..."
	@rm -f $(STAMP); \
	clear=; if [ -e $(UNFINISHED) ]; then clear=--clear; fi; \
	mkdir -p $(VENV); touch $(UNFINISHED); \
	"$(PYTHON)" -m venv $$clear $(VENV); touch $(UNFINISHED)
	@$(BIN)/python $(PIP) install -r requirements.lock
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .
	@rm -f $(UNFINISHED); touch $(STAMP)

lock: ## resolve pyproject.toml anew and rewrite requirements.lock
	@echo "Resolving into .venv-lock (some minutes) ..."
	@rm -rf .venv-lock; "$(PYTHON)" -m venv .venv-lock
	@.venv-lock/bin/python $(PIP) install "torch==$(TORCH)" -e ".[dev]"
	@{ echo "# Written by 'make lock' with $$(.venv-lock/bin/python --version). Exact versions of everything, dev tools included."; \
	  echo "# Packages that a CUDA build of torch adds are left out: torch pins them itself."; \
	  .venv-lock/bin/python $(PIP) freeze --all --exclude-editable \
	    | sed -E 's/^(torch==[^+]*)\+.*/\1/' | grep -Ev '^(pip|triton|nvidia-[^=]*|cuda-[^=]*)==' ; } > .venv-lock/requirements.lock
	@mv .venv-lock/requirements.lock requirements.lock; rm -rf .venv-lock

lowest: ## run the tests with every lower bound of pyproject.toml, in .venv-lowest
	@echo "Setting up .venv-lowest (some minutes) ..."
	@rm -rf .venv-lowest; "$(PYTHON)" -m venv .venv-lowest
	@"$(PYTHON)" -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  names = p["dependencies"] + sum(p["optional-dependencies"].values(), []); \
	  print("\n".join(n.replace(">=", "==") for n in names if ">=" in n))' > .venv-lowest/requirements.txt
	@.venv-lowest/bin/python $(PIP) install -r .venv-lowest/requirements.txt
	@.venv-lowest/bin/python $(PIP) install --no-deps --no-build-isolation -e .
	@.venv-lowest/bin/python -m pytest $(PYTEST_ARGS)

release: $(STAMP) ## build wheel and source archive into dist/, check the version, try the wheel in a fresh environment
	@.ci/release "$(PYTHON)" "$(abspath $(BIN))/python"

clean: ## remove .venv, caches and builds; runs/ stays
	rm -rf .venv .venv-lock .venv-lowest .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
