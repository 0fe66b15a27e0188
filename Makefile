# Every command that people and CI type. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up check test test-all test-unit test-registry scale bench chaos soak load fuzz plan quality compat life terraform cluster cluster-up proofs clean

PYTHON := var/venv/bin/python
CARS ?= 1000
MINUTES ?= 3
SEED ?= 1

help: ## list the commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: ## install what is missing (other commands do it too)
	@local/setup

setup-dev:
	@local/setup --dev

demo: MINUTES := 5
demo: ## the whole deployment, live: CARS=1000 MINUTES=5 SEED=1
	@started=$$(date +%s.%N); local/setup && exec $(PYTHON) -m local demo \
		--started-at $$started --cars $(CARS) --minutes $(MINUTES) --seed $(SEED)

up: setup ## the same deployment until Ctrl-C
	@exec $(PYTHON) -m local up --cars $(CARS) --seed $(SEED)

check: setup-dev ## format, lint and types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test: ## the tests, with real brokers: at most 8 minutes on 2 cores
	@local/setup --dev --tflite
	$(PYTHON) -m tests.groups

test-all: ## all tests, also those of scale, bench, chaos, load, plan
	@local/setup --dev --tflite
	$(PYTHON) -m tests.groups --all

test-unit: setup-dev ## the unit tests alone: no network, some seconds
	$(PYTHON) -m pytest tests/unit

test-registry: setup-dev ## the bridge with a schema registry (downloads 158 MB)
	$(PYTHON) -m pytest -m registry

scale: CARS := 100000
scale: RATE ?= 10000
scale: setup-dev ## CARS=100000 here, RATE=10000 messages/s, MINUTES=3
	@exec $(PYTHON) -m loadtest scale --cars $(CARS) --rate $(RATE) --minutes $(MINUTES)

bench: setup-dev ## CPU per message of every stage; PEERS=1: others' too
	@exec $(PYTHON) -m loadtest bench $(if $(PEERS),--peers)

chaos: setup-dev ## 16 faults under load, and the ledger after each; PAIRS=20 SEED=1: in pairs
	@exec $(PYTHON) -m loadtest chaos --seed $(SEED) $(if $(PAIRS),--pairs $(PAIRS))

soak: HOURS ?= 4
soak: setup-dev ## hours under load: no process grows, nothing is lost: HOURS=4
	@exec $(PYTHON) -m loadtest soak --hours $(HOURS)

load: MINUTES := 2
load: USERS ?= 200
load: setup-dev ## locust on a running deployment: USERS=200 SHAPE=storm UI=1
	@exec $(PYTHON) -m loadtest load $(if $(UI),,--headless) --users $(USERS) --run-time $(MINUTES)m \
		$(if $(SHAPE),--shape $(SHAPE)) $(if $(HZ),--rate-hz $(HZ)) $(if $(HOST),--host $(HOST)) \
		$(if $(KAFKA),--kafka-bootstrap $(KAFKA)) $(if $(PROCESSES),--processes $(PROCESSES)) $(CLASSES)

fuzz: MINUTES := 60
fuzz: setup-dev ## every parser under a fuzzer: MINUTES=60 ONLY=table-file
	@$(PYTHON) -c 'import atheris' 2>/dev/null || $(PYTHON) -m pip install -q -c constraints.txt atheris
	@exec $(PYTHON) -m tests.fuzz --minutes $(MINUTES) $(if $(ONLY),--only $(ONLY))

plan: setup-dev ## cores, memory and replicas for CARS=… HZ=…
	@exec $(PYTHON) -m loadtest plan --cars $(CARS) $(if $(HZ),--rate-hz $(HZ))

quality: setup-dev ## failures foreseen by 9 models: SEEDS=4 QUICK=1 CHECK=1
	@exec $(PYTHON) -m quality $(if $(SEEDS),--seeds $(SEEDS)) $(if $(QUICK),--quick) $(if $(CHECK),--check) $(if $(KEEP),--keep-data)

compat: setup-dev ## other MQTT brokers and Kafkas (downloads 160 MB): BROKERS=hivemq KAFKAS=3.9-classic
	@exec $(PYTHON) -m loadtest compat $(if $(BROKERS),--brokers $(BROKERS)) $(if $(KAFKAS),--kafkas $(KAFKAS))

life: setup-dev ## hand-overs, poisoned slices, on simulated fleets: SEEDS=3 ONLY=poisoned
	@exec $(PYTHON) -m quality.life $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ONLY),--only $(ONLY))

cluster: ## the manifests with real pods here (root; builds 15 min)
	@local/setup --dev --cluster
	$(PYTHON) -m pytest -v -m cluster tests/cluster

cluster-up: ## that cluster with brokers and pods until Ctrl-C
	@local/setup --cluster
	@exec $(PYTHON) -m cluster

terraform: setup-dev ## terraform/ on an emulator of AWS (downloads 250 MB)
	@$(PYTHON) -m tests.terraform.downloads
	$(PYTHON) -m pytest -v -m "" tests/terraform

proofs: setup-dev ## all that the README promises, measured: ONLY=bench FORCE=1
	@exec $(PYTHON) -m tests.proofs $(if $(ONLY),--only $(ONLY)) $(if $(FORCE),--force)

clean: ## remove var/: results and everything installed there
	rm -rf var
