# Everything a developer does, one target each. `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
UV := $(shell command -v uv || echo .tools/bin/uv)
UV_VERSION := 0.13.9
RUN := $(UV) run --frozen --no-sync
# Where a machine sets it, each of hundreds of processes would compile torch and Diffusers anew: 15 s instead of 5.
unexport PYTHONDONTWRITEBYTECODE
CRD := crds/training.t2i.dev_diffusiontrainingjobs.yaml
# Shared by the checkouts of this machine, one at a time: a fresh clone is checked in seconds.
TYPES_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/t2i-operator/mypy
# The files and folders that hold tests with a mark: collecting all others takes each process 17 s.
marked = $(shell grep -rlE 'mark\.($(1))\b' tests --include='*.py' | sed 's|/conftest.py$$||' | sort)
CHART_CRD := charts/t2i-operator/files/training.t2i.dev_diffusiontrainingjobs.yaml

.PHONY: help setup demo demo-short test lint types imports test-unit test-on-cluster test-cluster test-end-to-end test-exhaustive test-stores crash-matrix kill-matrix planted-bugs planted-faults format crds chart-readme metrics-docs dashboards dashboard-data dashboard-previews alerts images bench cluster-up cluster-down clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.tools/bin/uv:
	python3 -m venv .tools && .tools/bin/pip install --quiet uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock | $(if $(findstring .tools,$(UV)),.tools/bin/uv)
	$(UV) sync --frozen && touch $@

setup: .venv/.synced ## Prepare this machine: Python packages, Debian packages, Kubernetes and S3 server from source, images
	$(RUN) t2i-dev setup --images

demo: setup ## Run the main job end to end: judge, archive, train, kill, resume, draw pictures that follow their prompts
	$(RUN) t2i-dev demo

demo-short: setup ## The same with a training run of about a minute
	$(RUN) t2i-dev demo --short

test: setup lint types imports test-unit test-on-cluster ## Run the tests on this machine; what they sample, `make test-exhaustive` runs whole

lint: .venv/.synced ## Check style and format
	$(RUN) ruff check
	$(RUN) ruff format --check

types: .venv/.synced ## Check types strictly, tests included
	@mkdir -p $(TYPES_CACHE)
	flock $(TYPES_CACHE).lock $(RUN) mypy --cache-dir $(TYPES_CACHE)

imports: .venv/.synced ## Check who may import whom
	$(RUN) lint-imports

test-unit: .venv/.synced ## Tests of pure logic, of the trainer and of what the S3 server holds after every fault: no cluster (minutes)
	$(RUN) pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations=30 -m "not (cluster or end_to_end or exhaustive)"

test-exhaustive: setup ## What CI runs after `make test`: every kill of the crash matrix, 100,000 damaged headers, Helm 3, whole runs (minutes)
	$(RUN) pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations=15 -m exhaustive $(call marked,exhaustive)

test-on-cluster: .venv/.synced ## Tests against the real API server and S3 server, and the short demo on real pods (minutes)
	$(RUN) pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations=15 -m "(cluster or end_to_end) and not exhaustive" tests/end_to_end $(call marked,cluster|end_to_end)

test-cluster: .venv/.synced ## Of these, the tests without the demo
	$(RUN) pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=15 -m "cluster and not end_to_end and not exhaustive" $(call marked,cluster)

test-end-to-end: .venv/.synced ## The demo alone, with assertions on cluster and bucket
	$(RUN) pytest -q -m end_to_end tests/end_to_end

test-stores: .venv/.synced ## The tests of checkpoints on SeaweedFS, a second S3 server (built once: ten minutes)
	$(RUN) pytest -q -p t2i_dev.on_seaweedfs tests/checkpoint tests/crash -k "s3 or (killed and after and not parallel)"

crash-matrix: .venv/.synced ## Kill, stop and fault every side effect of save, archive and restore; write docs/crash-matrix.md
	$(RUN) t2i-dev crash-matrix --write docs/crash-matrix.md

kill-matrix: .venv/.synced ## Kill training runs at 56 random moments on 1, 2 and 4 processes; write docs/kill-matrix.md
	$(RUN) t2i-dev kill-matrix --write docs/kill-matrix.md

planted-bugs: .venv/.synced ## Plant known mistakes into a copy of the tree: the tests must turn red for each
	$(RUN) t2i-dev planted-bugs

planted-faults: .venv/.synced ## Plant known mistakes into training runs: each must be named; write docs/planted-faults.md
	$(RUN) t2i-dev planted-faults --write docs/planted-faults.md

format: .venv/.synced ## Format the code
	$(RUN) ruff format
	$(RUN) ruff check --fix

crds: .venv/.synced ## Render the CRD from the models
	$(RUN) python -m t2i_api.crd > $(CRD)
	cp $(CRD) $(CHART_CRD)

chart-readme: .venv/.synced ## Write the chart's README from the comments in its values.yaml
	$(RUN) python -m t2i_dev.chart_readme

dashboards: .venv/.synced ## Write the Grafana dashboards into the chart
	$(RUN) python -m t2i_dev.dashboards.write

alerts: .venv/.synced ## Write the chart's rule files from dev/t2i_dev/alerts
	$(RUN) python -m t2i_dev.alerts.render

dashboard-data: .venv/.synced ## Record anew what the dashboards are tested with: real runs on this machine (minutes)
	$(RUN) python -m t2i_dev.dashboards.recording.record

dashboard-previews: .venv/.synced ## Draw the dashboards with the recorded data into docs/images
	$(RUN) python -m t2i_dev.dashboards.preview.draw

metrics-docs: .venv/.synced ## Write docs/metrics.md from the list of metrics
	$(RUN) python -m t2i_dev.metrics_docs

images: .venv/.synced ## Build the images of operator and trainer
	$(RUN) t2i-dev images build

bench: .venv/.synced ## Measure what docs/benchmarks.md reports
	$(RUN) python bench/preflight.py
	$(RUN) python bench/verdict.py
	$(RUN) python bench/archive.py --big-gib 0
	$(RUN) python bench/train_cpu.py
	$(RUN) python bench/save.py
	$(RUN) python bench/scrape_trainer.py
	$(RUN) python bench/scrape_operator.py
	$(RUN) python bench/gate.py
	$(RUN) python bench/restart.py
	$(RUN) python bench/data.py

cluster-up: .venv/.synced ## Start a local cluster to play with
	$(RUN) t2i-dev cluster up

cluster-down: .venv/.synced ## Stop it
	$(RUN) t2i-dev cluster down

clean: ## Remove caches of this checkout (not the tools below ~/.cache)
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
