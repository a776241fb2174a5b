# Everything by name; `make` alone lists it. demo and test need nothing beforehand but Python 3.11 or newer.
# make test ARGS='-k store'   make demo ARGS=--list   make setup PYTHON=python3.12

ARGS :=
PYTHON := $(shell command -v python3 python3.14 python3.13 python3.12 python3.11)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
VM32 := .vm/.tried
EXTRAS := .venv/extras

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test extras lint bench soak fuzz mutants vm wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(DEV) $(VM32) ## all that the targets below do first: .venv with the Python packages, the 32-bit VM

demo: $(RUNTIME) $(VM32) ## the tour: an update that works and updates that fail, on emulated boards
	@$(BIN)/hanlab demo $(ARGS)

test: $(DEV) $(VM32) ## the tests (pytest)
	@$(BIN)/pytest -n auto $(ARGS)

extras: $(EXTRAS)/.made $(VM32) ## hanlab with labgrid and pytest-embedded, in an environment of their own
	@$(EXTRAS)/bin/pytest -rs tests/host/test_hil_extras.py $(ARGS)

lint: $(DEV) ## ruff check, ruff format --check, mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(RUNTIME) $(VM32) ## speed and memory, as a table
	@cd host && ../$(BIN)/python -m benchmarks $(ARGS)

soak: $(DEV) $(VM32) ## 100,000 hostile frames on both wires while updates go on; 200 activations
	@HANLAB_SOAK=100000 $(BIN)/pytest -s --timeout 1200 tests/bench/test_soak.py \
	    'tests/bench/test_demos.py::test_demo_ends_as_it_says[lost-200]'

FUZZ_SECONDS := 60
fuzz: $(DEV) ## coverage-guided fuzzing of the host's parsers, a minute each: make fuzz FUZZ_SECONDS=600
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@for corpus in tests/fuzz/corpus/*; do \
	    found=$$(mktemp -d); \
	    $(BIN)/python tests/fuzz/run.py $${corpus##*/} -max_total_time=$(FUZZ_SECONDS) \
	        -artifact_prefix="$$found/" "$$found" "$$corpus" || exit 1; \
	done

mutants: $(DEV) $(VM32) ## small wrong changes to host and firmware: the tests notice each (minutes)
	@cd tests && ../$(BIN)/python -m mutants.run $(ARGS)

vm: ## try again to get the 32-bit MicroPython VM into .vm
	@rm -f $(VM32)
	@$(MAKE) --no-print-directory $(VM32)

wheel: $(RUNTIME) ## dist/hanlab-*.whl, with firmware/ and boards/ inside
	@$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

clean: ## remove what make made; .hanlab (your labs' flash) stays
	rm -rf $(VENV) .vm dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment; the tools of `dev` come on top of what the demo needs.
$(RUNTIME): pyproject.toml | $(BIN)/python
	@echo 'Python packages: pip installs hanlab into $(VENV)'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo 'Python packages: pip installs hanlab and its development tools into $(VENV)'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(RUNTIME) $@

# labgrid replaces pyserial's files, and both packages' plugins take part in every pytest beside them.
$(EXTRAS)/.made: pyproject.toml | $(BIN)/python
	@echo 'Python packages: pip installs hanlab, labgrid and pytest-embedded into $(EXTRAS)'
	@$(BIN)/python -m venv --clear $(EXTRAS)
	@$(EXTRAS)/bin/pip install --quiet --disable-pip-version-check --editable '.[labgrid,pytest-embedded]' \
	    pytest pytest-timeout
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        $$python -c 'import ensurepip, venv' 2>/dev/null || { \
	            echo "$$python cannot make a virtual environment; on Debian and Ubuntu: sudo apt install python3-venv"; \
	            exit 1; }; \
	        exec $$python -m venv --clear $(VENV); \
	    fi; \
	done; \
	echo 'hanlab needs Python 3.11 or newer, and there is none; or say which: make PYTHON=/path/to/python3.12'; exit 1

# Once, whatever comes of it: without it the boards run in the 64-bit VM that pip installs. `make vm` tries again.
$(VM32): boards/get-vm32.sh
	@mkdir -p .vm
	@boards/get-vm32.sh .vm || true
	@touch $@
