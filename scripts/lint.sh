#!/usr/bin/env bash
# Formatting, lint, types, floors, security: the part of the quality gate that runs no tests.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
$bin/ruff format --check --quiet .
$bin/ruff check --quiet .
$bin/mypy
$bin/lint-imports --no-cache
$bin/bandit -q -r src -c pyproject.toml
.venv/bin/python scripts/conformance.py --check
