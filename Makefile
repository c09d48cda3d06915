# Every target sets up what it needs. `make PYTHON=python3.12 setup` chooses another Python.

PYTHON ?= python3
EMBEDDED ?= 1
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 2)')  # many tests wait for other processes
# Hundreds of processes are started: what they import is compiled once, whatever the environment says.
TESTS := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(WORKERS) --dist worksteal
READY := $(VENV)/.ready
SDKS := .venv-sdks
SDKS_READY := $(SDKS)/.ready
ON_POSTGRES := tests/http tests/client $(addprefix tests/e2e/,deploy examples feed jobs postgres reload webhooks)
LOCKED := --universal --generate-hashes --no-header --no-annotate -q
SECONDS ?= 3600
ONE_FILE := dist/foreman$(if $(filter 0,$(EMBEDDED)),-slim)

.DEFAULT_GOAL := help
.PHONY: help setup sdks demo run test check bench profile simulate coverage generate pictures docs crash prove soak dist dist-check binary audit lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Install everything into .venv

sdks: $(SDKS_READY) ## Install the clients of other projects that tests/sdks runs, into .venv-sdks (needs npm)

demo: $(READY) ## Run one real job on this machine and show each step
	@$(BIN)/foreman demo

run: $(READY) ## Start Foreman (settings: config/foreman.toml, FOREMAN_…)
	@exec $(BIN)/foreman serve

test: $(READY) ## Run the tests
	@$(TESTS)

check: $(READY) ## Run the whole gate: format, lint, types, import contracts, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory test

bench: $(READY) ## Measure speed, one line per figure
	@$(BIN)/python -m tests.bench

profile: $(READY) ## Show where the CPU time of a call goes, in flame graphs, too (needs py-spy)
	@$(BIN)/python -m tests.profile

simulate: $(READY) ## Replay a trace in virtual time, against arrival order (TRACE=file, ARGS="--help")
	@$(BIN)/python -m tests.simulate $(TRACE) $(ARGS)

coverage: $(READY) ## Run the tests and list the lines and branches that none of them reaches
	@$(TESTS) --cov --cov-report=term-missing

generate: $(READY) ## Write the generated files anew: the client without an event loop, the references
	@$(BIN)/python -m scripts.generate

pictures: $(READY) ## Take the pictures of docs/ anew, of the page and the terminal (needs a Chromium)
	@$(BIN)/python -m tests.pictures

docs: $(READY) ## Build the documentation into site/; fail on a broken link or an outdated reference
	@$(BIN)/python -m scripts.generate --check
	@$(BIN)/zensical build --clean --strict
	@echo "Open site/index.html; its search needs a server: $(BIN)/python -m http.server -b 127.0.0.1 -d site 8001"

crash: $(READY) ## Kill Foreman 1,500 times, and have 1,000 faults befall fleets of it; fail if anything is lost
	@$(BIN)/python -m tests.crash
	@$(BIN)/python -m tests.crash --batches --kills 500
	@$(BIN)/python -m tests.crash --nodes 3

prove: $(READY) ## Run random histories, requests, outages, hang-ups, a long storm, and the suite on PostgreSQL (an hour)
	@$(BIN)/pytest --hypothesis-profile=thorough tests/queue/test_machine.py tests/http/openapi
	@$(TESTS) -q tests/simulation --sim-seeds 200
	@LEAK_CALLS=5000 $(BIN)/pytest tests/http/test_leaks.py
	@$(BIN)/pytest -q tests/e2e/storm --storm-seconds 300
	@for store in installed wheel; do $(TESTS) -q --store postgres-$$store --away-seconds 60 $(ON_POSTGRES) || exit 1; done

soak: $(READY) ## Run an hour of mixed load; fail if memory or descriptors grow (SECONDS=3600)
	@$(BIN)/python -m tests.e2e.soak --seconds $(SECONDS)

dist: $(READY) ## Build the packages that pip, pipx and uv install: dist/*.whl and dist/*.tar.gz
	@rm -f dist/foreman_llm-*
	@$(BIN)/hatchling build -d dist > build.log 2>&1 || { cat build.log >&2; exit 1; }; rm -f build.log
	@ls -1sh dist/foreman_llm-*

dist-check: $(READY) ## Install dist/*.whl by pip, pipx and uv with every Python that is here; run a job with each
	@$(BIN)/python -m scripts.dist_check

binary: $(READY) ## Build one file that needs no Python, and try it: dist/foreman (EMBEDDED=0: dist/foreman-slim)
	@echo "Building $(ONE_FILE); this takes about two minutes …"
	@EMBEDDED=$(EMBEDDED) $(BIN)/pyinstaller --noconfirm --log-level ERROR --distpath dist --workpath build config/foreman.spec
	@echo "Trying it: $(ONE_FILE), $$(($$(wc -c < $(ONE_FILE)) / 1000000)) MB …"
	@$(BIN)/pytest -q tests/e2e/deploy/test_binary.py --binary $(ONE_FILE)
	@echo "Ready: $(ONE_FILE)"

audit: ## Check the pinned packages, and the clients of tests/sdks, for known vulnerabilities (needs uv, npm)
	@failed=0; for file in requirements.txt tests/sdks/requirements.txt; do \
	    uvx pip-audit --disable-pip --require-hashes --requirement $$file || failed=1; done; \
	  npm --prefix tests/sdks audit --package-lock-only || failed=1; exit $$failed

lock: ## Pin the packages of pyproject.toml in requirements.txt, and the clients of tests/sdks (needs uv, npm)
	@uv pip compile pyproject.toml --all-extras $(LOCKED) -o requirements.txt
	@uv pip compile tests/sdks/requirements.in --python-version 3.11 $(LOCKED) -o tests/sdks/requirements.txt
	@npm --prefix tests/sdks install --package-lock-only --omit-lockfile-registry-resolved

clean: ## Remove .venv and the files of the tools
	@rm -rf $(VENV) $(SDKS) tests/sdks/node_modules build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* .cache site
	@find foreman tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when what is to be installed has changed; what pip says is kept for the case that it fails.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Foreman needs Python 3.11 or newer as $(PYTHON); another one: make PYTHON=python3.12 setup" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) …"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing $$(grep -c == requirements.txt) pinned packages into $(VENV); the first time takes a minute …"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input \
	    --require-hashes --no-deps -r requirements.txt > $(VENV)/setup.log 2>&1 \
	    && $(BIN)/python -m pip install --disable-pip-version-check --no-input \
	    --no-deps --no-build-isolation -e . >> $(VENV)/setup.log 2>&1 \
	    || { tail -n 20 $(VENV)/setup.log >&2; echo "make setup failed; all of it is in $(VENV)/setup.log" >&2; exit 1; }
	@touch $@
	@echo "Ready."

# Beside .venv, as they are many and want versions of their own. Bytecode is made of what is imported alone.
$(SDKS_READY): tests/sdks/requirements.txt tests/sdks/package-lock.json
	@test -x $(SDKS)/bin/python || { echo "Making $(SDKS) …"; $(PYTHON) -m venv $(SDKS); }
	@echo "Installing $$(grep -c == tests/sdks/requirements.txt) pinned packages into $(SDKS), others into tests/sdks …"
	@{ $(SDKS)/bin/python -m pip install --disable-pip-version-check --no-input --no-compile \
	    --require-hashes --no-deps -r tests/sdks/requirements.txt \
	    && npm --prefix tests/sdks ci --no-audit --no-fund; } > $(SDKS)/setup.log 2>&1 \
	    || { tail -n 20 $(SDKS)/setup.log >&2; echo "make sdks failed; all of it is in $(SDKS)/setup.log" >&2; exit 1; }
	@touch $@
	@echo "Ready."
