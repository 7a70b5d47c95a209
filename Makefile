# Two commands for a new person: `make demo` runs the whole job, `make test` passes the tests.
# Both make the environment first, in .venv, from requirements.lock.

PYTHON ?= python3.11
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.made

.PHONY: setup demo test lint types contracts unit docs bench clean lock
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# The sandbox's archive on loopback, the real flows, training, a map to look at.
demo: setup
	$(BIN)/slidecube demo

test: lint types contracts docs unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

# WORKERS processes at once; a test file stays in one of them, whose fixtures its tests share.
unit: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder

# The pages of docs/ as a site in data/site, from the checkout alone: no network.
docs: setup
	$(BIN)/mkdocs build --clean

# Side by side with what a user would otherwise use; ratios of one run. Takes many minutes.
bench: setup
	$(BIN)/python -m tests.bench

# Pin again what pyproject.toml asks for (in an environment where it is installed and passes).
lock: setup
	$(BIN)/python -m pip freeze --exclude-editable --all | grep -v "^pip==" | sed "s/+cpu//" > requirements.lock

clean:
	rm -rf .venv data
