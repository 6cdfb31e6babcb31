# Two commands: `make demo` and `make test`. Both set up everything they need in .venv, beside this file.
PYTHON ?= python3
BIN := .venv/bin
DIR ?=
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: setup demo test lint types check clean

setup: .venv/.ready

# torch first and pinned, so that nothing below replaces it by another build; the constraints hold it in place.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sensorium needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,test]'
	$(BIN)/python -c 'import torch; wanted = "$(TORCH)"; assert torch.__version__.split("+")[0] == wanted, f"torch {torch.__version__} took the place of {wanted}"'
	$(BIN)/python -c 'import sensorium; sensorium.load("pocket")'
	@touch $@

demo: setup
	$(BIN)/sensorium demo $(DIR)

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test

clean:
	rm -rf .venv demo
