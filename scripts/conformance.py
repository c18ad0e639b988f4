#!/usr/bin/env python3
"""docs/conformance.md, made from the rules and the tests named for them.

    scripts/conformance.py --run             run the tests and write the page
    scripts/conformance.py --junit FILE ...  write it from JUnit reports of earlier runs
    scripts/conformance.py --check           change nothing, exit 1 if something is wrong

Wrong is a built rule of Level 0 or 1 without a test, a line of the catalogue that names a test that
does not exist, and a page whose mapping is stale (results aside). The rules are in
tests/conformance/core/rules.toml. A test belongs to a rule when its name carries it:
``test_R94_first_event_has_index_zero``.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
SUITE = Path("tests/conformance/core")
RULES = ROOT / SUITE / "rules.toml"
PAGE = ROOT / "docs/conformance.md"
_RULE = re.compile(r"R\d+")
_CODED = re.compile(r"^test((?:_R\d+)+)(?:_|$)")
RANK = {"failed": 0, "pending": 1, "skipped": 2, "passed": 3}
"""Of several results the lowest counts; a test that only passed in part is not passed."""
NO_RESULT = "not run"


@dataclass(frozen=True, slots=True)
class Test:
    """One test function, all its parameters together."""

    path: str
    name: str

    @property
    def rules(self) -> list[str]:
        found = _CODED.match(self.name)
        return _RULE.findall(found[1]) if found else []

    @property
    def in_suite(self) -> bool:
        return self.path.startswith(f"{SUITE}/")

    @property
    def key(self) -> str:
        """As a JUnit report names it."""
        return f"{self.path.removesuffix('.py').replace('/', '.')}::{self.name}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of rules.toml."""

    name: str
    level: int
    subject: str
    status: str = "built"
    reason: str = ""
    ref: bool = False

    @property
    def number(self) -> int:
        return int(self.name[1:])

    @property
    def needs_test(self) -> bool:
        return self.status == "built" and self.level <= 1


def collect(root: Path = ROOT) -> list[Test]:
    """Every test of the repository whose name carries a rule; those of the suite first."""
    found = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        where = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                test = Test(where, node.name)
                if test.rules:
                    found.append(test)
    return sorted(set(found), key=lambda test: (not test.in_suite, test.path, test.name))


def load(path: Path = RULES) -> tuple[list[Rule], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rules in order, chapters, lines of the catalogue."""
    data = tomllib.loads(path.read_text())
    rules = [Rule(name, **fields) for name, fields in data["rules"].items()]
    return sorted(rules, key=lambda rule: rule.number), data["chapters"], data.get("catalogue", [])


def results_of(reports: Iterable[Path]) -> dict[str, str]:
    """The result of each test function, parameters taken together."""
    results: dict[str, str] = {}
    for report in reports:
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            key = f"{case.get('classname')}::{str(case.get('name')).partition('[')[0]}"
            result = _result(case)
            if RANK[result] < RANK[results.get(key, "passed")] or key not in results:
                results[key] = result
    return results


def _result(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    skipped = case.find("skipped")
    if skipped is None:
        return "passed"
    return "pending" if skipped.get("type") == "pytest.xfail" else "skipped"


def summarize(results: Iterable[str]) -> str:
    """The result of a rule: the lowest of its tests'."""
    known = list(results)
    return min(known, key=RANK.__getitem__) if known else NO_RESULT


def run(tests: Iterable[Test]) -> dict[str, str]:
    """Run the files of these tests; marked ones (browser, db, ...) are left to their own runs."""
    files = sorted({test.path for test in tests})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", f"--junitxml={report}"]
        command += ["-m", "not browser and not db and not sip and not slow", *files]
        subprocess.run(command, cwd=ROOT, check=False, timeout=1800)
        return results_of([report]) if report.exists() else {}


def render(
    rules: list[Rule],
    chapters: list[dict[str, Any]],
    catalogue: list[dict[str, Any]],
    tests: list[Test],
    results: Mapping[str, str],
) -> str:
    """The page. What depends on results is in the last column of tables and in lines that begin
    with "Result"."""
    of_rule: dict[str, list[Test]] = {rule.name: [] for rule in rules}
    for test in tests:
        for name in test.rules:
            if name in of_rule:
                of_rule[name].append(test)
    lines = [
        "# Conformance of the conversation core",
        "",
        "Every rule of the conversation core, the tests named for it and what they said. Made by",
        "`scripts/conformance.py`; not to be edited by hand. Tests without a folder are in",
        f"`{SUITE}`. *Pending*: the test is written, what it tests is not reachable yet.",
        "",
        *_summary(rules, of_rule, results),
    ]
    for chapter in chapters:
        lines += [f"## {chapter['title']}", "", "| Rule | Level | Subject | Tests | Result |"]
        lines += ["|---|---|---|---|---|"]
        for rule in rules:
            if chapter["first"] <= rule.number <= chapter["last"]:
                lines.append(_row(rule, of_rule[rule.name], results))
        lines.append("")
    if catalogue:
        lines += _catalogue(catalogue, tests, results)
    return "\n".join(lines).rstrip() + "\n"


def _summary(
    rules: list[Rule], of_rule: Mapping[str, list[Test]], results: Mapping[str, str]
) -> list[str]:
    lines = ["| Level | Rules | Built | With a test |", "|---|---|---|---|"]
    for level in sorted({rule.level for rule in rules}):
        here = [rule for rule in rules if rule.level == level]
        built = [rule for rule in here if rule.status == "built"]
        tested = [rule for rule in built if of_rule[rule.name]]
        lines.append(f"| {level} | {len(here)} | {len(built)} | {len(tested)} |")
    tests = {test for found in of_rule.values() for test in found}
    counts = {word: sum(results.get(test.key) == word for test in tests) for word in reversed(RANK)}
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    return [*lines, "", f"Result of {len(tests)} test functions: {said}.", ""]


def _row(rule: Rule, tests: list[Test], results: Mapping[str, str]) -> str:
    level = f"{rule.level}{' (ref)' if rule.ref else ''}"
    known = [results[test.key] for test in tests if test.key in results]
    if rule.status != "built":
        cells = [rule.name, level, rule.subject, f"*{rule.status}: {rule.reason}*", "-"]
    else:
        cells = [rule.name, level, rule.subject, _names(tests), summarize(known)]
    return f"| {' | '.join(cells)} |"


def _names(tests: list[Test]) -> str:
    by_file: dict[str, list[str]] = {}
    for test in tests:
        by_file.setdefault(test.path.removeprefix(f"{SUITE}/"), []).append(test.name)
    return "<br>".join(
        f"`{path}`: {', '.join(f'`{_words(name)}`' for name in names)}"
        for path, names in by_file.items()
    )


def _words(name: str) -> str:
    """The name without its rules, which stand in the first column."""
    found = _CODED.match(name)
    return name[found.end(1) + 1 :] or name if found else name


def _catalogue(
    catalogue: list[dict[str, Any]], tests: list[Test], results: Mapping[str, str]
) -> list[str]:
    lines = ["## Catalogue", "", "| Area | What is shown | Rules | Tests | Result |"]
    lines += ["|---|---|---|---|---|"]
    by_name = {test.name: test for test in tests if test.in_suite}
    for line in catalogue:
        found = [by_name[name] for name in line.get("tests", ()) if name in by_name]
        known = [results[test.key] for test in found if test.key in results]
        reason = line.get("reason")
        shown = f"*later: {reason}*" if reason else _names(found)
        result = "-" if reason else summarize(known)
        cells = [line["area"], line["shows"], " ".join(line["rules"]), shown, result]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def problems(
    rules: list[Rule], catalogue: list[dict[str, Any]], tests: list[Test], page: str, fresh: str
) -> list[str]:
    """What `--check` complains about."""
    tested = {name for test in tests for name in test.rules}
    found = [
        f"{rule.name} (Level {rule.level}, {rule.subject}) has no test"
        for rule in rules
        if rule.needs_test and rule.name not in tested
    ]
    known = {rule.name for rule in rules}
    found += [
        f"{test.path}: {test.name} names {name}, which is no rule"
        for test in tests
        for name in test.rules
        if name not in known
    ]
    names = {test.name for test in tests if test.in_suite}
    for line in catalogue:
        given = line.get("tests", [])
        found += [
            f"the catalogue names {name}, which is no test" for name in given if name not in names
        ]
        if not given and not line.get("reason"):
            found.append(f"the catalogue's line {line['shows']!r} has no test")
    if _mapping(page) != _mapping(fresh):
        found.append(f"{PAGE.relative_to(ROOT)} is stale: run scripts/conformance.py --run")
    return found


def _mapping(page: str) -> list[str]:
    """The page without results."""
    lines = [line for line in page.splitlines() if not line.startswith("Result")]
    return [line.rpartition(" | ")[0] if line.startswith("| R") else _plain(line) for line in lines]


def _plain(line: str) -> str:
    """A line of the catalogue without its result; any other line as it is."""
    return line.rpartition(" | ")[0] if line.count(" | ") == 4 else line


def main() -> int:
    parser = argparse.ArgumentParser(description="Rules, their tests, and what these said.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    parser.add_argument("--run", action="store_true", help="run the tests first")
    parser.add_argument("--junit", type=Path, action="append", default=[], metavar="FILE")
    options = parser.parse_args()
    rules, chapters, catalogue = load()
    tests = collect()
    if options.check:
        page = PAGE.read_text() if PAGE.exists() else ""
        fresh = render(rules, chapters, catalogue, tests, {})
        found = problems(rules, catalogue, tests, page, fresh)
        print("\n".join(found) or f"{len(tests)} tests for {len(rules)} rules; the page is current")
        return 1 if found else 0
    results = run(tests) if options.run else results_of(options.junit)
    PAGE.write_text(render(rules, chapters, catalogue, tests, results))
    failed = sorted(test.key for test in tests if results.get(test.key) == "failed")
    print(f"wrote {PAGE.relative_to(ROOT)}: {len(tests)} tests, {len(failed)} failed")
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
