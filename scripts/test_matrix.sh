#!/usr/bin/env bash
# Unit tests on every CPython >= 3.11 found, with the lowest declared, the locked and the newest
# dependencies. A line per cell; fails if any cell fails. PYTHONS="3.12 3.13" and LEVELS="lowest"
# narrow it down.
set -uo pipefail
cd "$(dirname "$0")/.."
export UV_PYTHON_DOWNLOADS=never
command -v uv >/dev/null 2>&1 || python3 -m pip install -q uv
failed=0
# The first that runs of: on the path, among pyenv's, what uv knows.
find_python() {
  local candidate
  for candidate in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python3 \
    "$(uv python find "$1" 2>/dev/null)"; do
    [ -n "$candidate" ] || continue
    "$candidate" -c "import sys; assert '%d.%d' % sys.version_info[:2] == '$1'" 2>/dev/null || continue
    echo "$candidate"
    return
  done
}

pythons=()
for version in ${PYTHONS:-3.11 3.12 3.13 3.14}; do
  found=$(find_python "$version")
  if [ -n "$found" ]; then pythons+=("$found"); else echo "$version: not found"; fi
done
[ ${#pythons[@]} -gt 0 ] || { echo "no CPython to test with" >&2; exit 1; }
for python in "${pythons[@]}"; do
  tag=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  for level in ${LEVELS:-lowest locked newest}; do
    venv=.venv-matrix/$tag-$level
    uv venv -q --clear --python "$python" "$venv" || { failed=1; continue; }
    case $level in
      lowest) args=(--resolution lowest-direct -e '.[all,espeak]' --group test) ;;
      locked) args=(--require-hashes -r requirements.lock) ;;
      newest) args=(-e '.[all,espeak]' --group test) ;;
    esac
    if ! uv pip install -q --python "$venv/bin/python" "${args[@]}" >"$venv.log" 2>&1; then
      echo "$tag $level: install failed, see $venv.log"; failed=1; continue
    fi
    [ $level = locked ] && uv pip install -q --python "$venv/bin/python" --no-deps -e . >>"$venv.log" 2>&1
    if "$venv/bin/python" -m pytest -q tests/unit -p no:cacheprovider \
      >>"$venv.log" 2>&1; then
      echo "$tag $level: $(tail -n 1 "$venv.log")"
    else
      echo "$tag $level: FAILED, see $venv.log: $(tail -n 1 "$venv.log")"; failed=1
    fi
  done
done
exit $failed
