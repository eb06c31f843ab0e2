# `make run` and `make test` do all the set-up on a machine that has only Python (3.11 or newer) and make.
# Another interpreter: `make run PYTHON=python3.12`; another folder for the environment: `make run VENV=/some/where`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ROWS ?= .

.PHONY: run test lint bench clean

# What failed is on the board too, so the table is shown in any case, and the run's own exit code is kept.
run: $(VENV)/.limit
	@code=0; \
	$(BIN)/harness run --task limit || code=$$?; \
	$(BIN)/harness show --task limit; \
	echo "The records lie in:"; \
	$(BIN)/harness results path; \
	exit $$code

test: $(VENV)/.all
	$(BIN)/python -m pytest -n 2 --dist worksteal --benchmark-disable

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict harness

# The harness's own hot paths beside libraries that do the same; the rows of every task by asv, as this commit's results;
# and asv's page, for a place without network. `make bench ROWS='LimitRetrieval.*bm25'` times those rows only.
bench: $(VENV)/.all
	$(BIN)/python -m pytest tests/benchmarks -n 0 --benchmark-only --benchmark-max-time=1
	$(BIN)/asv machine --yes
	$(BIN)/asv run --environment existing:$(abspath $(BIN))/python --set-commit-hash "$$(git rev-parse HEAD)" \
	    --show-stderr --bench '$(ROWS)' || test $$? -eq 2  # 2: some row failed, which is on the page, too
	$(BIN)/python tests/asv/publish.py

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	    "Python %d.%d is too old: 3.11 or newer is needed; try make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.%: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .asv limits_harness.egg-info
