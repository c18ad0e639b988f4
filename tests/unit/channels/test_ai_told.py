"""Messages are made once, as long as nothing that they say has changed."""

from __future__ import annotations

import pytest

from salon.channels import ai_told
from salon.channels.ai_told import Told
from salon.models import (
    ChannelType,
    EventSource,
    Participant,
    Room,
    RoomContext,
    RoomEvent,
    TextContent,
)


def event(event_id: str, body: str) -> RoomEvent:
    source = EventSource(channel_id="sms", channel_type=ChannelType.SMS, participant_id="p")
    return RoomEvent(id=event_id, room_id="r", source=source, content=TextContent(body=body))


def context(room_id: str = "r", *people: Participant) -> RoomContext:
    return RoomContext(Room(id=room_id), (), people)


def test_a_message_is_made_once() -> None:
    told, room = Told("ai"), context()
    events = [event("1", "one"), event("2", ""), event("3", "three")]
    first = told.messages(events, room)
    again = told.messages(events, room)
    assert [message.text for message in first] == ["one", "three"]
    assert all(new is old for new, old in zip(again, first, strict=True))


def test_an_edited_event_is_told_as_it_is_now() -> None:
    told, room = Told("ai"), context()
    one = event("1", "one")
    told.messages([one], room)
    edited = one.model_copy(update={"content": TextContent(body="uno")})
    assert [message.text for message in told.messages([edited], room)] == ["uno"]


def test_a_new_name_is_heeded() -> None:
    told, one = Told("ai"), event("1", "one")
    person = Participant(id="p", room_id="r", channel_id="sms", display_name="Ann")
    assert told.messages([one], context("r", person))[0].name == "Ann"
    renamed = person.model_copy(update={"display_name": "Bea"})
    assert told.messages([one], context("r", renamed))[0].name == "Bea"


def test_no_more_is_kept_than_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ai_told, "MAX_ROOMS", 2)
    told, one = Told("ai"), event("1", "one")
    for room_id in "abc":
        told.messages([one], context(room_id))
    assert len(told) == 2
    told.forget("c")
    told.forget("unknown")
    assert len(told) == 1
    told.clear()
    assert len(told) == 0


def test_a_window_that_moves_leaves_nothing_behind() -> None:
    told, room = Told("ai"), context()
    one, two = event("1", "one"), event("2", "two")
    first = told.messages([one], room)
    told.messages([two], room)
    assert told.messages([one], room)[0] is not first[0]
