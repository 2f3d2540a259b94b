PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: benchmark test test-slow lint

benchmark: $(READY)
	$(BIN)/python run_benchmark.py

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Made again whenever the dependencies change.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable ".[demo,onnx,cluster,accel,dev]"
	@touch $(READY)
