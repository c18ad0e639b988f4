# Two commands do everything on a fresh machine: `make run` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test check lint bench docs test-matrix release lock web setup clean soak container conformance mutants

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

$(VENV)/.locked: requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh python
	@touch $@

src/salon/web/index.html: $(shell find web -path web/node_modules -prune -o -type f -print 2>/dev/null)
	@scripts/setup.sh web

setup: $(VENV)/.locked src/salon/web/index.html   ## install what `run` needs

run: setup       ## start Salon on embedded defaults and print its URL
	@exec $(VENV)/bin/salon serve

test: setup      ## every test, with what they need installed first (browser, voices)
	@scripts/setup.sh test
	@scripts/test.sh

lint: $(VENV)/.locked   ## formatting, lint, types, floors, security
	@scripts/lint.sh

check: setup     ## the whole quality gate: lint, tests, coverage floors
	@scripts/setup.sh test
	@scripts/lint.sh
	@scripts/test.sh

bench: $(VENV)/.locked  ## CPU time per unit, beside a floor or peer in the same run
	@$(PY) benchmarks/run.py

conformance: $(VENV)/.locked  ## docs/conformance.md from the rules and their tests
	@$(PY) scripts/conformance.py --run

mutants: $(VENV)/.locked   ## do the tests of core, voice and gateway notice seeded faults?
	@$(PY) scripts/mutants.py

soak: $(VENV)/.locked   ## three minutes of scripted calls (SECONDS_TO_RUN=180 CALLS=20)
	@$(PY) benchmarks/soak.py --seconds $${SECONDS_TO_RUN:-180} --calls $${CALLS:-20}

docs: $(VENV)/.locked   ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet && echo "site/index.html"

container:       ## the image's steps without Docker, and a trial of the result (needs root, debootstrap)
	@scripts/container.sh

test-matrix:     ## unit tests on every CPython >= 3.11 found x {lowest, locked, newest} dependencies
	@scripts/test_matrix.sh

release:         ## make release VERSION=x.y.z: set the version, check changelog, wheel and sdist
	@test -n "$(VERSION)" || { echo "usage: make release VERSION=x.y.z"; exit 2; }
	@scripts/release.sh "$(VERSION)"

lock:            ## renew requirements.lock from pyproject.toml
	@scripts/lock.sh

web: ## build the pages into the package
	@scripts/setup.sh web

clean:           ## remove what builds and tests left
	@rm -rf dist build site .coverage .coverage.* htmlcov test-artifacts .pytest_cache .mypy_cache .ruff_cache
