# All commands of the project; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell tools/find-python)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
CODE := services sandbox tools tests bench clients

.PHONY: help setup run demo test faults e2e browser fuzz simulate campaign plants lint types fmt check docs docs-check schemas k8s native native-remove image client bench dashboards verify-docker verify-k8s lock clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

.venv/created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	@python=$$(tools/find-python --describe $(PYTHON)) || { echo "$$python"; exit 1; }; echo "creating .venv with $$python"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/run: .venv/created requirements-sandbox.lock
	@echo "installing the sandbox"
	@$(INSTALL) -r requirements-sandbox.lock
	@$(BIN)/python -m sandbox setup --no-preload
	@touch $@

.venv/dev: .venv/run requirements-dev.lock
	@echo "installing development tools"
	@$(INSTALL) -r requirements-dev.lock
	@$(BIN)/python -m sandbox setup
	@touch $@

setup: .venv/dev ## install everything for development

run: .venv/run ## start the sandbox, send the documented examples, run until Ctrl-C
	@exec $(BIN)/python -m sandbox run

demo: .venv/run ## send the documented examples to the running sandbox
	@$(BIN)/python -m sandbox demo

test: .venv/dev ## run the tests; they start their own servers
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

faults: .venv/dev ## run the long tests: poison records, key rotation, expiry, other clients, live alerts
	@$(BIN)/python -m pytest -m long

e2e: .venv/dev ## run the end-to-end tests against a sandbox
	@$(BIN)/python -m pytest tests/e2e

browser: .venv/dev ## run the tests of the portal in Chromium (apt-get install chromium)
	@$(BIN)/python -m pytest -m browser tests/browser $(if $(ONLY),-k "$(ONLY)")

fuzz: .venv/dev ## fuzz the import API (100,000 invalid requests), status (5,000 job histories) and ledger (5,000 sites)
	@$(BIN)/python -m tests.openapi.campaign
	@FUZZ_SEEDS=5000 $(BIN)/python -m pytest -q tests/status/test_fuzz.py tests/ledger/test_fuzz.py

simulate: .venv/dev ## play 10,000 simulated stories of kills, lost messages and elections
	@$(BIN)/python -m tests.simulation --seeds $${SEEDS:-10000} --processes 2 --shrink

campaign: .venv/dev ## play rounds of random faults against real servers for MINUTES (10), from SEED (1)
	@$(BIN)/python -m tests.faults.campaign --minutes $${MINUTES:-10} --seed $${SEED:-1}

plants: .venv/dev ## plant known bugs one at a time and see whether their suites notice
	@$(BIN)/python -m tests.faults.plants

lint: .venv/dev ## check style, import contracts and prose
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "run 'make fmt'"; exit 1; }
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tools check-prose

types: .venv/dev ## run mypy (strict)
	@$(BIN)/mypy

fmt: .venv/dev ## format the code and apply automatic fixes
	@$(BIN)/ruff check --fix --quiet $(CODE) || true
	@$(BIN)/ruff format --quiet $(CODE)

docs: .venv/dev ## regenerate the generated documents and manifests
	@$(BIN)/python -m tools write-docs

docs-check: .venv/dev
	@$(BIN)/python -m tools check-docs

schemas: .venv/dev ## fail if a schema would break a reader
	@$(BIN)/python -m services schemas check

k8s: .venv/dev ## render and validate the manifests without a cluster
	@$(BIN)/python -m pytest -q -r fE tests/deploy/test_manifests.py tests/deploy/test_same_everywhere.py

client: .venv/dev ## build the wheel of the client library and command line, into build/client
	@$(BIN)/python clients/python/generate_sync.py --check
	@$(BIN)/uv build --quiet --wheel --out-dir build/client clients/python
	@rm -rf clients/python/build clients/python/*.egg-info
	@ls build/client/*.whl

native: .venv/dev ## compile the hot path for this machine; needs a C compiler; `make native-remove` undoes it
	@$(BIN)/python -m tools.native

native-remove: ## remove the compiled modules
	@$(BIN)/python -m tools.native remove

image: ## build the image tillstream:local
	@docker build --tag tillstream:local .

check: lint types schemas docs-check k8s ## run all static checks: lint, types, schemas, generated documents, manifests

bench: .venv/dev ## run the benchmarks and print a report
	@$(BIN)/python -m bench.tokens
	@$(BIN)/python -m bench.limiter
	@$(BIN)/python -m bench.stages
	@$(BIN)/python -m bench.status
	@$(BIN)/python -m bench.puts
	@$(BIN)/python -m bench.codes
	@$(BIN)/python -m bench.code_orders
	@$(BIN)/python -m bench.feed
	@$(BIN)/python -m bench.feed_pages
	@$(BIN)/python -m bench.ledger
	@$(BIN)/python -m bench.ledger_lag
	@$(BIN)/python -m bench.client
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.visibility
	@$(BIN)/python -m bench.growth --short
	@$(BIN)/python -m bench.attacks

dashboards: .venv/dev ## query every dashboard panel on a sandbox under load
	@$(BIN)/python -m bench.dashboards

verify-docker: .venv/dev ## build the image and test the compose stack; skipped without Docker
	@$(BIN)/python -m tests.deploy.verify_docker

verify-k8s: .venv/dev ## validate the manifests on an API server; skipped without one
	@$(BIN)/python -m tests.deploy.verify_k8s

lock: .venv/dev ## upgrade the locked dependencies
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade pyproject.toml --extra sandbox --extra dev -o requirements-dev.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements-dev.lock pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements-dev.lock pyproject.toml --extra sandbox -o requirements-sandbox.lock
	@echo mypy | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements-dev.lock - -o requirements-native.lock

clean: ## remove the sandbox's data, caches and the virtual environment
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m sandbox clean; fi
	rm -rf .sandbox .cache .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build
