# make demo   sets up and lip-syncs the bundled sample into output/demo.mp4
# make test   sets up and runs every test
# TORCH=...   another torch, such as TORCH=torch or TORCH=torch==2.9.1

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo test test-fast
demo: .venv/installed
	$(BIN)/python -m musetalk_core demo

test: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests

test-fast: .venv/installed-for-tests
	$(BIN)/python -m pytest tests/core

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

.venv/installed-for-tests: .venv/installed requirements-test.txt
	$(BIN)/python -m pip install -r requirements-test.txt
	touch $@
