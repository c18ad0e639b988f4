#!/usr/bin/env bash
# The locks: every version with its hashes, for every supported Python, and no address.
# requirements.lock holds all; two parts of it are for the image: what runs, and what builds the wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_PYTHON_DOWNLOADS=never
command -v uv >/dev/null 2>&1 || python3 -m pip install -q uv
uv lock --quiet "$@"

export_lock() { # file, what it is, options of uv export
  local file=$1 what=$2
  shift 2
  uv export --quiet --frozen "$@" --no-emit-project --no-header --no-annotate -o "$file.new" >/dev/null
  { echo "# $what Renew with: make lock"; cat "$file.new"; } >"$file"
  rm -f "$file.new"
}

export_lock requirements.lock "Every package Salon installs, by version and hash." \
  --extra all --extra espeak --all-groups
export_lock requirements.run.lock \
  "What Salon runs on, without its tools: part of requirements.lock." \
  --extra all --extra espeak --no-default-groups
export_lock requirements.build.lock "What builds Salon's wheel: part of requirements.lock." \
  --only-group build
rm -f uv.lock
if grep -nE 'https?://' requirements.lock requirements.run.lock requirements.build.lock; then
  echo "a lock holds an address" >&2
  exit 1
fi
