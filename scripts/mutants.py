#!/usr/bin/env python3
"""Seeded faults: do the tests notice them?

Each fault of scripts/mutants/*.toml is put, alone, into a copy of src/, and copies of the tests run
against it until one fails: work going on in the repository disturbs nothing. The test that failed
is run once more without the fault, and only if it passes then is the fault caught. One that no test
notices has survived; one that only keeps the tests from ending is told apart and is not caught.
Tests that fail without any fault are left out, and named.

    scripts/mutants.py                     all faults; exit 1 if fewer than 90 % are caught
    scripts/mutants.py --only permissions  those whose file or title contains the word
    scripts/mutants.py --list              the faults; exit 2 if one no longer fits its file
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
FAULTS = ROOT / "scripts/mutants"
TESTS = ("tests/conformance/core", "tests/unit/core", "tests/unit/store", "tests/unit/identity")
FLOOR = 0.9
WORKERS = 2
TIMEOUT_S = 180.0
FLAKY = 3
"""Tests that fail with and without a fault and are left out, before a fault counts as survived."""

Verdict = Literal["caught", "SURVIVED", "NO END"]


@dataclass(frozen=True, slots=True)
class Fault:
    """`old` stands exactly once in `file` (below src/salon) and becomes `new`."""

    title: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    """Where to look first, below tests/; the rest follows if these notice nothing."""
    suites: tuple[str, ...] = TESTS
    """What is run against it."""

    def fits(self) -> str | None:
        """Why it cannot be applied, or None."""
        path = SOURCE / "salon" / self.file
        if not path.exists():
            return "no such file"
        count = path.read_text().count(self.old)
        if count != 1:
            return f"its text stands {count} times in the file"
        hints = (ROOT / "tests" / name.partition("::")[0] for name in self.tests)
        missing = [hint.name for hint in hints if not hint.exists()]
        return f"there is no {missing[0]} to look in" if missing else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fault; `by` is the first test that failed."""

    fault: Fault
    verdict: Verdict
    by: str
    seconds: float


def load(only: str | None) -> list[Fault]:
    """The faults whose file or title contains `only`."""
    found = []
    for path in sorted(FAULTS.glob("*.toml")):
        data = tomllib.loads(path.read_text())
        suites = tuple(data.get("suites", TESTS))
        for entry in data["fault"]:
            tests = tuple(entry.get("tests", ()))
            fault = Fault(**{**entry, "tests": tests, "suites": suites})
            if only is None or only in fault.file or only in fault.title:
                found.append(fault)
    return found


def pytest(source: Path, *arguments: str, timeout: float = TIMEOUT_S) -> tuple[int | None, str]:
    """Exit status (None: out of time) and output of a run against the package in `source`."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COVERAGE_FILE": str(source.parent / "coverage"),
    }
    marks = "not slow and not db and not browser and not sip"
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-m", marks]
    command += ["-p", "no:cacheprovider", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=source.parent.parent / "root",
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout


def failures(output: str) -> list[str]:
    """The tests (or files) that a run names as failed."""
    lines = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return [line.split(" ", 1)[1].partition(" - ")[0] for line in lines]


def copy_tests(folder: Path) -> None:
    """The tests as they are now, where `pytest` runs them."""
    unneeded = shutil.ignore_patterns("__pycache__", "node_modules")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=unneeded)
    shutil.copy(ROOT / "pyproject.toml", folder)


def copy_to(folder: Path) -> Path:
    """A fresh copy of the source."""
    target = folder / "src"
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__", "web"))
    return target


def known_failures(folder: Path, tests: list[str]) -> list[str]:
    """What fails without any fault, as options that leave it out."""
    everything = ("--continue-on-collection-errors", *tests)
    status, output = pytest(folder / "src", *everything, timeout=TIMEOUT_S * 4)
    if status not in (0, 1, 2):
        sys.exit(f"the tests do not run without a fault (status {status}):\n{output[-2000:]}")
    found = failures(output)
    for name in found:
        print(f"left out, fails without a fault: {name}")
    return [leave_out(name) for name in found]


def leave_out(name: str) -> str:
    """The option that leaves out a test, or a file that can't be imported."""
    return f"--deselect={name}" if "::" in name else f"--ignore={name}"


def attempt(source: Path, chosen: list[str], left_out: list[str]) -> tuple[Verdict, str]:
    """What `chosen` say of a source with a fault in it, and the test that failed."""
    status, output = pytest(source, "-x", *left_out, *chosen)
    if status is None:
        return "NO END", "the tests did not end"
    if status in (0, 5):  # 5: all of them are left out
        return "SURVIVED", "nothing"
    return "caught", (failures(output) or [""])[0]


def judge(fault: Fault, source: Path, tests: list[str], left_out: list[str]) -> Outcome:
    """Apply a fault, run the tests until one fails that passes without it, take it back."""
    path = source / "salon" / fault.file
    right = path.read_text()
    wrong = right.replace(fault.old, fault.new)
    began = time.monotonic()
    left_out = list(left_out)
    endless = False
    todo = [chosen for chosen in ([f"tests/{name}" for name in fault.tests], tests) if chosen]
    flaky = 0
    while todo and flaky <= FLAKY:
        try:
            path.write_text(wrong)
            verdict, by = attempt(source, todo[0], left_out)
        finally:
            path.write_text(right)
        if verdict == "caught":
            if pytest(source, *([by] if by else todo[0]))[0] == 0:
                return Outcome(fault, "caught", by or "a run", time.monotonic() - began)
            print(f"does not count, fails without the fault too: {by or todo[0]}")
            flaky += 1
            if by:
                left_out.append(leave_out(by))
                continue
        endless = endless or verdict == "NO END"
        todo.pop(0)
    verdict, by = ("NO END", "did not end") if endless else ("SURVIVED", "nothing")
    return Outcome(fault, verdict, by, time.monotonic() - began)


def run(faults: list[Fault], tests: list[str]) -> list[Outcome]:
    """Judge all, `WORKERS` at a time, each worker in a copy of its own."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        copy_tests(folder / "root")
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(WORKERS):
            copies.put(copy_to(folder / f"copy{number}"))
        left_out = known_failures(folder / "copy0", tests)

        def work(fault: Fault) -> Outcome:
            source = copies.get()
            try:
                outcome = judge(fault, source, tests, left_out)
            finally:
                copies.put(source)
            about = f"{outcome.by}, {outcome.seconds:.0f} s"
            print(f"{outcome.verdict:8} {fault.file}: {fault.title} ({about})")
            return outcome

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(work, faults))


def main() -> int:
    parser = argparse.ArgumentParser(description="Do the tests notice seeded faults?")
    parser.add_argument("--only", metavar="WORD", help="faults whose file or title contains it")
    parser.add_argument("--list", action="store_true", help="check that they fit, run nothing")
    parser.add_argument("tests", nargs="*", help="what to run; else what the faults' file says")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faults = load(options.only)
    stale = [(fault, why) for fault in faults if (why := fault.fits()) is not None]
    for fault, why in stale:
        print(f"STALE    {fault.file}: {fault.title}: {why}")
    if options.list:
        print(f"{len(faults)} faults, {len(stale)} stale")
        return 2 if stale else 0
    groups: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        if fault.fits() is None:
            groups.setdefault(tuple(options.tests) or fault.suites, []).append(fault)
    outcomes = [done for tests, group in groups.items() for done in run(group, list(tests))]
    verdicts = [outcome.verdict for outcome in outcomes]
    caught, endless = verdicts.count("caught"), verdicts.count("NO END")
    print(f"{caught} of {len(outcomes)} caught; {endless} did not end; {len(stale)} stale")
    if stale or not outcomes:
        return 2
    return 0 if caught >= FLOOR * len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
