# make reproduce   from nothing to the database and the site
# make test        what the tests prove, in under an hour
# make test-slow   what is long by nature: many kills, a minute of two writers, the quick main job;
#                  CI runs it once a week, and lint and test for each push
# make lint        format, types, and the floors of the house
PYTHON ?= python3
BIN := .venv/bin

.PHONY: venv reproduce test test-slow lint lock bench clean

venv: .venv/.made

.venv/.made: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "oiplib needs Python 3.11, 3.12 or 3.13, and %s is %d.%d: call make with PYTHON=python3.12, say" % (sys.executable, *v))'
	@echo 'Making .venv from requirements.lock: TensorFlow, Jupyter Book and what they need, 2.8 GB on disk'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -qq --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

reproduce: venv
	$(BIN)/oip reproduce $(ARGS)

test: venv
	$(BIN)/python -m pytest $(ARGS)

test-slow: venv
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A lock for all supported versions of Python, with hashes and without an index's name (needs uv).
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --extra dev pyproject.toml --output-file requirements.lock

# Ratios of speed, to benchmarks/RESULTS.md; on the network of oip.db, which is trained if need be.
bench: venv .venv-peers/.made
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/database.py

.venv-peers/.made: benchmarks/peers.txt
	@echo 'Making .venv-peers: xplique and tf-keras-vis, whose speed is compared'
	@$(PYTHON) -m venv --clear .venv-peers
	@.venv-peers/bin/pip install -qq --requirement benchmarks/peers.txt
	@.venv-peers/bin/pip install -qq --no-deps xplique==2.0.2 tf-keras-vis==0.8.7
	@touch $@

clean:
	rm -rf .venv .venv-peers site site.work
