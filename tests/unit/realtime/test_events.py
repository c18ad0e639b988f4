"""Ephemeral events, and how they leave the process."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest

from salon.realtime import EphemeralEvent, EphemeralEventType, room_topic
from salon.testing.contracts.realtime import make_ephemeral


def test_R221_an_event_survives_json() -> None:
    event = make_ephemeral()
    assert EphemeralEvent.from_dict(json.loads(json.dumps(event.to_dict()))) == event


def test_R221_what_is_on_the_wire() -> None:
    assert make_ephemeral().to_dict() == {
        "id": "1",
        "room_id": "room",
        "type": "typing_start",
        "user_id": "ann",
        "channel_id": "page",
        "data": {"name": "Ann", "nested": {"list": [1, None, "å"]}},
        "timestamp": "2025-03-01T12:00:00.250000+00:00",
    }


def test_R221_defaults() -> None:
    one, two = (
        EphemeralEvent(room_id="r", type=EphemeralEventType.CUSTOM, user_id="u") for _ in range(2)
    )
    assert one.id != two.id
    assert (one.channel_id, one.data, one.timestamp.tzinfo) == (None, {}, UTC)


@pytest.mark.parametrize("missing", ["channel_id", "data"])
def test_R221_optional_fields_may_be_absent(missing: str) -> None:
    told = make_ephemeral().to_dict()
    del told[missing]
    read = EphemeralEvent.from_dict(told)
    assert getattr(read, missing) in (None, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", None),
        ("id", ""),
        ("room_id", 7),
        ("user_id", ["ann"]),
        ("timestamp", "yesterday"),
        ("timestamp", "2025-03-01T12:00:00"),
        ("type", "shouting"),
        ("type", None),
        ("channel_id", 7),
        ("data", "text"),
    ],
)
def test_R266_what_is_no_ephemeral_event_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one error for all
        EphemeralEvent.from_dict(make_ephemeral().to_dict() | {name: value})


def test_R221_every_type() -> None:
    assert {item.value for item in EphemeralEventType} == {
        "typing_start", "typing_stop", "presence_online", "presence_away", "presence_offline",
        "read_receipt", "reaction", "tool_call_start", "tool_call_delta", "tool_call_end",
        "thinking_start", "thinking_delta", "thinking_end", "custom",
    }  # fmt: skip


def test_the_topic_of_a_room() -> None:
    assert room_topic("7") == "room:7"
