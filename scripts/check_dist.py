"""Check that the wheel and the sdist in dist/ hold what they must and nothing they must not."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL_NEEDS = (
    "salon/py.typed",
    "salon/web/index.html",
    "salon/web/client.js",
    "salon/cli/__init__.py",
    "salon/cli/starter/agent.py.tmpl",
    "salon/providers/house/house.toml",
    "salon/store/migrations/env.py",
)
FORBIDDEN = ("node_modules", ".env", "data", "__pycache__")
TOP = ("salon", "salon-{version}.dist-info")
"""All that a wheel may put beside other packages."""


def check(names: list[str], needs: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    problems = [f"missing: {need}" for need in needs if not any(n.endswith(need) for n in names)]
    for name in names:
        parts = name.split("/")
        for bad in forbidden:
            if bad in parts:
                problems.append(f"must not be there: {name}")
    return problems


def main(version: str) -> int:
    dist = Path("dist")
    wheel = dist / f"salon-{version}-py3-none-any.whl"
    sdist = dist / f"salon-{version}.tar.gz"
    problems = [f"not built: {path}" for path in (wheel, sdist) if not path.exists()]
    if not problems:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            problems += check(names, WHEEL_NEEDS, FORBIDDEN)
            top = {name.split("/")[0] for name in names} - {t.format(version=version) for t in TOP}
            problems += [f"must not be there: {name}/" for name in sorted(top)]
        with tarfile.open(sdist) as archive:
            names = archive.getnames()
            problems += check(names, ("pyproject.toml", "LICENSE", "README.md"), FORBIDDEN[:2])
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
