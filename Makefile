# VENV=dir: the folder of the environment, for every target. Tests on Kafka need Java and Maven, or
# KAFKA_BOOTSTRAP_SERVERS.
VENV ?= .venv
PYTHON ?= python3
PYTEST ?=
# Number of processes that share the tests. 0: a single process; auto: one more than there are processors,
# at most four.
WORKERS ?= 0
# For `make chaos`: the seed of the random order, the number of kills, brokers and members, and the input.
SEED ?= 1
KILLS ?= 200
BROKERS ?= 1
MEMBERS ?= 3
EVENTS ?= 200000
STREAMS ?= 500
# For `make bench`: options of benchmarks/performance/__main__.py.
BENCH ?=
BIN := $(VENV)/bin
# The environment is installed again when pyproject.toml changes, or when another clone uses the same folder: the name of
# the stamp file contains a checksum of both. If VENV is a link, `realpath` resolves it below, because venv fails on one.
STAMP := $(VENV)/.installed-$(shell (cat pyproject.toml; pwd) | cksum | tr ' ' -)

.PHONY: help venv demo test check lint format docs chaos bench
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then show the daemon on generated streams (no Kafka needed)"
	@echo "make test    install, then run every test; PYTEST='tests/unit -k late' selects some; WORKERS=auto: in several processes"
	@echo "make check   lint, then test: what a change must pass"
	@echo "make lint    ruff, mypy --strict, the import laws"
	@echo "make format  format the code with ruff"
	@echo "make docs    update the generated parts of docs/"
	@echo "make chaos   kill members and brokers at random, and check that nothing was lost: SEED=1 KILLS=200 BROKERS=1 (or 3)"
	@echo "make bench   measure how fast it is on this machine, and what limits it; BENCH='--only step --json FILE'"
	@echo "make venv    only create the environment; VENV=dir puts it elsewhere, for every target"

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
