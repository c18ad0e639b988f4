"""The protocol as JSON Schema, and the public names of the package."""

from __future__ import annotations

import json
from typing import Any

import pytest

import salon.gateway
from salon.gateway import COMMAND_TYPES, EVENT_TYPES, call_protocol_schema

SCHEMA = call_protocol_schema()


def model(kind: str, name: str) -> dict[str, Any]:
    reference = SCHEMA[kind][name]["$ref"].removeprefix("#/$defs/")
    found: dict[str, Any] = SCHEMA["$defs"][reference]
    return found


def test_it_is_one_json_document_with_every_name() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["commands"].keys() == COMMAND_TYPES.keys()
    assert SCHEMA["events"].keys() == EVENT_TYPES.keys()
    assert len(SCHEMA["anyOf"]) == len(COMMAND_TYPES) + len(EVENT_TYPES)


@pytest.mark.parametrize("name", sorted(COMMAND_TYPES))
def test_commands_name_themselves(name: str) -> None:
    schema = model("commands", name)
    assert schema["properties"]["command"]["const"] == name
    assert "command" in schema["required"]
    assert schema.get("additionalProperties") is not False  # G2


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_G3_events_name_themselves_and_know_no_null(name: str) -> None:
    schema = model("events", name)
    assert schema["properties"]["event"]["const"] == name
    assert "event" in schema["required"]
    for field in schema["properties"].values():
        assert {"type": "null"} not in field.get("anyOf", ())
        assert field.get("default", 0) is not None


def test_G1_keys_are_camel_case() -> None:
    assert {"playId", "endOfStream", "waitInputTimeout"} <= model("commands", "tts")[
        "properties"
    ].keys()
    assert "from" in model("events", "hangup")["properties"]


@pytest.mark.parametrize("name", salon.gateway.__all__)
def test_public_names_are_there(name: str) -> None:
    assert hasattr(salon.gateway, name)


def test_public_names_are_sorted_and_unique() -> None:
    names = salon.gateway.__all__
    assert len(names) == len(set(names))
