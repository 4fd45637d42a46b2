# VENV=dir puts the environment elsewhere, for every target. Kafka tests need Java and Maven, or KAFKA_BOOTSTRAP_SERVERS.
VENV ?= .venv
PYTHON ?= python3
PYTEST ?=
# Processes that share the tests: 0 is one, `auto` one more than there are processors (at most four).
WORKERS ?= 0
# Of `make chaos`: who dies, how often, among how many.
SEED ?= 1
KILLS ?= 200
BROKERS ?= 1
MEMBERS ?= 3
EVENTS ?= 200000
STREAMS ?= 500
# Of `make bench`: see benchmarks/performance/__main__.py
BENCH ?=
BIN := $(VENV)/bin
# A link to a folder is followed, for venv makes nothing of one.
# The environment is installed anew when pyproject.toml changes, or when another clone uses it: both name the stamp.
STAMP := $(VENV)/.installed-$(shell (cat pyproject.toml; pwd) | cksum | tr ' ' -)

.PHONY: help venv demo test check lint format docs chaos bench
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then show the daemon on generated streams (no Kafka needed)"
	@echo "make test    install, then run every test; PYTEST='tests/unit -k late' chooses some; WORKERS=auto: in several processes"
	@echo "make check   lint, then test: what a change must pass"
	@echo "make lint    ruff, mypy --strict, the import laws"
	@echo "make format  write the code as ruff formats it"
	@echo "make docs    write the generated parts of docs/ anew"
	@echo "make chaos   kill members and brokers at random, and look for what was lost: SEED=1 KILLS=200 BROKERS=1 (or 3)"
	@echo "make bench   how fast it is on this machine, and what bounds it; BENCH='--only step --json FILE'"
	@echo "make venv    the environment alone; VENV=dir puts it elsewhere, for every target"

venv: $(STAMP)

$(STAMP):
	$(PYTHON) -m venv $(or $(realpath $(VENV)),$(VENV))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	rm -f $(VENV)/.installed-*
	touch $@

demo: venv
	$(BIN)/anomaly-daemon demo

test: venv
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_layers.py

check: lint test

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: venv
	$(BIN)/python docs/generate.py

chaos: venv
	PYTHONPATH=tests $(BIN)/python -m chaos --seed $(SEED) --kills $(KILLS) --brokers $(BROKERS) --members $(MEMBERS) \
	  --events $(EVENTS) --streams $(STREAMS)

bench: venv
	OMP_NUM_THREADS=1 PYTHONPATH=benchmarks $(BIN)/python -m performance $(BENCH)
