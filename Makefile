# The only door. `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
CODE := services sandbox tools tests bench

.PHONY: help setup run demo test faults e2e fuzz lint types fmt check docs docs-check schemas k8s image bench dashboards verify-docker verify-k8s lock clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

.venv/created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/run: .venv/created requirements-sandbox.lock
	@echo "installing what the sandbox needs"
	@$(INSTALL) -r requirements-sandbox.lock
	@$(BIN)/python -m sandbox setup --no-preload
	@touch $@

.venv/dev: .venv/run requirements-dev.lock
	@echo "installing what development needs"
	@$(INSTALL) -r requirements-dev.lock
	@$(BIN)/python -m sandbox setup
	@touch $@

setup: .venv/dev ## install everything that development needs

run: .venv/run ## start the sandbox, show the documents' examples, stay until Ctrl-C
	@exec $(BIN)/python -m sandbox run

demo: .venv/run ## send the documents' examples to the running sandbox
	@$(BIN)/python -m sandbox demo

test: .venv/dev ## the tests, on servers of their own
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

faults: .venv/dev ## the long tests: poison, rotation under load, expiry, other clients, live alerts
	@$(BIN)/python -m pytest -m long

e2e: .venv/dev ## the tests that drive a whole sandbox from outside
	@$(BIN)/python -m pytest tests/e2e

fuzz: .venv/dev ## a hundred thousand wrong requests to the import API, five thousand histories of a job
	@$(BIN)/python -m tests.openapi.campaign
	@FUZZ_SEEDS=5000 $(BIN)/python -m pytest -q tests/status/test_fuzz.py

lint: .venv/dev ## style and the direction of imports
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "run 'make fmt'"; exit 1; }
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/lint-imports --no-cache

types: .venv/dev ## mypy, strict
	@$(BIN)/mypy

fmt: .venv/dev ## format, and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet $(CODE) || true
	@$(BIN)/ruff format --quiet $(CODE)

docs: .venv/dev ## write the generated documents anew
	@$(BIN)/python -m tools write-docs

docs-check: .venv/dev
	@$(BIN)/python -m tools check-docs

schemas: .venv/dev ## fail if a schema would break a reader
	@$(BIN)/python -m services schemas check

k8s: .venv/dev ## render the manifests and judge them without a cluster
	@$(BIN)/python -m pytest -q -r fE tests/deploy/test_manifests.py tests/deploy/test_same_everywhere.py

image: ## build the image, as tillstream:local
	@docker build --tag tillstream:local .

check: lint types schemas docs-check k8s ## lint, types, import contracts, schemas, generated documents up to date, manifests

bench: .venv/dev ## measure the whole sandbox and print a report
	@$(BIN)/python -m bench.tokens
	@$(BIN)/python -m bench.limiter
	@$(BIN)/python -m bench.stages
	@$(BIN)/python -m bench.status
	@$(BIN)/python -m bench.codes
	@$(BIN)/python -m bench

dashboards: .venv/dev ## ask every panel of every dashboard on a sandbox under load
	@$(BIN)/python -m bench.dashboards

verify-docker: .venv/dev ## build the image and try the compose stack; skips without an engine
	@$(BIN)/python -m tests.deploy.verify_docker

verify-k8s: .venv/dev ## let an API server judge the manifests; skips without one
	@$(BIN)/python -m tests.deploy.verify_k8s

lock: .venv/dev ## resolve the dependencies anew
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade pyproject.toml --extra sandbox --extra dev -o requirements-dev.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements-dev.lock pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements-dev.lock pyproject.toml --extra sandbox -o requirements-sandbox.lock

clean: ## remove the sandbox's data, caches and the virtual environment
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m sandbox clean; fi
	rm -rf .sandbox .cache .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build
