#!/usr/bin/env python3
"""docs/conformance.md, made from the rules and the tests named for them.

    scripts/conformance.py --run             run the tests and write the page
    scripts/conformance.py --junit FILE ...  write it from JUnit reports of earlier runs
    scripts/conformance.py --check           change nothing, exit 1 if something is wrong

Wrong is a built rule of Level 0 or 1 without a test, a line of the catalogue that names a test that
does not exist, and a page whose mapping is stale (results aside). The rules are in
tests/conformance/core/rules.toml. A test belongs to a rule when its name carries it:
``test_R94_first_event_has_index_zero``.

The voice rules are in tests/conformance/voice/rules.toml and have a part of the page to themselves;
their tests are named the same way, with V. Until that file says ``complete = true``, rules without
a test and a stale voice part are no fault; then each built MUST and SHOULD needs one.
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
VOICE_SUITE = Path("tests/conformance/voice")
VOICE_RULES = ROOT / VOICE_SUITE / "rules.toml"
VOICE_HEADING = "## Voice rules"
PAGE = ROOT / "docs/conformance.md"
_RULE = re.compile(r"R\d+")
_CODED = re.compile(r"^test((?:_R\d+)+)(?:_|$)")
_CODED_VOICE = re.compile(r"^test(?:_R\d+)*((?:_V\d+)+)(?:_|$)")
_VOICE_RULE = re.compile(r"V\d+")
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
    def voice_rules(self) -> list[str]:
        found = _CODED_VOICE.match(self.name)
        return _VOICE_RULE.findall(found[1]) if found else []

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


@dataclass(frozen=True, slots=True)
class VoiceRule:
    """A line of the voice rules."""

    name: str
    level: str
    title: str
    built: bool = True
    reason: str = ""

    @property
    def number(self) -> int:
        return int(self.name[1:])

    @property
    def needs_test(self) -> bool:
        return self.built and ("MUST" in self.level or "SHOULD" in self.level)


@dataclass(frozen=True, slots=True)
class Voice:
    """All voice rules in order, their chapters, and whether each is to have its test."""

    rules: list[VoiceRule]
    chapters: list[dict[str, Any]]
    complete: bool

    def tests_of(self, tests: Iterable[Test]) -> dict[str, list[Test]]:
        """The tests of each rule, those of the voice suite first."""
        found: dict[str, list[Test]] = {rule.name: [] for rule in self.rules}
        first = f"{VOICE_SUITE}/"
        for test in sorted(tests, key=lambda test: not test.path.startswith(first)):
            for name in test.voice_rules:
                if name in found:
                    found[name].append(test)
        return found


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
                if test.rules or test.voice_rules:
                    found.append(test)
    return sorted(set(found), key=lambda test: (not test.in_suite, test.path, test.name))


def load(path: Path = RULES) -> tuple[list[Rule], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rules in order, chapters, lines of the catalogue."""
    data = tomllib.loads(path.read_text())
    rules = [Rule(name, **fields) for name, fields in data["rules"].items()]
    return sorted(rules, key=lambda rule: rule.number), data["chapters"], data.get("catalogue", [])


def load_voice(path: Path = VOICE_RULES) -> Voice:
    """The voice rules."""
    data = tomllib.loads(path.read_text())
    rules = [VoiceRule(name, **fields) for name, fields in data["rules"].items()]
    rules.sort(key=lambda rule: rule.number)
    return Voice(rules, data["chapters"], data.get("complete", False))


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


def _names(tests: list[Test], suite: Path = SUITE, coded: re.Pattern[str] = _CODED) -> str:
    by_file: dict[str, list[str]] = {}
    for test in tests:
        by_file.setdefault(test.path.removeprefix(f"{suite}/"), []).append(test.name)
    return "<br>".join(
        f"`{path}`: {', '.join(f'`{_words(name, coded)}`' for name in names)}"
        for path, names in by_file.items()
    )


def _words(name: str, coded: re.Pattern[str] = _CODED) -> str:
    """The name without its rules, which stand in the first column."""
    found = coded.match(name)
    return name[found.end(1) + 1 :] or name if found else name


def render_voice(voice: Voice, tests: list[Test], results: Mapping[str, str]) -> str:
    """The voice part of the page."""
    of_rule = voice.tests_of(tests)
    built = [rule for rule in voice.rules if rule.built]
    tested = [rule for rule in built if of_rule[rule.name]]
    functions = {test for found in of_rule.values() for test in found}
    words = {test: results.get(test.key) for test in functions}
    said = ", ".join(f"{list(words.values()).count(word)} {word}" for word in reversed(RANK))
    lines = [
        VOICE_HEADING,
        "",
        f"Tests without a folder are in `{VOICE_SUITE}`.",
        "",
        *["| Level | Rules | Built | With a test |", "|---|---|---|---|"],
    ]
    for level in sorted({rule.level for rule in voice.rules}):
        counts = [
            sum(rule.level == level for rule in some) for some in (voice.rules, built, tested)
        ]
        lines.append(f"| {level} | {' | '.join(map(str, counts))} |")
    lines += ["", f"Result of {len(functions)} test functions: {said}.", ""]
    for chapter in voice.chapters:
        lines += [f"### {chapter['title']}", "", "| Rule | Level | Subject | Tests | Result |"]
        lines += ["|---|---|---|---|---|"]
        for rule in voice.rules:
            if chapter["first"] <= rule.number <= chapter["last"]:
                lines.append(_voice_row(rule, of_rule[rule.name], results))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _voice_row(rule: VoiceRule, tests: list[Test], results: Mapping[str, str]) -> str:
    known = [results[test.key] for test in tests if test.key in results]
    shown, result = _names(tests, VOICE_SUITE, _CODED_VOICE), summarize(known)
    if not rule.built:
        shown, result = f"*later: {rule.reason}*", "-"
    elif not tests:
        shown, result = "*no test yet*", "-"
    return f"| {rule.name} | {rule.level} | {rule.title} | {shown} | {result} |"


def voice_problems(voice: Voice, tests: list[Test], page: str, fresh: str) -> list[str]:
    """What `--check` complains about in voice."""
    of_rule = voice.tests_of(tests)
    found = [
        f"{test.path}: {test.name} names {name}, which is no rule"
        for test in tests
        for name in test.voice_rules
        if name not in of_rule
    ]
    found += [f"{rule.name} is not built and says no reason" for rule in voice.rules
              if not rule.built and not rule.reason]  # fmt: skip
    chapters = voice.chapters
    found += [
        f"{rule.name} is in no chapter"
        for rule in voice.rules
        if not any(chapter["first"] <= rule.number <= chapter["last"] for chapter in chapters)
    ]
    if not voice.complete:
        return found
    found += [
        f"{rule.name} ({rule.level}, {rule.title}) has no test"
        for rule in voice.rules
        if rule.needs_test and not of_rule[rule.name]
    ]
    if _mapping(page) != _mapping(fresh):
        found.append(f"the voice part of {PAGE.relative_to(ROOT)} is stale: run it with --run")
    return found


def parts_of(page: str) -> tuple[str, str]:
    """The page's part of the core and that of voice, empty if it has none."""
    core, heading, voice = page.partition(VOICE_HEADING)
    return core.rstrip() + "\n", heading + voice


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
    rows = "| R", "| V"
    return [line.rpartition(" | ")[0] if line.startswith(rows) else _plain(line) for line in lines]


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
    voice = load_voice()
    everything = collect()
    tests = [test for test in everything if test.rules]
    voice_tests = [test for test in everything if test.voice_rules]
    if options.check:
        core_page, voice_page = parts_of(PAGE.read_text() if PAGE.exists() else "")
        fresh = render(rules, chapters, catalogue, tests, {})
        found = problems(rules, catalogue, tests, core_page, fresh)
        fresh = render_voice(voice, voice_tests, {})
        found += voice_problems(voice, voice_tests, voice_page, fresh)
        print("\n".join(found) or f"{len(tests)} tests for {len(rules)} rules; the page is current")
        untested = sum(not found for found in voice.tests_of(voice_tests).values())
        print(f"voice: {len(voice_tests)} tests, {untested} of {len(voice.rules)} rules without")
        return 1 if found else 0
    results = run(everything) if options.run else results_of(options.junit)
    core_page = render(rules, chapters, catalogue, tests, results)
    PAGE.write_text(f"{core_page}\n{render_voice(voice, voice_tests, results)}")
    tests = everything
    failed = sorted(test.key for test in tests if results.get(test.key) == "failed")
    print(f"wrote {PAGE.relative_to(ROOT)}: {len(tests)} tests, {len(failed)} failed")
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
