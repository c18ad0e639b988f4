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
# the wheel alone, as a user has it
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
uv venv -q "$empty/venv"
uv pip install -q --python "$empty/venv/bin/python" --no-deps "dist/salon-$version-py3-none-any.whl"
found=$(cd "$empty" && venv/bin/python -c 'import salon; print(salon.__version__)')
[ "$found" = "$version" ] || { echo "the wheel says it is $found" >&2; exit 1; }
echo "dist/ holds Salon $version, checked; nothing was uploaded"
