# The door. Every verb is a few plain commands; CONTRIBUTING.md lists them for people without make.
.DEFAULT_GOAL := help
.PHONY: help setup dev demo test check fix bench fuzz docs lock
MAKEFLAGS += --no-print-directory

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
SECONDS ?= 60
PORT    ?= 8080
GROUP   ?=

help: ## list the verbs
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 16

setup: ## make .venv from the hash-locked files; quick when nothing changed
	@PYTHON='$(PYTHON)' ./.ci/setup

dev: setup ## run twin, keys, parent and enclave until Ctrl-C, and print how an agent calls them; PORT=8080
	@$(BIN)/python -m local dev --port $(PORT)

demo: setup ## seal, provision, release, attest, work; a tampered enclave and a hostile parent refused
	@$(BIN)/python -m local demo

test: check ## check, then every test under coverage with its gates
	@mkdir -p build
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -n 2 --junitxml=build/junit.xml
	$(BIN)/python -m tests.gate

check: setup ## linter, formatter, types, import contracts, generated documents
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs --check

fix: setup ## let the linter and the formatter mend what they can
	-$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## measure; GROUP=name for one group; writes build/bench.json
	@./.ci/setup bench
	$(BIN)/python -m tests.bench $(if $(GROUP),--group $(GROUP))

fuzz: setup ## fuzz the parser for SECONDS=60
	$(BIN)/python -m tests.fuzz.attestation --seconds $(SECONDS)

docs: setup ## write the generated documents again
	$(BIN)/python -m tests.docs

lock: setup ## resolve the locks again from pyproject.toml
	@./.ci/lock
