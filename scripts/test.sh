#!/usr/bin/env bash
# All tests with branch coverage, then the floors: 80 % overall, 90 % for the packages that carry calls.
set -euo pipefail
cd "$(dirname "$0")/.."
export SALON_REQUIRE_ALL=${SALON_REQUIRE_ALL:-${CI:-}}
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
py=.venv/bin/python
if [ $# -gt 0 ]; then exec $py -m pytest "$@"; fi
rm -f .coverage .coverage.*
log=$(mktemp)
trap 'rm -f "$log"' EXIT
set +e
$py -m pytest -n "${SALON_TEST_WORKERS:-2}" --dist loadgroup --no-loadscope-reorder \
  --cov --cov-report= -p no:cacheprovider 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
set -e
if [ "$status" = 0 ]; then
  $py scripts/coverage_floors.py || status=1
fi
# the summary line stands last, whatever came after it
grep -E '^=+ .*(passed|failed|error|no tests ran).* in .*=+$' "$log" | tail -n 1
exit "$status"
