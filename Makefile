# Every target does its own set-up; each is quick when there is nothing to do.
# RELEASES=DIRECTORY  takes Ollama's release archives from there instead of building them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help set-up lab lab-down demo test lint bench bench-engine lock

PYTHON := .venv/bin/python
LAB := $(PYTHON) -m lab
# Tests wait for their hosts half of the time: three labs keep two cores busy.
TEST_LABS := one two three
# Of ten moments at which a host's power is cut in a rebuild, an upgrade, a move and a take-over.
SEEDS ?= 1
comma := ,
space := $(subst ,, )
ifdef RELEASES
export RELEASES := $(abspath $(RELEASES))
endif

help:
	@echo 'make demo      lab up, R1 deployed on its hosts, and a table of what they do'
	@echo 'make test      unit, lab and state tests; SEEDS=10: with ten power cuts in each of four deploys, not one'
	@echo 'make lab       lab up            make lab-down   lab down, nothing left'
	@echo 'make bench     times of runs, as ratios to ssh HOST true; how exact and fast planning is'
	@echo 'make bench-engine   what formulas say of models beside what the engine says'
	@echo 'make lint      ruff, mypy, shellcheck'
	@echo 'make set-up    packages and .venv only'

set-up:
	@lab/set-up.sh

lab: set-up
	@$(LAB) up

lab-down: set-up
	@$(LAB) down

demo: lab
	lab/run pyinfra -y inventory.py deploys/r1.py
	lab/run corral status

# Unit tests need no lab; lab tests bring hosts into many states, in labs of their own side by side; state tests look at
# hosts that r1.py has set up.
test: set-up
	.venv/bin/pytest tests/unit
	.venv/bin/pytest tests/stand_in
	@for lab in $(TEST_LABS); do \
		CORRAL_LAB=$$lab $(LAB) up --releases 0.34.4 0.24.0 --also win11-zh bare || exit; \
	done
	CORRAL_SEEDS=$(SEEDS) .venv/bin/pytest tests/lab --labs $(subst $(space),$(comma),$(TEST_LABS))
	@for lab in $(TEST_LABS); do CORRAL_LAB=$$lab $(LAB) down || exit; done
	@$(LAB) up
	lab/run pyinfra -y inventory.py deploys/r1.py
	lab/run pytest tests/state --reboot

bench: set-up
	$(PYTHON) -m bench.planner
	@$(LAB) up --hosts mirror client --count 10
	lab/run python -m bench

# 700 questions, a quarter of an hour; needs the hosts of `make demo`.
bench-engine: demo
	lab/run python -m bench.engine

lint: set-up
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	git ls-files -z --cached --others --exclude-standard -- '*.sh' lab/run .ci/run | xargs -0 .venv/bin/shellcheck

# The lock files hold versions and digests, and no address: packages come from wherever pip is set to look.
lock: set-up
	$(PYTHON) -m pip install --quiet uv
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --universal --python-version 3.11 \
		pyproject.toml --output-file requirements.txt
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --universal --python-version 3.11 \
		pyproject.toml --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --python-version 3.11 \
		--python-platform x86_64-manylinux_2_34 --constraint requirements-dev.txt \
		lab/windows/requirements.in --output-file lab/windows/requirements.txt
