"""Every setting stands in the guide as the code has it."""

from __future__ import annotations

import pytest
from tests.unit.docs.pages import read

from salon.app.settings import VARIABLES, Settings
from salon.app.variables import Variable

PAGE = "docs/how-to/configure.md"


def row_of(variable: Variable) -> str:
    """The table row of a setting."""
    default = getattr(Settings(), variable.field)
    if isinstance(default, bool):
        shown = str(default).lower()
    elif isinstance(default, float):
        shown = f"{default:g}"
    else:
        shown = "" if default in (None, frozenset(), ()) else str(default)
    names = ", ".join(f"`{name}`" for name in variable.names)
    return f"| {names} | {f'`{shown}`' if shown else ''} | {variable.doc} |"


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda item: item.name)
def test_every_setting_has_its_row(variable: Variable) -> None:
    assert row_of(variable) in read(PAGE).splitlines()


def test_the_guide_names_no_setting_that_is_gone() -> None:
    known = {name for variable in VARIABLES for name in variable.names}
    rows = [line for line in read(PAGE).splitlines() if line.startswith("| `")]
    named = {name.strip("` ") for row in rows for name in row.split("|")[1].split(",")}
    assert named == known
