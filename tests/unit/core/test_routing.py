"""The room of a message that names none (chapter 17)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.core.ports.router import InboundRouter
from salon.models import (
    ChannelType,
    InboundMessage,
    RoomContext,
    RoomEvent,
    RoomStatus,
    TextContent,
)

from .helpers import ROOM, Transport, listen, message, messages, room_with, text


async def arrived(kit: RoomKit, channel: str = "sms", sender: str = "ann") -> str:
    """The room in which a message came to lie."""
    result = await kit.process_inbound(message(channel, sender=sender))
    assert result.event is not None
    return result.event.room_id


async def test_R179_the_senders_latest_room_on_this_kind_of_channel(kit: RoomKit) -> None:
    for room_id in ("old", "new"):
        await room_with(kit, Transport("sms"), room_id=room_id)
        await kit.add_member(room_id, "ann", "sms")
    await kit.create_room("newest")
    assert await arrived(kit) == "new"
    await kit.close_room("new")
    assert await arrived(kit) == "old"


async def test_R179_a_room_one_left_is_not_ones_own(kit: RoomKit) -> None:
    for room_id in ("old", "new"):
        await room_with(kit, Transport("sms"), room_id=room_id)
        await kit.add_member(room_id, "ann", "sms")
    await kit.remove_member("new", "ann")
    assert await arrived(kit) == "old"


async def test_R179_another_kind_of_channel_does_not_count(kit: RoomKit) -> None:
    mail = Transport("mail", channel_type=ChannelType.EMAIL)
    await room_with(kit, mail, room_id="letters")
    await kit.add_member("letters", "ann", "mail")
    await room_with(kit, Transport("sms"), room_id="texts")
    assert await arrived(kit, "sms") == "texts"
    assert await arrived(kit, "mail") == "letters"


async def test_R179_else_the_one_room_the_channel_is_bound_to(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    assert await arrived(kit, sender="stranger") == ROOM


async def test_R180_of_two_rooms_none_is_guessed_and_one_is_made(kit: RoomKit) -> None:
    sms = Transport("sms")
    for room_id in ("one", "two"):
        await room_with(kit, sms, room_id=room_id)
    made = listen(kit, "room_created")
    found = await arrived(kit, sender="stranger")
    assert found not in ("one", "two")
    assert [event.room_id for event in made] == [found]
    assert await kit.store.get_binding(found, "sms") is not None
    assert await arrived(kit, sender="stranger") == found


async def test_R181_the_same_state_gives_the_same_room(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    assert {await arrived(kit) for _ in range(3)} == {ROOM}


@pytest.mark.parametrize("status", [RoomStatus.CLOSED, RoomStatus.ARCHIVED])
async def test_R179_a_room_that_is_over_is_not_found(kit: RoomKit, status: RoomStatus) -> None:
    await room_with(kit, Transport("sms"))
    room = await kit.get_room(ROOM)
    assert room is not None
    room.status = status
    await kit.store.update_room(room)
    assert await arrived(kit) != ROOM


async def test_R182_who_names_a_room_bypasses_the_router_not_the_gates(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    named = await kit.process_inbound(message("sms"), room_id="named")
    assert named.event is not None
    assert named.event.room_id == "named"
    await kit.close_room("named")
    refused = await kit.process_inbound(message("sms"), room_id="named")
    assert (refused.blocked, refused.reason, refused.event) == (True, "room_closed", None)
    assert await messages(kit, ROOM) == []


class Fixed(InboundRouter):
    def __init__(self, room_id: str | None) -> None:
        self.room_id = room_id
        self.asked: list[tuple[Any, ...]] = []

    async def route(
        self, channel_id: str, channel_type: str, sender_id: str, metadata: Mapping[str, Any]
    ) -> str | None:
        self.asked.append((channel_id, channel_type, sender_id, dict(metadata)))
        return self.room_id


@pytest.mark.parametrize("named", ["lobby", None])
async def test_R178_the_router_may_be_replaced(named: str | None) -> None:
    router = Fixed(named)
    async with RoomKit(inbound_router=router, shutdown_timeout=0) as kit:
        kit.register_channel(Transport("sms"))
        result = await kit.process_inbound(message("sms", metadata={"to": "1"}))
        assert router.asked == [("sms", "sms", "ann", {"to": "1"})]
        assert result.event is not None
        assert named in (None, result.event.room_id)
        assert await kit.get_room(result.event.room_id) is not None


async def test_a_message_without_a_person_makes_no_participant(kit: RoomKit) -> None:
    class Sensor(Transport):
        async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
            event = self.inbound_event(message, context)
            source = event.source.model_copy(update={"participant_id": None})
            return event.model_copy(update={"source": source, "visibility": "transport"})

    await room_with(kit, Sensor("sensor"))
    result = await kit.process_inbound(
        InboundMessage(
            channel_id="sensor", sender_id="x", content=TextContent(body="21 °C"), visibility="none"
        ),
        room_id=ROOM,
    )
    assert result.event is not None
    assert result.event.visibility == "transport"  # R18: the channel's own choice stays
    assert await kit.store.list_participants(ROOM) == []
    assert result.event.content == text("21 °C")
