# One vocabulary for everybody: users need `make serve` and `make test`, contributors the rest, CI the same.
# Every step has a stamp in .make/ and is done again only when what it depends on is newer.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# Arguments for the server: make serve ARGS="--tls self-signed"
ARGS ?=

BIN := .venv/bin
# Not `npm ci`: that fails when a registry lacks a platform's optional package, which a lock then cannot name.
# The lock still decides every version and hash.
NPM_INSTALL := install --no-save --silent --no-audit --no-fund
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
export PYTHON

CORE_SOURCES := Cargo.toml Cargo.lock pyproject.toml tools/build_backend.py \
	$(shell find crates -type f \( -name '*.rs' -o -name Cargo.toml \) -not -path '*/target/*')
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' \
	-not -name '*.test.ts' 2>/dev/null)
PYTHON_SOURCES := python tests tools bench

.PHONY: help
help: ## Say what each verb does
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

.PHONY: serve
serve: .make/core .make/web ## Build what changed and run the server
	@exec $(BIN)/stagecast serve $(ARGS)

.PHONY: setup
setup: .make/dev .make/core .make/web .make/tools ## Build everything a contributor needs, into .venv and node_modules

.PHONY: dev
dev: setup ## Run the server and the web apps with live reload
	@exec tools/dev $(ARGS)

.PHONY: test
test: setup .make/e2e .make/browsers ## Run every check and every test
	@$(BIN)/python tools/suites.py $(ARGS)

.PHONY: bench
bench: setup ## Measure packet cost, join time and forwarding delay
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: gen
gen: setup ## Write generated files again: OpenAPI, web client types
	$(BIN)/python -m stagecast.spec > spec/openapi.json.new
	mv spec/openapi.json.new spec/openapi.json
	npm --prefix web run --silent gen

.PHONY: fmt
fmt: setup ## Format all code
	$(BIN)/ruff check --fix-only --quiet $(wildcard $(PYTHON_SOURCES))
	$(BIN)/ruff format $(wildcard $(PYTHON_SOURCES))
	cargo fmt --all
	npm --prefix web run --silent fmt

.PHONY: clean
clean: ## Remove everything that was built; data stays
	rm -rf .make .venv target python/stagecast/web_dist web/node_modules tools/node_modules tests/e2e/node_modules
	rm -f python/stagecast/_core*.so

# --- checks ------------------------------------------------------------------------------------------------------

CHECKS := check-format check-lint check-types check-imports check-core-stub check-rust check-web check-spec

.PHONY: check $(CHECKS)
check: $(CHECKS) ## Formatters, linters, type checkers and contracts

check-format: setup
	$(BIN)/ruff format --check --quiet $(wildcard $(PYTHON_SOURCES))
	cargo fmt --all --check

check-lint: setup
	$(BIN)/ruff check --quiet $(wildcard $(PYTHON_SOURCES))

check-types: setup
	tools/node_modules/.bin/pyright --pythonpath $(BIN)/python --warnings

check-imports: setup
	PYTHONPATH=tools $(BIN)/lint-imports --no-cache --no-logo

check-core-stub: setup
	MYPYPATH=python $(BIN)/stubtest --mypy-config-file tools/stubtest.ini stagecast._core

check-rust: setup
	cargo clippy --workspace --all-targets --quiet --locked -- -D warnings

check-web: setup
	npm --prefix web run --silent lint
	npm --prefix web run --silent check

check-spec: setup
	@mkdir -p .make
	$(BIN)/python -m stagecast.spec > .make/openapi.json
	@diff -u spec/openapi.json .make/openapi.json || { echo 'spec/openapi.json is not what the code says: run make gen' >&2; exit 1; }
	npm --prefix web run --silent gen:check

# --- what is built -----------------------------------------------------------------------------------------------

.venv/bin/python:
	@tools/preflight
	$(PYTHON) -m venv .venv

.make/venv: requirements.lock | .venv/bin/python
	@mkdir -p $(@D)
	@echo 'stagecast: installing Python packages'
	@$(PIP) install --require-hashes -r requirements.lock
	@touch $@

.make/dev: requirements-dev.lock .make/venv
	@echo 'stagecast: installing development packages'
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# Editable: Python code is used where it stands, the core is compiled into python/stagecast/.
.make/core: .make/venv $(CORE_SOURCES)
	@tools/preflight
	@echo 'stagecast: building the media core (the first time takes some minutes)'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

.make/web-deps: web/package.json web/package-lock.json
	@mkdir -p $(@D)
	@tools/preflight
	@echo 'stagecast: installing web packages'
	@npm --prefix web $(NPM_INSTALL)
	@touch $@

.make/web: .make/web-deps $(WEB_SOURCES)
	@echo 'stagecast: building the web apps'
	@npm --prefix web run --silent build > .make/web.log 2>&1 || { cat .make/web.log >&2; exit 1; }
	@touch $@

.make/tools: tools/package.json tools/package-lock.json
	@mkdir -p $(@D)
	@npm --prefix tools $(NPM_INSTALL)
	@touch $@

.make/e2e: tests/e2e/package.json tests/e2e/package-lock.json
	@mkdir -p $(@D)
	@npm --prefix tests/e2e $(NPM_INSTALL)
	@touch $@

.PHONY: .make/browsers
.make/browsers:
	@tools/browsers
