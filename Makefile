# Two commands for a new person: `make demo` runs the whole job, `make test` passes the tests.
# Both make the environment first, in .venv, from requirements.lock and requirements-torch.lock.

PYTHON ?= python3.11
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.made

.PHONY: setup demo test lint types contracts unit docs bench experiments clean lock
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): requirements.lock requirements-torch.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --requirement requirements-torch.lock
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

# WORKERS processes at once; a test file stays in one of them, whose fixtures its tests share. Compiled modules are kept, also
# where the shell says otherwise: the tests start some hundreds of processes, each of which would compile them anew.
unit: export PYTHONDONTWRITEBYTECODE =
unit: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder

# The pages of docs/ as a site in data/site, from the checkout alone: no network.
docs: setup
	$(BIN)/mkdocs build --clean

# Time and memory, side by side with what a user would otherwise use; ratios of one run. Takes some 20 minutes.
# One alone: `.venv/bin/python -m tests.bench NAME`.
bench: setup
	$(BIN)/python -m tests.bench

# What the simulated events hold against the paper, what the detector finds and misses: one takes minutes to hours.
experiments: setup
	$(BIN)/python -m tests.bench --experiments

# Pin again what this environment has (where the tests pass), with the hashes that the package index gives for each release.
lock: setup
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv
	$(BIN)/python -m pip freeze --exclude-editable --all | grep -v "^pip==" | sed "s/+.*//" > .venv/lock/pins
	grep "^#" requirements-torch.lock > .venv/lock/torch
	grep "^torch\(vision\)\?==" .venv/lock/pins >> .venv/lock/torch
	grep "^#" requirements.lock > .venv/lock/rest
	grep -v "^torch\(vision\)\?==" .venv/lock/pins | .venv/lock/bin/uv pip compile --quiet --no-deps --generate-hashes \
		--no-header --no-annotate --python $(BIN)/python - >> .venv/lock/rest
	mv .venv/lock/torch requirements-torch.lock
	mv .venv/lock/rest requirements.lock

clean:
	rm -rf .venv data
