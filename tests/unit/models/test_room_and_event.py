"""Rooms, participants, bindings and events: their defaults and what they hold to (chapter 4)."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from pydantic import ValidationError

from salon.models import (
    Access,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelDirection,
    ChannelMediaType,
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    InboundMessage,
    LocationContent,
    Participant,
    Room,
    RoomContext,
    RoomEvent,
    RoomStatus,
    TextContent,
)
from salon.models.enums import AgentResponsePolicy, IdentificationStatus, ParticipantRole
from salon.models.room import RoomTimers

SMS = EventSource(channel_id="sms", channel_type=ChannelType.SMS)


def event(**more: Any) -> RoomEvent:
    return RoomEvent(**{"room_id": "r", "source": SMS, "content": TextContent(body="hi")} | more)


def test_a_new_room_is_active_empty_and_has_no_latest_index() -> None:
    room = Room()
    assert (room.status, room.event_count, room.delivered_index) == (RoomStatus.ACTIVE, 0, -1)
    assert room.latest_index is None  # AMB-10
    assert room.agent_response_policy is AgentResponsePolicy.AGENT_CHAIN
    assert room.id != Room().id
    assert room.created_at.tzinfo is UTC


@pytest.mark.parametrize("field", ["inactive_after_seconds", "closed_after_seconds"])
def test_timer_thresholds_are_not_negative(field: str) -> None:
    assert getattr(RoomTimers(**{field: 0}), field) == 0
    with pytest.raises(ValidationError):
        RoomTimers(**{field: -1})


def test_room_counters_are_checked_also_when_assigned() -> None:
    room = Room()
    with pytest.raises(ValidationError):
        room.event_count = -1
    with pytest.raises(ValidationError):
        room.delivered_index = -2


def test_R38_a_participant_is_connected_through_its_primary_channel() -> None:
    ann = Participant(id="ann", room_id="r", channel_id="sms")
    assert ann.connected_via == ["sms"]
    assert (ann.role, ann.identification) == (ParticipantRole.MEMBER, IdentificationStatus.PENDING)
    kept = Participant(id="ann", room_id="r", channel_id="sms", connected_via=["sms", "voice"])
    assert kept.connected_via == ["sms", "voice"]
    assert Participant.model_validate(kept) is kept
    with pytest.raises(ValidationError):
        Participant.model_validate({"id": "ann", "room_id": "r"})


def test_an_events_defaults() -> None:
    made = event()
    assert (made.type, made.status, made.visibility) == (
        EventType.MESSAGE,
        EventStatus.PENDING,
        "all",
    )
    assert (made.chain_depth, made.addressed_to, made.blocked_by) == (0, None, None)
    assert made.source.direction is ChannelDirection.INBOUND


def test_R7_an_event_is_frozen() -> None:
    made = event()
    with pytest.raises(ValidationError):
        made.status = EventStatus.DELIVERED  # type: ignore[misc]
    with pytest.raises(ValidationError):
        made.source.channel_id = "mail"  # type: ignore[misc]


@pytest.mark.parametrize("field", ["index", "chain_depth"])
def test_numbers_of_an_event_are_not_negative(field: str) -> None:
    with pytest.raises(ValidationError):
        event(**{field: -1})


def test_the_text_of_an_event_is_that_of_its_text_content_only() -> None:
    assert event().text == "hi"
    assert event(content=LocationContent(latitude=1, longitude=2)).text is None


def test_R8_R17_payload_and_unknown_provider_data_survive_json() -> None:
    payload = {"deep": [{"x": None}], "n": 1.5}
    made = event(
        source=SMS.model_copy(update={"raw_payload": payload}),
        channel_data={"provider": "p", "extra": {"unknown": [1]}},
    )
    again = RoomEvent.model_validate_json(made.model_dump_json())
    assert again == made
    assert (again.source.raw_payload, again.channel_data.extra) == (payload, {"unknown": [1]})


def test_R12_channel_types_outside_the_table_stay_strings() -> None:
    custom = EventSource(channel_id="x", channel_type="custom:slack")
    assert custom.channel_type == "custom:slack"
    assert EventSource(channel_id="x", channel_type="sms").channel_type is ChannelType.SMS
    again = EventSource.model_validate_json(custom.model_dump_json())
    assert again == custom


def test_a_bindings_defaults_and_its_capability_snapshot() -> None:
    binding = ChannelBinding(channel_id="sms", room_id="r", channel_type=ChannelType.SMS)
    assert (binding.access, binding.muted, binding.output_muted) == (
        Access.READ_WRITE,
        False,
        False,
    )
    assert (binding.visibility, binding.category) == ("all", ChannelCategory.TRANSPORT)
    assert binding.capabilities.media_types == [ChannelMediaType.TEXT]
    assert binding.capabilities.media_types is not ChannelCapabilities().media_types
    with pytest.raises(ValidationError):
        ChannelCapabilities(max_length=0)


def test_an_inbound_message_is_a_visible_message_without_a_key() -> None:
    made = InboundMessage(channel_id="sms", sender_id="ann", content=TextContent(body="hi"))
    assert (made.event_type, made.visibility, made.idempotency_key) == (
        EventType.MESSAGE,
        "all",
        None,
    )


def test_a_context_finds_bindings_and_participants_by_id() -> None:
    binding = ChannelBinding(channel_id="sms", room_id="r", channel_type=ChannelType.SMS)
    ann = Participant(id="ann", room_id="r", channel_id="sms")
    context = RoomContext(Room(id="r"), (binding,), (ann,))
    assert context.binding("sms") is binding
    assert context.binding("mail") is None
    assert context.participant("ann") is ann
    assert context.participant("bob") is None
    assert context.participant(None) is None
