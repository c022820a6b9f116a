# The commands of this repository; `make help` lists them. Everything runs in .venv, made from constraints.txt.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet -c constraints.txt

# Debian packages of the real desktop, as COMMAND:PACKAGE or FILE:PACKAGE.
FONTS    := /usr/share/fonts/X11/misc/cursor.pcf.gz:xfonts-base /usr/share/fonts/X11/misc/spleen-8x16.pcf.gz:fonts-spleen
DESKTOP  := Xvfb:xvfb jwm:jwm xterm:xterm xcalc:x11-apps $(FONTS)

# Options of the targets below, e.g. `make train MINUTES=300`.
MINUTES  ?= 120
TRACES   ?= traces/terminal
RUN      ?= runs/terminal
SESSIONS ?= 4000
STEPS    ?= 192
SEED     ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo test lint collect train evaluate docs clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Record the shipped agent in the neural terminal beside real bash: demo.mp4, demo.png.
	@./.ci/system-packages bwrap:bubblewrap
	$(BIN)/nc-gym demo

test: $(VENV)/.dev ## Install what the tests need, then lint and run every test.
	@./.ci/system-packages bwrap:bubblewrap asciinema:asciinema ps:procps $(DESKTOP) || echo "make test: going on; tests that need them will fail."
	@$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --durations=25

lint: $(VENV)/.dev ## Ruff (rules and format) and mypy.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

collect: $(VENV)/.runtime ## Record traces of real bash: SESSIONS, STEPS, SEED, TRACES.
	@./.ci/system-packages bwrap:bubblewrap
	$(BIN)/nc-gym collect terminal --sessions $(SESSIONS) --steps $(STEPS) --seed $(SEED) --out $(TRACES)

train: $(VENV)/.runtime ## Train a neural terminal on TRACES for MINUTES; writes RUN (resumes if it exists).
	@./.ci/system-packages bwrap:bubblewrap
	$(BIN)/nc-gym train terminal --traces $(TRACES) --minutes $(MINUTES) --out $(RUN) --seed $(SEED)

evaluate: $(VENV)/.runtime ## Closed-loop fidelity of the shipped weights against real bash: docs/fidelity_terminal.json.
	@./.ci/system-packages bwrap:bubblewrap
	$(BIN)/nc-gym evaluate terminal --out docs

docs: $(VENV)/.runtime ## Write docs/envs/*.md and the tables of README.md from cards, docstrings and JSON files.
	$(BIN)/python -m nc_gym.docs_pages
	$(BIN)/python -m nc_gym.readme_tables

clean: ## Remove caches, builds and the demo's files (keeps .venv, traces/ and runs/).
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache demo.mp4 demo.png
	find nc_gym tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "nc_gym needs Python >= 3.10, $(PYTHON) is older or missing: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || ./.ci/system-packages ensurepip:python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[sb3]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.runtime
