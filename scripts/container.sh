#!/usr/bin/env bash
# Runs every step of the Dockerfile in clean Debian folders, where there is no Docker daemon; starts
# what came out as the image would, and tries it. Needs root and debootstrap. See --help.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${SALON_PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null 2>&1 || python=python3
exec "$python" -m scripts.container "$@"
