# PartnerHub's commands; `make help` lists them. Each makes what it needs first: .venv from the lock files.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

# One stamp a lock file, named by its content: a lock that changed is installed again, any other is not.
digest = $(shell sha256sum $(1) | cut -c 1-16)
RUNTIME := $(VENV)/installed-runtime-$(call digest,requirements.lock)
DEV := $(VENV)/installed-dev-$(call digest,requirements-dev.lock)

# What both locks are made with: for every platform, with hashes, and without the address of any index.
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

SOURCES := partnerhub tenants onboarding events tests manage.py

.DEFAULT_GOAL := help
.PHONY: help demo dev test lint format bench faults soak guards lock clean

help: ## List the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

# From here the demo counts, so that it tells how long a bare machine took.
demo: export DEMO_BEGUN_AT := $(shell date +%s.%N)
demo: $(RUNTIME) ## Play the main job from end to end and stay up (ONCE=1: then stop)
	@$(RUN) -m partnerhub.dev demo $(if $(ONCE),--once)

dev: $(RUNTIME) ## Run all processes and reload them when the code changes
	@$(RUN) -m partnerhub.dev dev

test: $(DEV) ## Run all tests, browser and brokers too (ARGS="tests/events -x": some)
	@$(RUN) -m partnerhub.dev test $(ARGS)

lint: $(DEV) ## Check format, rules, types, imports, templates, dependencies, spelling
	$(RUN) -m ruff format --check --quiet $(SOURCES)
	$(RUN) -m ruff check --quiet $(SOURCES)
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/deptry .
	git ls-files 'templates/*.html' | xargs -r $(VENV)/bin/djade --check --target-version 5.2
	$(VENV)/bin/djlint --quiet --check --lint templates
	git ls-files | xargs -r $(VENV)/bin/codespell

format: $(DEV) ## Put code and templates in order
	@$(RUN) -m ruff format --quiet $(SOURCES)
	@$(RUN) -m ruff check --quiet --fix $(SOURCES)
	@$(RUN) -m djlint --quiet --reformat templates

bench: $(DEV) ## Measure events per second from end to end
	@$(RUN) -m tests.benchmarks $(ARGS)

faults: $(DEV) ## Faults and searches at full size: kills under load, a bad hour, long walks (ARGS: as for test)
	@FAULTS_SIZE=full $(RUN) -m partnerhub.dev test tests/faults tests/onboarding/test_journey_machine.py $(ARGS)

soak: $(DEV) ## Throw faults at everything under load, then check the books (MINUTES=20, SEED=…)
	@$(RUN) -m tests.soak --minutes $(or $(MINUTES),20) $(if $(SEED),--seed $(SEED))

guards: $(DEV) ## Take out one guard after the other and name the test that fails (ARGS="--only lease": one)
	@$(RUN) -m tests.guards $(ARGS)

lock: $(DEV) ## Resolve the lock files anew from pyproject.toml
	@$(COMPILE) --upgrade --extra demo --output-file requirements.lock pyproject.toml
	@$(COMPILE) --upgrade --extra demo --extra dev --constraint requirements.lock \
		--output-file requirements-dev.lock pyproject.toml

clean: ## Stop this checkout's servers and remove all that the commands made
	@if [ -x $(RUN) ]; then $(RUN) -m partnerhub.dev clean; fi
	@rm -rf $(VENV) .partnerhub .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The second lock holds all of the first.
$(RUNTIME): LOCK := requirements.lock
$(RUNTIME): STAMPS := $(RUNTIME)
$(DEV): LOCK := requirements-dev.lock
$(DEV): STAMPS := $(RUNTIME) $(DEV)
$(RUNTIME) $(DEV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "PartnerHub needs Python 3.11 or later: give one as PYTHON=…"; exit 1; }
	@begun=$$(date +%s); \
	$(PYTHON) -m venv $(VENV) || { \
		echo "No virtual environment can be made (on Debian: apt-get install python3-venv)."; exit 1; }; \
	$(RUN) -m pip install -qq --disable-pip-version-check --require-hashes --requirement $(LOCK) && \
	rm -f $(VENV)/installed-* && touch $(STAMPS) && \
	printf '  %-44s %6d   s\n' "$(VENV) from $(LOCK)" $$(($$(date +%s) - begun))
