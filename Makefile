# Every command that people and CI type. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up check test test-all test-unit test-registry scale bench chaos load plan quality terraform cluster cluster-up proofs clean

PYTHON := var/venv/bin/python
CARS ?= 1000
MINUTES ?= 3
SEED ?= 1

help: ## list the commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: ## install what is missing (the other commands do it by themselves)
	@local/setup

setup-dev:
	@local/setup --dev

demo: ## the whole deployment for MINUTES=3 with CARS=1000, SEED=1; then ledger and scorecard
	@started=$$(date +%s.%N); local/setup && exec $(PYTHON) -m local demo \
		--started-at $$started --cars $(CARS) --minutes $(MINUTES) --seed $(SEED)

up: setup ## the same deployment until Ctrl-C
	@exec $(PYTHON) -m local up --cars $(CARS) --seed $(SEED)

check: setup-dev ## format, lint, types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test: ## the tests, with real brokers: at most 8 minutes on 2 cores
	@local/setup --dev --tflite
	$(PYTHON) -m tests.groups

test-all: ## the same and the tests of what measures: scale, chaos, bench, plan, load, quality
	@local/setup --dev --tflite
	$(PYTHON) -m tests.groups --all

test-unit: setup-dev ## the unit tests alone: no network, under 10 s
	$(PYTHON) -m pytest tests/unit

test-registry: setup-dev ## the bridge with a real schema registry (fetches Apicurio, 158 MB)
	$(PYTHON) -m pytest -m registry

scale: CARS := 100000
scale: RATE ?= 10000
scale: setup-dev ## CARS=100000 on this machine, RATE=10000 messages a second for MINUTES=3
	@exec $(PYTHON) -m loadtest scale --cars $(CARS) --rate $(RATE) --minutes $(MINUTES)

bench: setup-dev ## µs of CPU per message of every stage; PEERS=1: beside others' programs
	@exec $(PYTHON) -m loadtest bench $(if $(PEERS),--peers)

chaos: setup-dev ## the ledger while things are killed, 1 M messages
	@exec $(PYTHON) -m loadtest chaos

load: MINUTES := 2
load: USERS ?= 200
load: setup-dev ## locust against a running deployment: USERS=200 MINUTES=2 SHAPE=ramp|burst|storm|steady; UI=1; PROCESSES=2
	@exec $(PYTHON) -m loadtest load $(if $(UI),,--headless) --users $(USERS) --run-time $(MINUTES)m \
		$(if $(SHAPE),--shape $(SHAPE)) $(if $(HZ),--rate-hz $(HZ)) $(if $(HOST),--host $(HOST)) \
		$(if $(KAFKA),--kafka-bootstrap $(KAFKA)) $(if $(PROCESSES),--processes $(PROCESSES)) $(CLASSES)

plan: setup-dev ## cores, partitions and replicas for CARS at HZ samples a second each
	@exec $(PYTHON) -m loadtest plan --cars $(CARS) $(if $(HZ),--rate-hz $(HZ))

quality: setup-dev ## the scorecard: failures foreseen by our model and seven others, SEEDS=4; QUICK=1: a look; CHECK=1
	@exec $(PYTHON) -m quality $(if $(SEEDS),--seeds $(SEEDS)) $(if $(QUICK),--quick) $(if $(CHECK),--check) $(if $(KEEP),--keep-data)

cluster: ## a real Kubernetes here, our images as pods: trained, scaled, rolled, deleted (root; builds 15 min once)
	@local/setup --dev --cluster
	$(PYTHON) -m pytest -v -m cluster tests/cluster

cluster-up: ## the same cluster with brokers and pods, until Ctrl-C
	@local/setup --cluster
	@exec $(PYTHON) -m cluster

terraform: setup-dev ## terraform/ applied to an emulator and destroyed; schemas of both clouds (fetches 250 MB once)
	@$(PYTHON) -m tests.terraform.downloads
	$(PYTHON) -m pytest -v -m "" tests/terraform

proofs: setup-dev ## all that the README promises, measured, in an hour or two; ONLY=bench,scale; FORCE=1: what was met, too
	@exec $(PYTHON) -m tests.proofs $(if $(ONLY),--only $(ONLY)) $(if $(FORCE),--force)

clean: ## remove everything that runs left behind, and what was installed under var/
	rm -rf var
