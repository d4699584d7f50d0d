# Every target sets up what it needs: a fresh clone with Python >= 3.11, make and npm is enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
UV     := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
# The clone's own environment, whatever the caller has exported or activated.
UVRUN  := UV_PROJECT_ENVIRONMENT=$(VENV) UV_PYTHON=$(BIN)/python UV_PYTHON_DOWNLOADS=never $(UV)
# Python keeps what it has compiled: every process of a run would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit chaos chaos-controls feed-faults reprice soak backlog idle sweep claim-cost fill-rate open-feeds capital api-fuzz rules mutants browser check format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup: $(READY) ## create the environment (the other targets do it by themselves)

# Set-up talks on stderr: stdout belongs to the command that was asked for.
$(READY): pyproject.toml uv.lock package.json package-lock.json
	@echo "setting up, once: the environment in $(VENV) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2
	@test -x "$(UV)" || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1' >&2
	@echo "setting up: the Python packages of uv.lock ..." >&2
	@$(UVRUN) sync --quiet --locked --all-extras >&2
	@echo "setting up: PostgREST, from package-lock.json ..." >&2
	@npm ci --silent --no-fund --no-audit >&2
	@touch $@

demo: $(READY) ## the whole world on this machine: make demo ARGS="--signals 60 --rate 10 --json"
	@$(BIN)/polycopy-worker demo $(ARGS)

test: check unit ## everything that CI runs, but for the browser

unit: $(READY) ## the tests alone, on two cores: make unit ARGS="-k pricing -x"
	@$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

chaos: $(READY) ## kill workers and break the exchange: make chaos ARGS="--signals 1000 --kills 200 --workers 3 --json"
	@$(BIN)/python -m tests.chaos.run $(ARGS)

chaos-controls: $(READY) ## planted bugs, each of which must make a chaos run fail
	@$(BIN)/python -m tests.chaos.controls $(ARGS)

feed-faults: $(READY) ## everything that can happen to the feed: make feed-faults ARGS="--rate 10 --json", or ARGS="--mixed 60"
	@$(BIN)/python -m tests.feed.run $(ARGS)

reprice: $(READY) ## resting orders that their market leaves behind: make reprice ARGS="--orders 200 --json"
	@$(BIN)/python -m tests.resting.run $(ARGS)

soak: $(READY) ## the worker's memory over very many signals, or ARGS="--mixed --minutes 30": both books under everything at once
	@$(BIN)/python -m $(if $(findstring --mixed,$(ARGS)),tests.soak.run,tests.feed.soak) $(ARGS)

backlog: $(READY) ## start over a long backlog, measured: make backlog ARGS="--rows 5000 --poison 50 --json"
	@$(BIN)/python -m tests.backlog.run $(ARGS)

idle: $(READY) ## what a worker with nothing to do costs the database: make idle ARGS="--strategies 20 --seconds 60"
	@$(BIN)/python -m benchmarks.idle $(ARGS)

sweep: $(READY) ## what a sweep costs among very many decided signals: make sweep ARGS="--signals 5000 500000"
	@$(BIN)/python -m benchmarks.sweep $(ARGS)

rules: $(READY) ## what every order keeps to, 10,000 examples each: make rules ARGS="-k accepts", or EXAMPLES=1000
	@EXAMPLES=$${EXAMPLES:-10000} $(BIN)/pytest -n 2 -m hypothesis tests/orders $(ARGS)

mutants: $(READY) ## would the tests notice? the rules of money, changed bit by bit: make mutants ARGS="--only pricing"
	@$(BIN)/python -m tests.mutation.run $(ARGS)

claim-cost: $(READY) ## what a claim costs behind very many past orders: make claim-cost ARGS="--orders 1000 100000 --json"
	@$(BIN)/python -m benchmarks.claim_cost $(ARGS)

fill-rate: $(READY) ## what copies of recorded prints would have filled, and at what cost: make fill-rate ARGS="--sizes 100 --tolerances 3 --json"
	@$(BIN)/python -m benchmarks.fill_rate.run $(ARGS)

open-feeds: $(READY) ## what fifty open live feeds cost the worker: make open-feeds ARGS="--feeds 50 --runs 5 --json"
	@$(BIN)/python -m benchmarks.open_feeds.run $(ARGS)

capital: $(READY) ## capital under random walks, beside an independent model: make capital ARGS="--walks 20 --steps 1000 --json"
	@$(BIN)/python -m tests.database.capital_run $(ARGS)

browser: $(READY) ## the dashboard in a real Chromium: make browser ARGS="-k paused", CHROMIUM=path, SCREENS=folder for pictures
	@CHROMIUM=$${CHROMIUM:-chromium} $(BIN)/pytest -n 0 tests/browser $(ARGS)

api-fuzz: $(READY) ## call whatever the API's own document promises, and more: make api-fuzz ARGS="--examples 500"
	@$(BIN)/python -m tests.web.run $(ARGS)

check: $(READY) ## format, lint, types, and who may import whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## let ruff rewrite the files
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## forget the environment and the caches
	@rm -rf $(VENV) node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find worker tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
