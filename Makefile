# Every command that people and CI type. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo up check test test-unit test-registry clean

PYTHON := var/venv/bin/python
CARS ?= 1000
MINUTES ?= 3
SEED ?= 1

help: ## list the commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: ## install what is missing (the other commands do it by themselves)
	@local/setup

demo: ## the whole deployment for MINUTES=3 with CARS=1000, SEED=1; then ledger and scorecard
	@started=$$(date +%s.%N); local/setup && exec $(PYTHON) -m local demo \
		--started-at $$started --cars $(CARS) --minutes $(MINUTES) --seed $(SEED)

up: setup ## the same deployment until Ctrl-C
	@exec $(PYTHON) -m local up --cars $(CARS) --seed $(SEED)

check: setup ## format, lint, types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test: ## all tests, with real brokers
	@local/setup --tflite
	$(PYTHON) -m pytest

test-unit: setup ## the unit tests alone: no network, under 10 s
	$(PYTHON) -m pytest tests/unit

test-registry: setup ## the bridge with a real schema registry (fetches Apicurio, 158 MB)
	$(PYTHON) -m pytest -m registry

clean: ## remove everything that runs left behind, and what was installed under var/
	rm -rf var
