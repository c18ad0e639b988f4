"""What the pages take from the code when the site is built, so that it cannot go stale.

A marker on a line of its own, like ``<!-- call commands -->``, is replaced by what the function
of that name in `MARKERS` makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from salon.cli.commands import salon
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


def cli_commands() -> str:
    """Every command of ``salon`` with what ``--help`` says of it."""
    root = click.Context(salon, info_name="salon")
    return "\n".join(_command_help(salon, root))


def _command_help(command: click.Command, context: click.Context) -> Iterator[str]:
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        inner = command.get_command(context, name) if isinstance(command, click.Group) else None
        if inner is None:
            continue
        below = click.Context(
            inner, info_name=name, parent=context, max_content_width=78, terminal_width=78
        )
        yield f"## `{below.command_path}`\n\n```text\n{inner.get_help(below)}\n```\n"
        yield from _command_help(inner, below)


MARKERS: Mapping[str, Callable[[], str]] = {
    "cli commands": cli_commands,
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
            markdown = pattern.sub(make().replace("\\", r"\\"), markdown)
    return markdown


def on_post_build(config: Mapping[str, Any], **_: object) -> None:
    """Called by MkDocs at the end: the schema of the call protocol stands beside its page."""
    file = Path(config["site_dir"]) / "reference" / "call.schema.json"
    file.write_text(json.dumps(call_protocol_schema(), indent=2) + "\n", encoding="utf-8")
