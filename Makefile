# One command each; `make` alone lists them. Needs Python 3.11 or later, nothing else.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
# One more than the processors of a small machine: many tests wait for other programs.
WORKERS ?= 3
# The tests start hundreds of hubs, and each would be compiled anew.
unexport PYTHONDONTWRITEBYTECODE
FAST_PLACES := tests/unit tests/sources tests/channels tests/store tests/guard
FAST := not slow and not postgres and not alertmanager and not prefect and not mlflow

.PHONY: help venv run test test-fast lint bench kills faults demo counterparts clean

help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) \
	  | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

venv: $(VENV)/.stamp ## the virtual environment with everything in it

# Anew when pyproject.toml changes. The first Python on the list that runs and is new enough.
$(VENV)/.stamp: pyproject.toml
	@set -e; for python in $${PYTHON:-python3.13 python3.12 python3.11 python3}; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "alerthub needs Python 3.11 or later with venv (on Debian: python3 and python3-venv)." \
	  "None was found; name one with: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "making $(VENV) with $$($$found --version)"; "$$found" -m venv --clear $(VENV); fi; \
	echo "installing what pyproject.toml names"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

run: venv ## the hub on http://127.0.0.1:8095, with SQLite here and no configuration
	@exec $(BIN)/alerthub serve

FAULTS ?=
faults: venv ## the faults of the README's table against real hubs, long; some of them: make faults FAULTS="F3 F8"
	@exec $(BIN)/python -m tests.faults $(FAULTS)

demo: venv ## the hub, a toy agent and its alerts, on the screen; no account needed
	@exec $(BIN)/alerthub demo

# The linters run beside the tests, which leave a processor free while they are collected and at their end.
test: venv counterparts ## everything: linters and all tests
	@said=$$(mktemp); $(MAKE) lint >"$$said" 2>&1 & linting=$$!; \
	$(BIN)/python -m pytest -n $(WORKERS); tested=$$?; \
	wait $$linting; linted=$$?; cat "$$said"; rm -f "$$said"; \
	if [ $$linted != 0 ]; then echo "the tests are one thing, but the linters complained: see above" >&2; fi; \
	exit $$((tested ? tested : linted))

test-fast: venv ## each room by itself; needs no other program, under a minute
	@exec $(BIN)/python -m pytest -n $(WORKERS) -m '$(FAST)' $(FAST_PLACES)

lint: venv ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv ## how fast it is here, against a bare web application
	@exec $(BIN)/python -m tests.bench

kills: venv ## kill -9 at every step of an action, 200 times each, on both databases: what came of it
	@exec $(BIN)/python -m tests.kit.kills

counterparts: ## Prometheus, Alertmanager and Prefect for the tests, where this machine can install them
	@.ci/counterparts

clean: ## remove what the other commands made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .counterparts
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
