# Everything a fresh clone needs: `make demo`, `make test`, `make bench`. Each makes .venv and installs
# what is missing by itself; nothing but Python 3.11 or later and make has to be there before.
# RAY=1 installs Ray too (100 MB), for the executor on a cluster; CI=true does so by itself.

PYTHON ?= python3
comma := ,
BIN := .venv/bin
STAMP := .venv/.installed
TORCH := $(shell sed -n 's/.*"torch==\([0-9.]*\)".*/\1/p' pyproject.toml)
GRAFANA := tests/observe/schema/node_modules/.installed
EXTRAS := $(if $(or $(filter true,$(CI)),$(RAY)),dev$(comma)ray,dev)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: demo observe soak test test-long test-systemd bench lint format clean

demo: $(STAMP)
	$(BIN)/miner demo -o out/demo

# A daemon under light load and a Prometheus with the shipped rules; Ctrl-C ends both.
observe: $(STAMP)
	$(BIN)/python -m tools.observe

# Faults and load for so many minutes, with a verdict and a page of plots; `make soak MINUTES=720` for a night.
MINUTES ?= 5
RATE ?= 0.5
soak: $(STAMP)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --rate $(RATE) -o out/soak

# Two at a time, each file in one of them; the long ones first, in the order that the tests have then.
PROCESSES ?= 2
test: lint $(STAMP) $(GRAFANA)
	$(BIN)/python -m pytest --import-mode=importlib -m "not slow" \
		-n $(PROCESSES) --dist loadfile --no-loadscope-reorder

# What takes longer and changes seldom: every preset's plan beside its networks, and the like.
test-long: $(STAMP)
	$(BIN)/python -m pytest --import-mode=importlib -m slow \
		-n $(PROCESSES) --dist loadfile --no-loadscope-reorder

# The service under a real systemd: needs root and Debian's package systemd, and says so where they are missing.
test-systemd: $(STAMP)
	$(BIN)/python -m pytest --import-mode=importlib tests/systemd tests/app/test_telling.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Without an NVIDIA driver the CPU build of torch is asked for first, so that nothing pulls gigabytes of
# CUDA libraries. Where the index has no build of that name, pip takes the build that it does have.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv: some minutes the first time"
	command -v nvidia-smi >/dev/null || $(PIP) 'torch==$(TORCH)+cpu' 2>/dev/null || true
	$(PIP) -e '.[$(EXTRAS)]'
	@echo "compiling the numeric parts of rembg: a minute, once"
	$(BIN)/python -c 'import rembg'
	touch $@

# Grafana's own types, for one test of the boards; without npm that test is skipped.
$(GRAFANA): tests/observe/schema/package.json
	@if command -v npm > /dev/null; then \
		cd $(<D) && npm install --no-package-lock --ignore-scripts --no-audit --no-fund --silent \
			&& touch node_modules/.installed; \
	else echo "npm is missing: the types of the boards are not checked"; fi

clean:
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache
