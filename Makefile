# Two commands: `make demo` shows the program at work, `make test` installs what the tests need and runs them.
# On Windows, or without make: see the pip lines in README.md.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT ?= demo-output

.PHONY: demo test test-slow test-windows-rules test-kernels test-all lint bench system clean

demo: $(VENV)/.installed
	$(BIN)/petdiffusion demo --out $(OUT)

test: $(VENV)/.tests-installed system
	$(BIN)/python -m ruff check .
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/.tests-installed system
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest -m slow

# Linux made to refuse what Windows refuses of files: see Testing/support/windows_rules.py.
test-windows-rules: $(VENV)/.tests-installed
	QT_QPA_PLATFORM=offscreen $(BIN)/python -X warn_default_encoding -m pytest --disable-warnings \
		-p Testing.support.windows_rules Testing/unit Testing/repository

# The CUDA kernel in Triton's interpreter: no GPU is needed, but Triton, which comes with PyTorch for CUDA alone.
test-kernels: $(VENV)/.tests-installed
	$(PIP) install --quiet --no-deps --target build/triton triton
	PYTHONPATH=build/triton $(BIN)/python -m pytest Testing/oracles/test_fused_scan.py

test-all: test test-slow

lint: $(VENV)/.tests-installed
	$(BIN)/python -m ruff check .

bench: $(VENV)/.tests-installed
	$(BIN)/python Testing/benchmarks/classical.py
	$(BIN)/python Testing/benchmarks/projector.py

# Libraries that Qt and off-screen rendering need. Where they cannot be installed their names are said.
system:
	@Testing/system-packages

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml Testing/constraints.txt
	$(PIP) install --quiet --constraint Testing/constraints.txt --editable ".[brain]"
	@touch $@

$(VENV)/.tests-installed: $(VENV)/bin/python pyproject.toml Testing/constraints.txt
	$(PIP) install --quiet --constraint Testing/constraints.txt --editable ".[test]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist demo-output
