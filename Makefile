# Everything a fresh clone needs: `make demo`, `make test`, `make bench`. Each makes .venv and installs
# what is missing by itself; nothing but Python 3.11 or later and make has to be there before.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TORCH := $(shell sed -n 's/.*"torch==\([0-9.]*\)".*/\1/p' pyproject.toml)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: demo test test-systemd bench lint format clean

demo: $(STAMP)
	$(BIN)/miner demo -o out/demo

test: lint $(STAMP)
	$(BIN)/python -m pytest --import-mode=importlib

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
	$(PIP) -e '.[dev]'
	@echo "compiling the numeric parts of rembg: a minute, once"
	$(BIN)/python -c 'import rembg'
	touch $@

clean:
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache
