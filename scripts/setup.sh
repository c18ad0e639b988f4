#!/usr/bin/env bash
# Installs what a target needs, from nothing: setup.sh python | web | test
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }

find_python() {
  for candidate in "${SALON_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    [ -n "$candidate" ] || continue
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "Salon needs Python 3.11 or newer; set SALON_PYTHON to its path" >&2
  return 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
  command -v apt-get >/dev/null 2>&1 || { echo "please install by hand: $*" >&2; return 1; }
  say "installing $* ..."
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

setup_python() {
  local python
  python=$(find_python)
  if [ ! -x .venv/bin/python ]; then
    say "creating .venv with $python ..."
    "$python" -m venv .venv 2>/dev/null || {
      apt_install python3-venv
      rm -rf .venv
      "$python" -m venv .venv
    }
  fi
  say "installing the locked packages ..."
  .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
  .venv/bin/python -m pip install -q --require-hashes --no-deps -r requirements.lock
  .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
}

setup_web() {
  command -v npm >/dev/null 2>&1 || { echo "building the pages needs Node.js 20 or newer with npm" >&2; exit 1; }
  say "building the pages ..."
  (cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build)
  touch src/salon/web/index.html
}

setup_test() {
  local missing=()
  command -v chromium >/dev/null 2>&1 || missing+=(chromium)
  command -v flite >/dev/null 2>&1 || missing+=(flite)
  compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
  command -v ip >/dev/null 2>&1 || missing+=(iproute2)
  [ -x /usr/sbin/dovecot ] || missing+=(dovecot-imapd)
  command -v openssl >/dev/null 2>&1 || missing+=(openssl)
  compgen -G "/usr/lib/*/libspeexdsp.so*" >/dev/null || missing+=(libspeexdsp1)
  compgen -G "/usr/lib/*/libportaudio.so*" >/dev/null || missing+=(libportaudio2)
  if [ "$(id -u)" = 0 ]; then command -v debootstrap >/dev/null 2>&1 || missing+=(debootstrap); fi
  if [ ${#missing[@]} -gt 0 ]; then apt_install "${missing[@]}"; fi
}

case "${1:-}" in
  python) setup_python ;;
  web) setup_web ;;
  test) setup_test ;;
  *) echo "usage: setup.sh python | web | test" >&2; exit 2 ;;
esac
