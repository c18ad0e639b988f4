"""scripts/conformance.py: names of tests, parts of the page, what is complained about."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "conformance_script", ROOT / "scripts/conformance.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def part(script: ModuleType, rules: dict[str, dict[str, Any]], *, complete: bool = False) -> Any:
    """A gateway part of these rules."""
    made = [script.PartRule(name, **{"title": "t", **fields}) for name, fields in rules.items()]
    chapters = [
        {"title": "Rules", "first": 1, "last": 99},
        {"title": "List", "series": "T", "first": 1, "last": 60},
    ]
    return script.Part(script.GATEWAY, made, chapters, complete)


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("test_G5_values", ["G5"]),
        ("test_T1_G72a_several_T9", ["T1", "G72a"]),
        ("test_R94_V2_G10_of_all_parts", ["G10"]),
        ("test_G7", ["G7"]),
        ("test_a_gap_in_G5", []),
        ("test_G711_is_a_codec", []),
        ("test_G722_too", []),
        ("test_Tuesday", []),
    ],
)
def test_rules_are_read_from_the_start_of_a_name(
    script: ModuleType, name: str, rules: list[str]
) -> None:
    assert script.GATEWAY.rules_of(script.Test("tests/unit/test_x.py", name)) == rules


def test_tests_that_run_elsewhere_do_not_count(script: ModuleType) -> None:
    assert not script.GATEWAY.rules_of(script.Test("tests/interop/test_x.py", "test_G5"))


def test_each_part_reads_its_own_rules(script: ModuleType) -> None:
    test = script.Test("tests/unit/test_x.py", "test_R1_V2_G3_all")
    assert (test.rules, script.VOICE.rules_of(test)) == (["R1"], ["V2"])


def test_rules_are_in_the_order_of_their_numbers(script: ModuleType) -> None:
    names = [rule.name for rule in script.load_part(script.GATEWAY).rules]
    assert names.index("G72") + 1 == names.index("G72a") == names.index("G73") - 1
    assert names.index("G321") + 1 == names.index("T1")
    assert names[-1] == "T60"


@pytest.mark.parametrize("series", ["VOICE", "GATEWAY"])
def test_the_rules_are_whole(script: ModuleType, series: str) -> None:
    loaded = script.load_part(getattr(script, series))
    found = script.part_problems(loaded, script.collect(), "", "")
    assert not [line for line in found if "stale" not in line and "has no test" not in line]
    assert {rule.level for rule in loaded.rules if series == "GATEWAY"} <= {
        "MUST",
        "SHOULD",
        "MAY",
        "FACT",
    }
    if series == "GATEWAY":
        assert all(len(rule.title.split()) <= 12 for rule in loaded.rules)


def test_what_is_wrong_with_a_part(script: ModuleType) -> None:
    made = part(
        script,
        {
            "G1": {"level": "MUST", "built": False},
            "G100": {"level": "MUST", "built": False, "reason": "r"},
        },
    )
    tests = [script.Test("tests/unit/test_x.py", "test_G9_of_none")]
    assert script.part_problems(made, tests, "", "") == [
        "tests/unit/test_x.py: test_G9_of_none names G9, which is no rule",
        "G1 is not built and says no reason",
        "G100 is in no chapter",
    ]


def test_only_a_complete_part_has_to_be_tested(script: ModuleType) -> None:
    rules: dict[str, dict[str, Any]] = {"G1": {"level": "MUST"}, "T1": {"level": "FACT"}}
    open_part = part(script, rules)
    assert not script.part_problems(open_part, [], "old", "new")
    assert script.report(open_part, []) == [
        "gateway: 0 tests, 2 of 2 built rules without one, 0 not built",
        "  to be tested: G1",
        "  need none: T1",
    ]
    untested, stale = script.part_problems(part(script, rules, complete=True), [], "old", "new")
    assert untested == "G1 (MUST, t) has no test"
    assert "the gateway part of docs/conformance.md is stale" in stale


def test_a_part_of_the_page(script: ModuleType) -> None:
    made = part(
        script,
        {
            "G1": {"level": "MUST", "partly": "the rest later"},
            "G2": {"level": "MAY", "built": False, "reason": "not yet"},
            "G3": {"level": "FACT"},
            "T1": {"level": "MUST"},
        },
    )
    suite = script.Test("tests/conformance/gateway/test_x.py", "test_T1_G1_both")
    unit = script.Test("tests/unit/gateway/test_x.py", "test_G1_alone")
    page = script.render_part(made, [unit, suite], {suite.key: "passed", unit.key: "failed"})
    assert "| MUST | 2 | 2 | 2 |" in page
    assert (
        "| G1 | MUST | t (*in part: the rest later*) | `test_x.py`: `both`<br>"
        "`tests/unit/gateway/test_x.py`: `alone` | failed |"
    ) in page
    assert "| G2 | MAY | t | *not built: not yet* | - |" in page
    assert "| G3 | FACT | t | *no test yet* | - |" in page
    assert page.index("### List") < page.index("| T1 | MUST | t | `test_x.py`: `both` | passed |")


def test_the_page_is_taken_apart_as_it_was_written(script: ModuleType) -> None:
    core, voice, gateway = "# Core\n", "## Voice rules\n\nv\n", "## Gateway rules\n\ng\n"
    none = {series.name: "" for series in script.SERIES}
    some = {"core": core, "voice": voice, "gateway": gateway}
    whole = {**none, **some}
    assert script.parts_of("\n".join(some.values())) == whole
    assert script.parts_of(f"{core}\n{gateway}") == {**whole, "voice": ""}
    assert script.parts_of(core) == {"core": core, **none}


def test_the_same_letter_means_another_rule_in_another_part(script: ModuleType) -> None:
    of_avatar = script.Test("tests/conformance/avatarkit/test_x.py", "test_T5_A42_ids")
    assert script.GATEWAY.rules_of(of_avatar) == []
    assert script.AVATARKIT.rules_of(of_avatar) == ["T5", "A42"]
    of_gateway = script.Test("tests/conformance/gateway/test_x.py", "test_T5_G42_times")
    assert script.AVATARKIT.rules_of(of_gateway) == []
    of_odyssey = script.Test("tests/unit/clients/odyssey/test_x.py", "test_O74a_D3_late")
    assert script.ODYSSEY.rules_of(of_odyssey) == ["O74a", "D3"]


def test_results_do_not_make_a_page_stale(script: ModuleType) -> None:
    made = part(script, {"G1": {"level": "MUST"}, "T1": {"level": "MUST"}})
    test = script.Test("tests/unit/test_x.py", "test_G1_T1_both")
    before, after = (
        script.render_part(made, [test], found) for found in ({}, {test.key: "passed"})
    )
    assert before != after
    assert script._mapping(before) == script._mapping(after)
