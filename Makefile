# Every target makes the environment .venv if it is missing or older than what it is made from.
# PYTHON=/path/to/python chooses another interpreter; PYTEST_FLAGS="-x -k masking" chooses tests.
# --no-compile: Python compiles what is imported when it is imported; compiling everything takes a minute.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3)
PYTEST_FLAGS ?= -n auto --maxprocesses 8

.PHONY: help demo bench test check format clean

help:
	@echo "make demo    what pretraining is worth with few labels, on pictures of the Earth; 7 minutes on 2 cores"
	@echo "make bench   ours beside its peers; WHAT='tokens --rounds 1' chooses, docs/benchmarks.md explains"
	@echo "make test    the tests"
	@echo "make check   everything that CI checks: ruff, pyright, import-linter, tests"
	@echo "make format  put the code into the house style"
	@echo "make clean   remove what the tools left; keeps .venv and runs"

demo: $(READY)
	$(BIN)/python examples/earth_demo.py

bench: $(READY)
	$(BIN)/python -m benchmarks $(WHAT)

test: $(READY)
	$(BIN)/pytest $(PYTEST_FLAGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports
	$(BIN)/pytest $(PYTEST_FLAGS)

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@set -e; \
	if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
		for python in $(PYTHONS); do \
			if $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "make: Python 3.11 or newer with venv is needed, none found among: $(PYTHONS). Install it, or set PYTHON=/path/to/python" >&2; exit 1; \
		fi; \
		echo "Making $(VENV) with $$($$found --version)"; \
		$$found -m venv --clear $(VENV); \
	fi; \
	echo "Installing what hiperceiver needs into $(VENV); the first time this takes some minutes"; \
	$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt -e '.[all,bench,dev]'; \
	touch $@
