#!/usr/bin/env bash
# Prepares a release: one version, a changelog entry, a checked wheel and sdist. Uploads nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+([abrc]+[0-9]+)?$ ]] || { echo "not a version: $version" >&2; exit 2; }
grep -qE "^## \[?$version\]?" CHANGELOG.md || { echo "CHANGELOG.md has no entry for $version" >&2; exit 1; }
sed -i -E "0,/^version = \".*\"/s//version = \"$version\"/" pyproject.toml
scripts/setup.sh web
rm -rf dist
command -v uv >/dev/null 2>&1 || python3 -m pip install -q uv
uv build -q --out-dir dist
rm -f uv.lock
python3 scripts/check_dist.py "$version"
echo "dist/ holds Salon $version, checked; nothing was uploaded"
