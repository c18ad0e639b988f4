#!/usr/bin/env python3
"""docs/conformance.md, made from the rules and the tests named for them.

    scripts/conformance.py --run             run the tests and write the page
    scripts/conformance.py --junit FILE ...  write it from JUnit reports of earlier runs
    scripts/conformance.py --check           change nothing, exit 1 if something is wrong

Wrong is a built rule of Level 0 or 1 without a test, a line of the catalogue that names a test that
does not exist, and a page whose mapping is stale (results aside). The rules are in
tests/conformance/core/rules.toml. A test belongs to a rule when its name carries it:
``test_R94_first_event_has_index_zero``.

The rules of voice, of the gateway and of the two client SDKs are in rules.toml of voice, gateway,
avatarkit and odyssey (below tests/conformance) and have a part of the page each; their tests are
named the same way, with V, with G or T, with A or T, with O, D or J. Until such a file says
``complete = true``, rules without a test (they are listed) and a stale part of the page are no
fault; then each built MUST and SHOULD needs one.
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
_ROW = re.compile(r"\| (?:Rule |[A-Z]\d+a? )")
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


@dataclass(frozen=True, slots=True)
class Series:
    """A part of the page: where its rules are, how they are named, in which tests they count."""

    name: str
    title: str
    rule: str
    """A regular expression of the names of its rules."""
    outside: tuple[str, ...] = ()
    """Where tests do not count: they do not run here, or mean another part's rules."""
    inside: tuple[str, ...] = ("tests/",)
    """Where tests count."""

    @property
    def suite(self) -> Path:
        return Path("tests/conformance") / self.name

    @property
    def heading(self) -> str:
        return f"## {self.title}"

    @property
    def coded(self) -> re.Pattern[str]:
        """The start of a test's name, other parts' rules first; its own are the group."""
        return re.compile(rf"^test(?:_[A-Z]\d+[ab]?)*?((?:_(?:{self.rule}))+)(?:_|$)")

    def rules_of(self, test: Test) -> list[str]:
        found = self.coded.match(test.name)
        if not found or test.path.startswith(self.outside) or not test.path.startswith(self.inside):
            return []
        return found[1].removeprefix("_").split("_")


_AVATAR_TESTS = (
    "tests/conformance/avatarkit/",
    "tests/unit/clients/avatarkit/",
    "tests/unit/testing/avatar/",
    "tests/interop/test_avatarkit",
    "tests/unit/examples/test_avatarkit",
)
_ODYSSEY_TESTS = (
    "tests/conformance/odyssey/",
    "tests/unit/clients/odyssey/",
    "tests/unit/testing/odyssey/",
    "tests/interop/test_odyssey",
    "tests/unit/transport/test_video_",
)
VOICE = Series("voice", "Voice rules", r"V\d+")
GATEWAY = Series(
    "gateway",
    "Gateway rules",
    r"G[1-3]?\d{1,2}a?|T\d{1,2}",
    outside=("tests/interop/", *_AVATAR_TESTS, *_ODYSSEY_TESTS),
)
"""Three digits at most, the first below 4: G711 and G722 are codecs."""
AVATARKIT = Series("avatarkit", "Avatar rules", r"A\d+|T\d{1,2}", inside=_AVATAR_TESTS)
ODYSSEY = Series("odyssey", "Interactive video rules", r"O\d+[ab]?|D\d+|J\d", inside=_ODYSSEY_TESTS)
SERIES = (VOICE, GATEWAY, AVATARKIT, ODYSSEY)


@dataclass(frozen=True, slots=True)
class PartRule:
    """A line of the rules of a part."""

    name: str
    level: str
    title: str
    built: bool = True
    reason: str = ""
    partly: str = ""
    """What of a built rule is left for later."""

    @property
    def series(self) -> str:
        return self.name[0]

    @property
    def number(self) -> int:
        return int(self.name[1:].rstrip("ab"))

    @property
    def needs_test(self) -> bool:
        return self.built and ("MUST" in self.level or "SHOULD" in self.level)


@dataclass(frozen=True, slots=True)
class Part:
    """All rules of a part in order, their chapters, and whether each is to have its test."""

    about: Series
    rules: list[PartRule]
    chapters: list[dict[str, Any]]
    complete: bool

    def tests_of(self, tests: Iterable[Test]) -> dict[str, list[Test]]:
        """The tests of each rule, those of the part's suite first."""
        found: dict[str, list[Test]] = {rule.name: [] for rule in self.rules}
        first = f"{self.about.suite}/"
        for test in sorted(tests, key=lambda test: not test.path.startswith(first)):
            for name in self.about.rules_of(test):
                if name in found:
                    found[name].append(test)
        return found

    def in_chapter(self, chapter: Mapping[str, Any]) -> list[PartRule]:
        """A chapter may name its series of rules; else it is that of the part's first rule."""
        series = chapter.get("series", self.rules[0].series)
        first, last = chapter["first"], chapter["last"]
        return [r for r in self.rules if r.series == series and first <= r.number <= last]

    def untested(self, tests: Iterable[Test]) -> list[PartRule]:
        """Built rules without a test, whatever their level."""
        of_rule = self.tests_of(tests)
        return [rule for rule in self.rules if rule.built and not of_rule[rule.name]]


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
                if test.rules or any(series.rules_of(test) for series in SERIES):
                    found.append(test)
    return sorted(set(found), key=lambda test: (not test.in_suite, test.path, test.name))


def load(path: Path = RULES) -> tuple[list[Rule], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rules in order, chapters, lines of the catalogue."""
    data = tomllib.loads(path.read_text())
    rules = [Rule(name, **fields) for name, fields in data["rules"].items()]
    return sorted(rules, key=lambda rule: rule.number), data["chapters"], data.get("catalogue", [])


def load_part(series: Series, root: Path = ROOT) -> Part:
    """The rules of a part, G1 before G2, G72 before G72a, all G before T."""
    data = tomllib.loads((root / series.suite / "rules.toml").read_text())
    rules = [PartRule(name, **fields) for name, fields in data["rules"].items()]
    rules.sort(key=lambda rule: (rule.series, rule.number, rule.name))
    return Part(series, rules, data["chapters"], data.get("complete", False))


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
        subprocess.run(command, cwd=ROOT, check=False, timeout=3600)
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


def render_part(part: Part, tests: list[Test], results: Mapping[str, str]) -> str:
    """A part of the page."""
    of_rule = part.tests_of(tests)
    built = [rule for rule in part.rules if rule.built]
    tested = [rule for rule in built if of_rule[rule.name]]
    functions = {test for found in of_rule.values() for test in found}
    words = {test: results.get(test.key) for test in functions}
    said = ", ".join(f"{list(words.values()).count(word)} {word}" for word in reversed(RANK))
    lines = [
        part.about.heading,
        "",
        f"Tests without a folder are in `{part.about.suite}`.",
        "",
        *["| Level | Rules | Built | With a test |", "|---|---|---|---|"],
    ]
    for level in sorted({rule.level for rule in part.rules}):
        counts = [sum(rule.level == level for rule in some) for some in (part.rules, built, tested)]
        lines.append(f"| {level} | {' | '.join(map(str, counts))} |")
    lines += ["", f"Result of {len(functions)} test functions: {said}.", ""]
    for chapter in part.chapters:
        lines += [f"### {chapter['title']}", "", "| Rule | Level | Subject | Tests | Result |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            _part_row(part, rule, of_rule[rule.name], results) for rule in part.in_chapter(chapter)
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _part_row(part: Part, rule: PartRule, tests: list[Test], results: Mapping[str, str]) -> str:
    known = [results[test.key] for test in tests if test.key in results]
    shown, result = _names(tests, part.about.suite, part.about.coded), summarize(known)
    if not rule.built:
        shown, result = f"*not built: {rule.reason}*", "-"
    elif not tests:
        shown, result = "*no test yet*", "-"
    title = f"{rule.title} (*in part: {rule.partly}*)" if rule.partly else rule.title
    return f"| {rule.name} | {rule.level} | {title} | {shown} | {result} |"


def part_problems(part: Part, tests: list[Test], page: str, fresh: str) -> list[str]:
    """What `--check` complains about in a part."""
    known = {rule.name for rule in part.rules}
    found = [
        f"{test.path}: {test.name} names {name}, which is no rule"
        for test in tests
        for name in part.about.rules_of(test)
        if name not in known
    ]
    found += [f"{rule.name} is not built and says no reason" for rule in part.rules
              if not rule.built and not rule.reason]  # fmt: skip
    placed = {rule.name for chapter in part.chapters for rule in part.in_chapter(chapter)}
    found += [f"{rule.name} is in no chapter" for rule in part.rules if rule.name not in placed]
    if not part.complete:
        return found
    found += [
        f"{rule.name} ({rule.level}, {rule.title}) has no test"
        for rule in part.untested(tests)
        if rule.needs_test
    ]
    if _mapping(page) != _mapping(fresh):
        where = PAGE.relative_to(ROOT)
        found.append(f"the {part.about.name} part of {where} is stale: run it with --run")
    return found


def report(part: Part, tests: list[Test]) -> list[str]:
    """How far a part is: its built rules without a test, by name while it is not complete."""
    functions = sum(bool(part.about.rules_of(test)) for test in tests)
    built = sum(rule.built for rule in part.rules)
    missing = part.untested(tests)
    lines = [
        f"{part.about.name}: {functions} tests, {len(missing)} of {built} built rules without one, "
        f"{len(part.rules) - built} not built"
    ]
    if not part.complete:
        for word, some in (
            ("to be tested", [rule.name for rule in missing if rule.needs_test]),
            ("need none", [rule.name for rule in missing if not rule.needs_test]),
        ):
            lines += [f"  {word}: {' '.join(some)}"] if some else []
    return lines


def parts_of(page: str, series: Iterable[Series] = SERIES) -> dict[str, str]:
    """The page's parts by name, that of the core as "core"; one it does not have is empty."""
    found = {"core": page}
    last = "core"
    for one in series:
        before, heading, after = found[last].partition(one.heading + "\n")
        found[last], found[one.name] = before.rstrip() + "\n", heading + after
        last = one.name if heading else last
    return found


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
    return [line.rpartition(" | ")[0] if _ROW.match(line) else _plain(line) for line in lines]


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
    parts = [load_part(series) for series in SERIES]
    everything = collect()
    tests = [test for test in everything if test.rules]
    if options.check:
        pages = parts_of(PAGE.read_text() if PAGE.exists() else "")
        fresh = render(rules, chapters, catalogue, tests, {})
        found = problems(rules, catalogue, tests, pages["core"], fresh)
        for part in parts:
            fresh = render_part(part, everything, {})
            found += part_problems(part, everything, pages[part.about.name], fresh)
        print("\n".join(found) or f"{len(tests)} tests for {len(rules)} rules; the page is current")
        for part in parts:
            print("\n".join(report(part, everything)))
        return 1 if found else 0
    results = run(everything) if options.run else results_of(options.junit)
    written = [render(rules, chapters, catalogue, tests, results)]
    written += [render_part(part, everything, results) for part in parts]
    PAGE.write_text("\n".join(written))
    failed = sorted(test.key for test in everything if results.get(test.key) == "failed")
    print(f"wrote {PAGE.relative_to(ROOT)}: {len(everything)} tests, {len(failed)} failed")
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
