"""The lists in ``docs/how-to/from-roomkit.md``: what of RoomKit's names is not there.

After a name was added: ``python -m tests.unit.compat.page`` from the root of the repository. A
method or a parameter of the kit that is not there needs a reason in `reasons`.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from salon import RoomKit

from .reasons import METHODS, PARAMETERS

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "how-to" / "from-roomkit.md"
NAMES_MARKS = ("<!-- names: begin -->\n", "<!-- names: end -->\n")
METHODS_MARKS = ("<!-- methods: begin -->\n", "<!-- methods: end -->\n")

N = TypeVar("N")


@cache
def roomkit_names() -> dict[str, list[str]]:
    """RoomKit's public names by module, as they were written down."""
    data = json.loads((HERE / "roomkit_names.json").read_text(encoding="utf-8"))
    return {module: names.split() for module, names in data["names"].items()}


@cache
def roomkit_methods() -> dict[str, str | None]:
    """What RoomKit's kit can do, as it was written down: the parameters of each method in order,
    those after ``*`` by name only; None for a property."""
    data = json.loads((HERE / "roomkit_names.json").read_text(encoding="utf-8"))
    found: dict[str, str | None] = data["kit"]
    return found


def absent_methods() -> list[str]:
    """Methods and properties that our kit lacks."""
    kit = RoomKit()
    return [name for name in roomkit_methods() if not hasattr(kit, name)]


def absent_parameters() -> list[tuple[str, str]]:
    """``(method, parameter)`` of what our methods of the same name do not take."""
    found = []
    for name, parameters in roomkit_methods().items():
        if parameters is None or not hasattr(RoomKit, name):
            continue
        taken = inspect.signature(getattr(RoomKit, name)).parameters
        found += [(name, item) for item in parameters.split() if item not in ("*", *taken)]
    return found


def methods() -> str:
    """Markdown: why a method or a parameter of the kit is not there, then what is there."""
    absent = absent_methods()
    shown = [name for name in roomkit_methods() if name not in ("__init__", *absent)]
    rows = ["| not there | why |", "|---|---|"]
    for why, names in _grouped({name: METHODS[name] for name in absent}).items():
        rows.append(f"| {', '.join(f'`{name}`' for name in names)} | {why} |")
    rows += ["", "| parameter not taken | why |", "|---|---|"]
    for why, pairs in _grouped({pair: PARAMETERS[pair] for pair in absent_parameters()}).items():
        named = ", ".join(f"`{method.replace('__init__', 'RoomKit')}({p})`" for method, p in pairs)
        rows.append(f"| {named} | {why} |")
    return "\n".join(
        [*rows, "", "There, with the same parameters but for those above:", "", _code(shown), ""]
    )


def _grouped(reasons: Mapping[N, str]) -> dict[str, list[N]]:
    """The names by reason, both in the order given."""
    found: dict[str, list[N]] = {}
    for name, why in reasons.items():
        found.setdefault(why, []).append(name)
    return found


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
    page = PAGE.read_text(encoding="utf-8")
    for marks, text in ((METHODS_MARKS, methods()), (NAMES_MARKS, lists())):
        begin, end = marks
        head, _, rest = page.partition(begin)
        page = f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
