"""Copies that are what pydantic's would be."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from salon.core.copying import altered
from salon.models import ChannelType, EventSource, Room, RoomEvent, TextContent


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str = ""


class Private(BaseModel):
    name: str = ""
    _secret: str = PrivateAttr(default="s")


def event() -> RoomEvent:
    source = EventSource(channel_id="x", channel_type=ChannelType.SMS)
    return RoomEvent(id="e", room_id="r", source=source, content=TextContent(body="hi"))


def test_a_copy_is_as_pydantic_makes_it() -> None:
    one = event()
    copy, theirs = altered(one, {"index": 7}), one.model_copy(update={"index": 7})
    assert copy == theirs
    assert type(copy) is RoomEvent
    assert copy.model_fields_set == theirs.model_fields_set
    assert copy.model_dump() == theirs.model_dump()
    assert (one.index, "index" in one.model_fields_set) == (0, False)
    with pytest.raises(ValidationError):
        copy.index = 8  # type: ignore[misc]


def test_a_copy_of_a_record_is_its_reader_s_own() -> None:
    room = Room(id="r")
    copy = altered(room, {})
    copy.event_count = 3
    assert room.event_count == 0
    with pytest.raises(ValidationError):
        copy.event_count = -1


def test_models_with_more_than_fields_are_copied_wholly() -> None:
    opened = Open.model_validate({"name": "a", "more": 1})
    assert altered(opened, {"name": "b"}).model_dump() == {"name": "b", "more": 1}
    private = Private()
    private._secret = "t"
    copy = altered(private, {"name": "b"})
    assert (copy.name, copy._secret) == ("b", "t")
