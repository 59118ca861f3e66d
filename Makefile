# Two commands a reader needs: `make demo` and `make test`. Each does its own set-up, in .venv.

# The first Python of at least 3.12 that runs here; a version manager's shim may exist and not run.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_DEV := .venv/installed-dev
# Interpreters of our own never see what the caller's environment would inject.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH

.PHONY: demo test trust check clean

demo: $(INSTALLED)
	$(BIN)/bayesnn demo

# Two processes, a file of tests at a time: most tests use one core.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

test: check
	$(PYTEST)

trust: check
	BAYESNN_TRUST=1 $(PYTEST)

check: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python of at least 3.12 found; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv dist runs .pytest_cache .ruff_cache
