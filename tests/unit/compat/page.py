"""The lists in ``docs/how-to/from-roomkit.md``: what of RoomKit's names is not there.

After a name was added: ``python -m tests.unit.compat.page`` from the root of the repository.
"""

from __future__ import annotations

import json
import textwrap
from functools import cache
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "how-to" / "from-roomkit.md"
BEGIN, END = "<!-- names: begin -->\n", "<!-- names: end -->\n"


@cache
def roomkit_names() -> dict[str, list[str]]:
    """RoomKit's public names by module, as they were written down."""
    data = json.loads((HERE / "roomkit_names.json").read_text(encoding="utf-8"))
    return {module: names.split() for module, names in data["names"].items()}


def our(module: str) -> str:
    """The module of Salon that answers to one of RoomKit."""
    return "salon" + module.removeprefix("roomkit")


def missing(module: str) -> list[str] | None:
    """The names of a module of RoomKit that ours does not have; None if there is no such module."""
    try:
        found = import_module(our(module))
    except ModuleNotFoundError as error:
        if error.name is None or not our(module).startswith(error.name):
            raise
        return None
    return [name for name in roomkit_names()[module] if not hasattr(found, name)]


def lists() -> str:
    """Markdown: names by module, then the modules that are missing wholly."""
    parts, absent = [], []
    for module in roomkit_names():
        names = missing(module)
        if names is None:
            absent.append(our(module))
        elif names:
            parts.append(f"### `{our(module)}`\n\n{_code(names)}\n")
    parts.append(f"### Modules\n\n{_code(absent)}\n")
    return "\n".join(parts)


def _code(names: list[str]) -> str:
    return textwrap.fill(
        ", ".join(f"`{name}`" for name in names),
        100,
        break_long_words=False,
        break_on_hyphens=False,
    )


def rendered() -> str:
    """The page with the lists as they are now."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{lists()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
