# Every command a newcomer needs. Each sets up .venv first, from requirements-dev.txt, if that changed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
LOCALSTACK := .venv-localstack

# The page wants Node; without it everything else works. What is installed is said by .ready, which npm knows nothing of.
NODE := node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null
PAGE := chalicelib/web/index.html
TYPES := web/src/contract.d.ts
JOURNEY := web/src/journey.json
PACKAGES := web/node_modules/.ready

.PHONY: help demo test test-localstack audit check web page chromium campaign fuzz-api bench bench-peers load up down deploy clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   the whole pipeline on the real flights file, then everything is gone again"
	@echo "make up     the embedded cloud stays up: then  source .rowmill/env"
	@echo "make down   stop it and remove what it left"
	@echo "make test   checks and every test this machine can run"
	@echo "make test-localstack   the tests of the whole chain on genuine LocalStack; installs 500 MB first"
	@echo "make audit  checkov and cloudsplaining over the stack and every policy; installs those first"
	@echo "make check  format, lint, types, import order"
	@echo "make web    build the page from web/; needs Node 20.19; make up and make test do it by themselves"
	@echo "make bench  records a second of the reader and the checker, beside csv, DuckDB and polars; encrypted fields beside others; then bench-peers"
	@echo "make bench-peers   the load beside psql, pgloader, dlt, Celery and others, briefly; installs those first"
	@echo "make load USERS=50   that many users at once, each row audited; WHALE=1: a million rows beside small files; POLLERS=500"
	@echo "make fuzz-api EXAMPLES=50   requests made up from the API's contract: no 5xx, no answer that is not documented"
	@echo "make campaign SEEDS=20   try to break exactly-once: faults by seed, then an audit"

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Rowmill needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .venv
	@echo "installing into .venv (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -e .
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python -m infra.demo

up: $(READY) page
	@$(BIN)/python -m infra.local up

down: $(READY)
	@$(BIN)/python -m infra.local down

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if $(NODE) && $(MAKE) --no-print-directory $(PACKAGES); then \
		$(MAKE) --no-print-directory $(TYPES) && cd web && npm run --silent check; \
	else echo "web/ is not checked: that needs Node 20.19 and its packages"; fi

test: check page chromium
	@$(BIN)/python -m pytest -n 2

$(PACKAGES): web/package-lock.json
	@echo "installing into web/node_modules"
	@cd web && npm ci --silent && touch node_modules/.ready

web/openapi.json: $(READY) $(wildcard chalicelib/contract/*.py) chalicelib/journey.py
	@$(BIN)/python -c 'from chalicelib.contract.document import text; print(text())' > $@

$(JOURNEY): chalicelib/journey.py
	@$(BIN)/python -c 'import json; from chalicelib.journey import TERMINAL, VERBS; print(json.dumps({"terminal": sorted(TERMINAL), "verbs": VERBS}))' > $@

$(TYPES): web/openapi.json $(JOURNEY) $(PACKAGES)
	@cd web && npm run --silent types > /dev/null && touch src/contract.d.ts

$(PAGE): $(TYPES) $(shell find web -path web/node_modules -prune -o -type f -print)
	@cd web && npm run --silent build -- --logLevel warn && touch ../$(PAGE)

web: $(READY)
	@$(NODE) || { echo "the page is built with Node 20.19 or newer, which is not here" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(PAGE)

page: $(READY)
	@if $(NODE) && $(MAKE) --no-print-directory $(PACKAGES); then $(MAKE) --no-print-directory web; \
	else echo "the page is not built: that needs Node 20.19 and its packages"; fi

chromium:
	@command -v chromium > /dev/null || [ ! -e $(PAGE) ] || { [ "$$(id -u)" = 0 ] && apt-get -qq update \
		&& apt-get -qq install -y --no-install-recommends chromium > /dev/null; } \
		|| echo "no Chromium: the tests of the page are skipped"

fuzz-api: $(READY)
	@EXAMPLES=$(or $(EXAMPLES),50) SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/journey/test_any_request.py -rP

campaign: $(READY)
	@$(BIN)/python -m bench.campaign run --seeds $(or $(SEEDS),20) --first $(or $(FIRST),1)

.venv/bench-ready: $(READY) requirements-bench.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch .venv/bench-ready

bench: .venv/bench-ready
	@$(BIN)/python -m bench.reader
	@$(BIN)/python -m bench.checker
	@$(BIN)/python -m bench.sealed
	@$(MAKE) --no-print-directory bench-peers

bench-peers: .venv/bench-ready
	@$(BIN)/python -m bench.peers $(or $(PEERS),--quick)

load: .venv/bench-ready
	@$(BIN)/python -m bench.load $(if $(WHALE),--whale) $(if $(USERS),--users $(USERS)) $(if $(POLLERS),--pollers $(POLLERS)) $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(SECONDS),--seconds $(SECONDS))

$(LOCALSTACK)/ready: requirements-localstack.txt tests/localstack/plugin/pyproject.toml
	@$(PYTHON) -m venv $(LOCALSTACK)
	@echo "installing LocalStack into $(LOCALSTACK) (a minute or two and 500 MB the first time)"
	@$(LOCALSTACK)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-localstack.txt
	@touch $(LOCALSTACK)/ready

test-localstack: $(READY) $(LOCALSTACK)/ready
	@ROWMILL_TEST_CLOUD=localstack $(BIN)/python -m pytest tests/localstack/smoke.py tests/journey

.venv-audit/ready: requirements-audit.txt
	@$(PYTHON) -m venv .venv-audit
	@echo "installing checkov and cloudsplaining into .venv-audit (a minute the first time)"
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-audit.txt
	@touch .venv-audit/ready

audit: $(READY) .venv-audit/ready
	@$(BIN)/python -m infra.audit

clean: down
	@rm -rf web/node_modules chalicelib/web $(TYPES) $(JOURNEY) web/openapi.json
	@rm -rf .venv .venv-audit .venv-peers $(LOCALSTACK) .rowmill
