# Every command that people and CI type. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up check test test-all test-unit test-registry scale bench chaos load plan quality terraform cluster cluster-up proofs clean

PYTHON := var/venv/bin/python
CARS ?= 1000
MINUTES ?= 3
SEED ?= 1

help: ## list the commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: ## install what is missing; the other commands do this by themselves
	@local/setup

setup-dev:
	@local/setup --dev

demo: ## run the whole deployment on this machine (CARS=1000 MINUTES=3 SEED=1), then show ledger and scorecard
	@started=$$(date +%s.%N); local/setup && exec $(PYTHON) -m local demo \
		--started-at $$started --cars $(CARS) --minutes $(MINUTES) --seed $(SEED)

up: setup ## run the same deployment until Ctrl-C
	@exec $(PYTHON) -m local up --cars $(CARS) --seed $(SEED)

check: setup-dev ## check format, lint and types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test: ## run the tests, with real brokers; at most 8 minutes on 2 cores
	@local/setup --dev --tflite
	$(PYTHON) -m tests.groups

test-all: ## run all tests, also those of the measuring commands: scale, chaos, bench, plan, load, quality
	@local/setup --dev --tflite
	$(PYTHON) -m tests.groups --all

test-unit: setup-dev ## run the unit tests alone: no network, under 10 s
	$(PYTHON) -m pytest tests/unit

test-registry: setup-dev ## test the bridge with a real schema registry (downloads Apicurio, 158 MB)
	$(PYTHON) -m pytest -m registry

scale: CARS := 100000
scale: RATE ?= 10000
scale: setup-dev ## run CARS=100000 on this machine with RATE=10000 messages/s for MINUTES=3
	@exec $(PYTHON) -m loadtest scale --cars $(CARS) --rate $(RATE) --minutes $(MINUTES)

bench: setup-dev ## measure CPU per message of every stage; PEERS=1: also of other projects' programs
	@exec $(PYTHON) -m loadtest bench $(if $(PEERS),--peers)

chaos: setup-dev ## kill and pause parts under load, 16 faults, and check the ledger after each
	@exec $(PYTHON) -m loadtest chaos

load: MINUTES := 2
load: USERS ?= 200
load: setup-dev ## run locust against a running deployment (USERS=200 MINUTES=2 SHAPE=ramp|burst|storm|steady UI=1 PROCESSES=2)
	@exec $(PYTHON) -m loadtest load $(if $(UI),,--headless) --users $(USERS) --run-time $(MINUTES)m \
		$(if $(SHAPE),--shape $(SHAPE)) $(if $(HZ),--rate-hz $(HZ)) $(if $(HOST),--host $(HOST)) \
		$(if $(KAFKA),--kafka-bootstrap $(KAFKA)) $(if $(PROCESSES),--processes $(PROCESSES)) $(CLASSES)

plan: setup-dev ## predict cores, memory, partitions and replicas for CARS with HZ samples a second each
	@exec $(PYTHON) -m loadtest plan --cars $(CARS) $(if $(HZ),--rate-hz $(HZ))

quality: setup-dev ## score our model and seven others on failures of unseen cars (SEEDS=4 QUICK=1 CHECK=1 KEEP=1)
	@exec $(PYTHON) -m quality $(if $(SEEDS),--seeds $(SEEDS)) $(if $(QUICK),--quick) $(if $(CHECK),--check) $(if $(KEEP),--keep-data)

cluster: ## test the manifests with real pods on a real Kubernetes on this machine (root; builds 15 min once)
	@local/setup --dev --cluster
	$(PYTHON) -m pytest -v -m cluster tests/cluster

cluster-up: ## run that cluster with brokers and pods until Ctrl-C
	@local/setup --cluster
	@exec $(PYTHON) -m cluster

terraform: setup-dev ## apply and destroy terraform/ on an emulator of AWS (downloads 250 MB once)
	@$(PYTHON) -m tests.terraform.downloads
	$(PYTHON) -m pytest -v -m "" tests/terraform

proofs: setup-dev ## measure everything that the README promises, in an hour or two (ONLY=bench,scale FORCE=1)
	@exec $(PYTHON) -m tests.proofs $(if $(ONLY),--only $(ONLY)) $(if $(FORCE),--force)

clean: ## remove var/: results of runs and everything that was installed there
	rm -rf var
