"""Check that the wheel and the sdist in dist/ hold what they must and nothing they must not."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL_NEEDS = (
    "salon/py.typed",
    "salon/web/index.html",
    "salon/cli/__init__.py",
)
FORBIDDEN = ("node_modules", ".env", "data/", "__pycache__", "tests/")


def check(names: list[str], needs: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    problems = [f"missing: {need}" for need in needs if not any(n.endswith(need) for n in names)]
    for name in names:
        parts = name.split("/")
        for bad in forbidden:
            if bad.rstrip("/") in parts:
                problems.append(f"must not be there: {name}")
    return problems


def main(version: str) -> int:
    dist = Path("dist")
    wheel = dist / f"salon-{version}-py3-none-any.whl"
    sdist = dist / f"salon-{version}.tar.gz"
    problems = [f"not built: {path}" for path in (wheel, sdist) if not path.exists()]
    if not problems:
        with zipfile.ZipFile(wheel) as archive:
            problems += check(archive.namelist(), WHEEL_NEEDS, FORBIDDEN)
        with tarfile.open(sdist) as archive:
            names = archive.getnames()
            problems += check(names, ("pyproject.toml", "LICENSE", "README.md"), FORBIDDEN[:2])
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
