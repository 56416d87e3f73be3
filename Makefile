# The one entrance; CI calls the same targets. PYTHON may name another interpreter, 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test lint format bench bench-record package lock clean

install: $(VENV)/.installed

# Ends with exit code 4 when it works: two of the simulated accounts refuse to be read.
demo: $(VENV)/.installed
	@$(BIN)/credaudit demo; code=$$?; \
	if [ $$code -eq 4 ]; then echo "The demo worked: exit code 4 says that the run is incomplete, as it should be."; \
	else echo "The demo ended with exit code $$code instead of 4."; exit 1; fi

# More processes than the smallest machine has cores: many tests wait. JOBS=0 is one after the other.
JOBS ?= 3

test: $(VENV)/.installed-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(JOBS) --dist loadgroup
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.compare

# The same, with the largest organization, written down; half an hour.
bench-record: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.compare --largest --record

# A wheel, installed from the lock file into a clean environment, shows its help and runs the demo.
package: $(VENV)/.installed-dev
	rm -rf dist build/package
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(PYTHON) -m venv build/package
	build/package/bin/pip install --quiet --require-hashes -r requirements.lock
	build/package/bin/pip install --quiet --no-deps dist/credaudit-*.whl
	build/package/bin/credaudit --help
	cd build && package/bin/credaudit demo; test $$? -eq 4

# Newer versions within pyproject.toml's bounds; needs uv.
lock:
	uv pip compile $(LOCK) pyproject.toml --group build -o requirements.lock
	uv pip compile $(LOCK) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

clean:
	rm -rf $(VENV) build dist demo-runs .coverage .coverage.*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "credaudit needs Python 3.11 or newer; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
