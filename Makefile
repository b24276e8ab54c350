# `make train` and `make test` need nothing but python3 (3.11 or newer) and make: each sets up what it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# CuPy with its own CUDA libraries, where a driver shows a GPU; drivers from 580 on speak CUDA 13.
DRIVER := $(shell nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 | cut -d . -f 1)
CUDA_EXTRA := $(if $(DRIVER),$(shell [ "$(DRIVER)" -ge 580 ] 2>/dev/null && echo ,cuda13 || echo ,cuda12))

# The Python of `make gpu`: PYTHON_GPU, else the active one or that of .venv, whichever has CuPy.
ifeq ($(filter gpu,$(MAKECMDGOALS)),gpu)
HAS_CUPY = $(1) -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("cupy") is None)' 2>/dev/null
PYTHON_GPU ?= $(shell for python in $(PYTHON) $(BIN)/python; do $(call HAS_CUPY,$$python) && echo $$python && break; done)
endif

.PHONY: help train test soak check lint types format figures bench bench-fit bench-read kernels gpu clean

help:
	@echo "make train   set up and train on the handwritten digits (ARGS='--demo wine' for another)"
	@echo "make test    set up for development and run the tests (ARGS='-k losses' for some)"
	@echo "make soak    the tests that take minutes: runs killed 170 times, 65,000 damaged files, 60 benchmarks compared"
	@echo "make check   format, lint, strict types and tests, as CI does"
	@echo "make format  rewrite the files as 'make lint' wants them"
	@echo "make figures the figures of docs/backpropagation.md, anew; needs Chromium"
	@echo "make bench   one training step on this CPU against PyTorch"
	@echo "make bench-fit  the estimators on this CPU against scikit-learn, PyTorch and skorch"
	@echo "make bench-read  reading on this CPU: 1 GB of CSV, and 4 GB of Parquet in 512 MB (7 minutes)"
	@echo "make kernels registers, shared memory and spills of every CUDA kernel, without a GPU"
	@echo "make gpu     on a GPU: tests, compute-sanitizer, kernel and step benchmarks, profile (8 minutes)"
	@echo "make clean   remove .venv and caches"

train: $(VENV)/.ready-train
	$(BIN)/gpu-mlp train $(or $(ARGS),--demo digits)

test: $(VENV)/.ready-test
	$(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

soak: $(VENV)/.ready-test
	$(BIN)/python -m pytest -m soak $(ARGS)

check: lint types test

lint: $(VENV)/.ready-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready-test
	$(BIN)/mypy

format: $(VENV)/.ready-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: $(VENV)/.ready-test
	$(BIN)/python docs/figures/make.py

bench: $(VENV)/.ready-test
	$(BIN)/python bench/bench_step.py $(ARGS)

bench-fit: $(VENV)/.ready-test
	$(BIN)/python bench/bench_estimators.py $(ARGS)

bench-read: $(VENV)/.ready-test
	$(BIN)/python bench/bench_reading.py $(ARGS)

# Sets up .venv only where no Python with CuPy is found.
gpu: $(if $(PYTHON_GPU),,$(VENV)/.ready-test)
	$(or $(PYTHON_GPU),$(BIN)/python) bench/gpu $(ARGS)

kernels: $(VENV)/.ready-test
	$(BIN)/python -m tests.cuda.resources

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gpu_mlp needs Python 3.11 or newer, but $(PYTHON) is not; name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Installed again whenever pyproject.toml changes.
$(VENV)/.ready-train: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[data,fast,plot$(CUDA_EXTRA)]'
	@touch $@

$(VENV)/.ready-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev$(CUDA_EXTRA)]'
	@touch $@ $(VENV)/.ready-train
