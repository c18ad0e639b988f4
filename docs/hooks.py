"""What the pages take from the code when the site is built, so that it cannot go stale.

A marker on a line of its own, like ``<!-- call commands -->``, is replaced by what the function
of that name in `MARKERS` makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from salon.gateway.commands import COMMAND_TYPES
from salon.gateway.events import EVENT_TYPES
from salon.gateway.schema import call_protocol_schema

Schema = Mapping[str, Any]
_HEAD = ("| field | type | default | |", "|---|---|---|---|")


def call_commands() -> str:
    """Every command with its fields, in the order of the protocol."""
    document = call_protocol_schema()
    parts = (
        _section(name, document["commands"][name], document, "command") for name in COMMAND_TYPES
    )
    return "\n".join(parts)


def call_events() -> str:
    """Every event with its fields."""
    document = call_protocol_schema()
    parts = (_section(name, document["events"][name], document, "event") for name in EVENT_TYPES)
    return "\n".join(parts)


def call_options() -> str:
    """The objects that commands and events contain."""
    document = call_protocol_schema()
    named = {
        reference["$ref"].rpartition("/")[2]
        for kind in ("commands", "events")
        for reference in document[kind].values()
    }
    own = sorted(set(document["$defs"]) - named)
    return "\n".join(
        _section(name, {"$ref": f"#/$defs/{name}"}, document, "", heading=name) for name in own
    )


MARKERS: Mapping[str, Callable[[], str]] = {
    "call commands": call_commands,
    "call events": call_events,
    "call options": call_options,
}


def _section(
    name: str, reference: Schema, document: Schema, discriminator: str, *, heading: str = ""
) -> str:
    model = document["$defs"][reference["$ref"].rpartition("/")[2]]
    said = " ".join(model.get("description", "").split())
    lines = [f"### {heading or f'`{name}`'}", "", said.replace("|", "\\|"), ""]
    rows = list(_rows(model, discriminator))
    if rows:
        lines += [*_HEAD, *rows, ""]
    return "\n".join(lines)


def _rows(model: Schema, discriminator: str) -> Iterator[str]:
    required = set(model.get("required", ()))
    for field, schema in model.get("properties", {}).items():
        if field == discriminator:
            continue
        default = schema.get("default")
        shown = "" if default is None else f"`{_literal(default)}`"
        need = "required" if field in required else ""
        yield f"| `{field}` | {_type(schema)} | {shown} | {need} |"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"] if item.get("type") != "null")
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object":
            inner = schema.get("additionalProperties")
            return f"map to {_type(inner)}" if isinstance(inner, Mapping) else "object"
        case "integer":
            return "integer, from 0" if schema.get("minimum") == 0 else "integer"
        case None:
            return "any JSON"
        case kind:
            return str(kind)


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs for every page."""
    for marker, make in MARKERS.items():
        pattern = re.compile(rf"^<!-- {marker} -->$", re.MULTILINE)
        if pattern.search(markdown):
            text = make()
            markdown = pattern.sub(lambda _match, text=text: text, markdown)
    return markdown
