"""``docs/reference/hooks.md`` says of every trigger what is true."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import salon
from salon.models import HookTrigger

ROOT = Path(__file__).parents[3]
SOURCE = Path(salon.__file__).parent
SILENT = {"app", "auditing", "models"}
"""Packages that name triggers, to declare them or to register hooks, and fire none."""
_ROW = re.compile(r"^\| `([A-Z_]+)` \| (\w+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.M)


@dataclass(frozen=True)
class Row:
    mode: str
    payload: str
    fired_by: str
    when: str
    broken: str


def rows() -> dict[str, Row]:
    page = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    return {name: Row(*rest) for name, *rest in _ROW.findall(page)}


ROWS = rows()


def mentions(path: Path, name: str) -> bool:
    return bool(re.search(rf"(?:HookTrigger|IdentityHook)\.{name}\b", path.read_text("utf-8")))


def test_the_table_names_every_trigger_in_order() -> None:
    assert list(ROWS) == [trigger.name for trigger in HookTrigger]


@pytest.mark.parametrize("trigger", HookTrigger, ids=lambda trigger: trigger.name)
def test_R159_R160_mode_and_failure_are_those_of_the_code(trigger: HookTrigger) -> None:
    row = ROWS[trigger.name]
    broken = "is logged" if trigger.is_async else "blocks" if trigger.fails_closed else "allows"
    assert row.mode == ("ASYNC" if trigger.is_async else "SYNC")
    assert row.broken == broken


@pytest.mark.parametrize("trigger", HookTrigger, ids=lambda trigger: trigger.name)
def test_what_is_said_to_fire_is_fired_there(trigger: HookTrigger) -> None:
    row = ROWS[trigger.name]
    if row.fired_by == "not yet":
        found = [
            path.relative_to(SOURCE)
            for path in SOURCE.rglob("*.py")
            if mentions(path, trigger.name)
        ]
        fires = [path for path in found if path.parts[0] not in SILENT]
        assert not fires, "it fires: say so in docs/reference/hooks.md"
        return
    assert row.payload != "—"
    assert row.when != "—"
    module = row.fired_by.strip("`").removeprefix("salon.").replace(".", "/")
    path = SOURCE / f"{module}.py"
    if not path.exists():
        path = SOURCE / module / "__init__.py"
    assert mentions(path, trigger.name)
