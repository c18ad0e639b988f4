#!/usr/bin/env bash
# requirements.lock: every version with its hashes, for every supported Python, and no address.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_PYTHON_DOWNLOADS=never
command -v uv >/dev/null 2>&1 || python3 -m pip install -q uv
uv lock --quiet "$@"
uv export --quiet --frozen --extra all --extra espeak --all-groups --no-emit-project \
  --no-header --no-annotate -o requirements.lock.new >/dev/null
{
  echo "# Every package Salon installs, by version and hash. Renew with: make lock"
  cat requirements.lock.new
} >requirements.lock
rm -f requirements.lock.new uv.lock
if grep -nE 'https?://' requirements.lock; then
  echo "requirements.lock holds an address" >&2
  exit 1
fi
