# Every target makes the environment .venv if it is missing or older than what it is made from.
# PYTHON=/path/to/python chooses another interpreter; PYTEST_FLAGS="-x -k masking" chooses tests.
# --no-compile: Python compiles what is imported when it is imported; compiling everything takes a minute. Where it may
# not keep that, every process compiles PyTorch anew, for five seconds or more.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BROWSER := $(VENV)/.browser
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3)
PYTEST_FLAGS ?= -n auto --maxprocesses 8
PIP := python -m pip install -qq --no-compile --disable-pip-version-check

OLDEST := .venv-oldest
# UV_FLAGS= takes PyTorch from PyPI, on Linux with 3 GB of CUDA.
UV_FLAGS ?= --torch-backend cpu
# What needs the extra `bench` serves the checkout alone. Old packages warn of newer ones that they need.
OLDEST_TESTS := --ignore tests/benchmarks --ignore tests/experiments -W default

MINIMAL := .venv-minimal
# The rule: of the model floor and of the tasks' losses all tests but those that are marked as in need of an extra.
MINIMAL_TESTS := -m "not needs_extras" $(addprefix tests/, model fast interop sharding tasks/test_losses.py tasks/test_saving.py \
	settings/test_base.py settings/test_every_setting.py settings/test_run.py settings/test_tasks.py \
	test_curves.py test_extras.py test_masking.py test_modality.py test_probing.py test_repository.py)

.PHONY: help demo bench docs test check check-oldest check-minimal format clean

help:
	@echo "make demo    what pretraining is worth with few labels, on pictures of the Earth; 4 to 12 minutes on 2 cores"
	@echo "make bench   ours beside its peers; WHAT='tokens --rounds 1' chooses, docs/benchmarks.md explains"
	@echo "make docs    the documentation site, in build/site; a warning is an error"
	@echo "make test    the tests"
	@echo "make check   everything that CI checks: ruff, pyright, import-linter, the documentation site, tests"
	@echo "make check-oldest   the tests with the oldest versions that pyproject.toml allows, in .venv-oldest"
	@echo "make check-minimal  the tests of the model floor without any extra, in .venv-minimal"
	@echo "make format  put the code into the house style"
	@echo "make clean   remove what the tools left; keeps .venv and runs"

demo: $(READY)
	$(BIN)/python examples/earth_demo.py

bench: $(READY)
	$(BIN)/python -m benchmarks $(WHAT)

docs: $(READY)
	$(BIN)/python -m tools.settings_page
	$(BIN)/zensical build --strict --clean

test: $(READY) $(BROWSER)
	$(BIN)/pytest $(PYTEST_FLAGS)

check: $(READY) $(BROWSER)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports
	$(BIN)/zensical build --strict --clean
	$(BIN)/pytest $(PYTEST_FLAGS)

check-oldest: $(OLDEST)/.ready
	HIPERCEIVER_GOLDEN=off $(OLDEST)/bin/pytest $(PYTEST_FLAGS) $(OLDEST_TESTS)

check-minimal: $(MINIMAL)/.ready
	$(MINIMAL)/bin/pytest $(PYTEST_FLAGS) $(MINIMAL_TESTS)

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build dist .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A new environment in $(1), unless one is there.
define make_venv
	@set -e; \
	if ! $(1)/bin/python -c 'import pip' 2>/dev/null; then \
		for python in $(PYTHONS); do \
			if $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "make: Python 3.11 or newer with venv is needed, none found among: $(PYTHONS). Install it, or set PYTHON=/path/to/python" >&2; exit 1; \
		fi; \
		echo "Making $(1) with $$($$found --version)"; \
		$$found -m venv --clear $(1); \
	fi; \
	echo "Installing what hiperceiver needs into $(1); the first time this takes some minutes"
endef

$(READY): pyproject.toml constraints.txt weights/pyproject.toml
	$(call make_venv,$(VENV))
	@$(BIN)/$(PIP) -c constraints.txt -e '.[all,serve,bench,dev]' -e ./weights
	@touch $@

# Chromium, in which the page of `hip serve` is tested: the machine's own, else Playwright's, else, for root, Debian's.
# Where none can be had, those tests are skipped and say so.
$(BROWSER): $(READY)
	@for name in chromium chromium-browser google-chrome; do command -v $$name > /dev/null && found=yes; done; \
	[ -n "$$found" ] || echo "Installing Chromium, for the tests of the page"; \
	{ [ -n "$$found" ] || $(BIN)/playwright install chromium || { [ "$$(id -u)" = 0 ] && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; }; } > /dev/null 2>&1 && touch $@ \
		|| echo "Chromium cannot be installed: the tests of the page will be skipped"

$(MINIMAL)/.ready: pyproject.toml constraints.txt
	$(call make_venv,$(MINIMAL))
	@$(MINIMAL)/bin/$(PIP) -c constraints.txt -e '.[test]'
	@touch $@

$(OLDEST)/.ready: pyproject.toml weights/pyproject.toml
	$(call make_venv,$(OLDEST))
	@$(OLDEST)/bin/$(PIP) uv
	@$(OLDEST)/bin/uv pip install -q --python $(OLDEST)/bin/python --resolution lowest-direct $(UV_FLAGS) -e '.[all,serve,test]' -e ./weights
	@touch $@
