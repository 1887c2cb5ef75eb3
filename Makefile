# Everything that is done with this tree by command. `make help` lists it.
#
# Needs Python 3.11 or newer with venv, and make. Everything else is installed into $(VENV).

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KILLS ?= 300
ROUNDS ?= 50
SECONDS ?= 60
SEEDS ?= 100
FIRST ?= 1
JOBS ?= 2
MINUTES ?= 5
NODES ?= 3
NODE_STAMP := examples/node/node_modules/.installed
TOOLS_STAMP := tests/browser/node_modules/.installed
DASHBOARD := tq/broker/api/dashboard
# How what Debian packages is installed where it is missing.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -n)

# Python only: examples in documents are laid out for readers.
SOURCES := tq lab benchmarks examples scripts tests
# Code beside the package that is held to the same types.
TYPED := lab benchmarks examples tests/crash tests/checks tests/sim tests/cluster tests/rustq

# Programs started by the tests are measured too: coverage starts in every Python process that sees these two.
COVERAGE := COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/build/coverage/data
# What decides, what parses bytes and what works out delays is tested in every branch.
EXHAUSTIVE := tq/broker/machine/*,tq/protocol/*,tq/retry.py

.DEFAULT_GOAL := help
.PHONY: help setup node tools chromium pictures tracers demo test check style types types-beside dashboard layers generated bench crash sim chaos fuzz clean servers faults duckfaults

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create the virtual environment and install tq into it, when something changed

$(STAMP): pyproject.toml constraints.txt
	@for python in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && { test -x $(BIN)/python || "$$python" -m venv $(VENV); } && break; \
	done; \
	test -x $(BIN)/python || { echo "tq needs Python 3.11 or newer with venv (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' </dev/null
	@touch $(STAMP)

node: $(NODE_STAMP)  ## install what the worker in Node needs, with npm

$(NODE_STAMP): examples/node/package.json
	@command -v npm >/dev/null || { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq --no-install-recommends nodejs npm; } >/dev/null \
	  || { echo "the worker in Node needs Node 18 or newer with npm (Debian: apt install nodejs npm)" >&2; exit 1; }
	@cd examples/node && npm install --silent --no-audit --no-fund --no-package-lock </dev/null
	@touch $(NODE_STAMP)

tools: $(TOOLS_STAMP)  ## install what checks the dashboard, with npm

$(TOOLS_STAMP): tests/browser/package.json
	@command -v npm >/dev/null || { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq --no-install-recommends nodejs npm; } >/dev/null \
	  || { echo "checking the dashboard needs Node 18 or newer with npm (Debian: apt install nodejs npm)" >&2; exit 1; }
	@cd tests/browser && npm install --silent --no-audit --no-fund --no-package-lock </dev/null
	@touch $(TOOLS_STAMP)

tracers:  ## install what the cluster's tests watch brokers with
	@command -v strace >/dev/null || { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq --no-install-recommends strace; } >/dev/null \
	  || { echo "the cluster's tests need strace (Debian: apt install strace)" >&2; exit 1; }

chromium:  ## install Chromium, which the dashboard's tests look through, where it is missing
	@command -v chromium >/dev/null || { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq --no-install-recommends chromium; } >/dev/null \
	  || { echo "the dashboard's tests need Chromium (Debian: apt install chromium)" >&2; exit 1; }

pictures: setup chromium  ## take the pictures of docs/dashboard.md anew
	@$(BIN)/python -m tests.browser.pictures docs/images

demo: setup  ## a broker and two workers do a real job, one is killed on the way, every result is checked
	@$(BIN)/python -m examples.demo

test: check node chromium servers tracers  ## all checks, then the whole test suite with its coverage gates
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(COVERAGE) PYTHONHASHSEED=0 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal </dev/null
	@$(COVERAGE) sh -c '$(BIN)/coverage combine --quiet && rm -f build/coverage/data.* && $(BIN)/coverage report --skip-covered --show-missing' >build/coverage.txt 2>&1 \
	  || { cat build/coverage.txt; exit 1; }
	@for gate in '--fail-under=90' '--fail-under=100 --include=$(EXHAUSTIVE)'; do \
	  COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage report --show-missing $$gate >build/gate.txt \
	    || { cat build/gate.txt; echo "coverage gate missed: $$gate"; exit 1; }; \
	done

check: setup tools  ## style, types, layers and generated files
	@$(MAKE) --no-print-directory --jobs=$(JOBS) --output-sync=target style types types-beside dashboard layers generated
	@echo "checks passed"

style: setup
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet --check $(SOURCES)

types: setup
	@$(BIN)/mypy --strict --no-error-summary

types-beside: setup
	@$(BIN)/mypy --strict --no-error-summary --cache-dir .mypy_cache/beside $(TYPED)

dashboard: tools
	@tests/browser/node_modules/.bin/tsc --project $(DASHBOARD)
	@tests/browser/node_modules/.bin/prettier --log-level warn --check $(DASHBOARD)/app $(DASHBOARD)/components $(DASHBOARD)/pages

layers: setup
	@mkdir -p build && $(BIN)/lint-imports --no-cache >build/imports.txt 2>&1 || { cat build/imports.txt; exit 1; }

generated: setup
	@$(BIN)/python scripts/unasync.py --check
	@$(BIN)/python scripts/protos.py --check

bench: setup  ## measure every figure of benchmarks/, as a Markdown table
	@$(BIN)/python -m benchmarks.run

crash: setup  ## kill -9 the broker KILLS times (300) under load and check what it had acknowledged
	@$(BIN)/python -m tests.crash --kills $(KILLS)

faults: setup servers  ## kill and stop Redis, RabbitMQ and the broker ROUNDS (50) times each under rustq's load
	@$(BIN)/python -m tests.rustq --rounds $(ROUNDS)

duckfaults: setup servers  ## kill and stop Redis, PostgreSQL and the broker ROUNDS (50) times each under StackDuck's load
	@$(BIN)/python -m tests.stackduck --rounds $(ROUNDS)

sim: setup  ## simulate a cluster under SEEDS (100) random schedules of faults, from seed FIRST (1) on; SHORT=1: short ones
	@$(BIN)/python -m tests.sim --seeds $(SEEDS) --first $(FIRST) --processes $(JOBS) $(if $(SHORT),--short)

chaos: setup tracers  ## break a cluster of NODES (3) real brokers for MINUTES (5) in every way and check what it had acknowledged
	@$(BIN)/python -m tests.cluster.chaos --minutes $(MINUTES) --nodes $(NODES)

fuzz: setup  ## run every fuzz target for SECONDS (60) each
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,fuzz]' </dev/null
	@set -e; for target in tests/fuzz/fuzz_*.py; do \
	  echo "$$target for $(SECONDS) s"; \
	  $(BIN)/python $$target -max_total_time=$(SECONDS) -print_final_stats=1 </dev/null; \
	done

clean:  ## remove what the other targets made, the virtual environment too
	@rm -rf $(VENV) build examples/node/node_modules tests/browser/node_modules *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
