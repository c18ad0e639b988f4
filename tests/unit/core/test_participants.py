"""Who is in a room (chapter 6)."""

from __future__ import annotations

import pytest

from salon.core.errors import ParticipantNotFoundError, RoomNotFoundError
from salon.core.kit import RoomKit
from salon.models import EventType, HookTrigger, Participant, RoomContext, RoomEvent, SystemContent
from salon.models.enums import ParticipantRole, ParticipantStatus

from .helpers import ROOM, Transport, message, room_with, timeline

CHANGES = {
    EventType.PARTICIPANT_JOINED,
    EventType.PARTICIPANT_LEFT,
    EventType.PARTICIPANT_UPDATED,
}


async def changes(kit: RoomKit) -> list[EventType]:
    return [event.type for event in await timeline(kit) if event.type in CHANGES]


async def person(kit: RoomKit, participant_id: str = "ann") -> Participant:
    found = await kit.store.get_participant(ROOM, participant_id)
    assert found is not None
    return found


@pytest.fixture
async def room(kit: RoomKit) -> RoomKit:
    await room_with(kit, Transport("sms"), Transport("web"))
    return kit


async def test_R36_the_first_message_makes_the_record(room: RoomKit) -> None:
    await room.process_inbound(message("sms"), room_id=ROOM)
    ann = await person(room)
    assert (ann.channel_id, ann.connected_via, ann.display_name) == ("sms", ["sms"], None)
    assert await changes(room) == []


async def test_R35_R36_R38_R40_a_second_channel_joins_the_record_silently(room: RoomKit) -> None:
    joined = (await room.add_member(ROOM, "sms", "ann", display_name="Ann")).joined_at
    for channel in ("web", "web", "sms"):
        await room.process_inbound(message(channel), room_id=ROOM)
    ann = await person(room)
    assert (ann.channel_id, ann.connected_via) == ("sms", ["sms", "web"])
    assert (ann.display_name, ann.joined_at) == ("Ann", joined)
    assert len(await room.store.list_participants(ROOM)) == 1
    assert await changes(room) == [EventType.PARTICIPANT_JOINED]


async def test_R42_joining_twice_changes_nothing(room: RoomKit) -> None:
    first = await room.add_member(ROOM, "sms", "ann", role=ParticipantRole.OWNER)
    again = await room.add_member(ROOM, "sms", "ann", role=ParticipantRole.OBSERVER)
    assert again == first
    assert await changes(room) == [EventType.PARTICIPANT_JOINED]


async def test_R38_R42_a_member_that_joins_elsewhere_gains_the_channel(room: RoomKit) -> None:
    await room.add_member(ROOM, "sms", "ann")
    ann = await room.add_member(ROOM, "web", "ann", display_name="Ann")
    assert (ann.connected_via, ann.display_name) == (["sms", "web"], "Ann")
    assert await person(room) == ann
    assert (await room.add_member(ROOM, "web", "ann", display_name="Other")).display_name == "Ann"
    assert await changes(room) == [EventType.PARTICIPANT_JOINED]


async def test_R37_R42_who_comes_back_is_the_same_person_on_another_channel(room: RoomKit) -> None:
    first = await room.add_member(ROOM, "sms", "ann", display_name="Ann")
    left = await room.remove_member(ROOM, "ann")
    assert left.status is ParticipantStatus.LEFT
    back = await room.add_member(ROOM, "web", "ann")
    assert (back.status, back.joined_at) == (ParticipantStatus.ACTIVE, first.joined_at)
    assert (back.channel_id, back.connected_via) == ("web", ["web", "sms"])
    assert back.display_name == "Ann"
    assert (await room.remove_member(ROOM, "ann")).status is ParticipantStatus.LEFT
    renamed = await room.add_member(ROOM, "web", "ann", display_name="Anna")
    assert (renamed.display_name, renamed.connected_via) == ("Anna", ["web", "sms"])
    assert await changes(room) == [
        EventType.PARTICIPANT_JOINED,
        EventType.PARTICIPANT_LEFT,
        EventType.PARTICIPANT_JOINED,
        EventType.PARTICIPANT_LEFT,
        EventType.PARTICIPANT_JOINED,
    ]


async def test_R43_who_left_stays_on_record(room: RoomKit) -> None:
    await room.add_member(ROOM, "sms", "ann")
    await room.remove_member(ROOM, "ann")
    assert (await person(room)).status is ParticipantStatus.LEFT


async def test_R41_a_rename_changes_the_name_and_nothing_else(room: RoomKit) -> None:
    before = await room.add_member(ROOM, "sms", "ann", display_name="Ann")
    after = await room.rename_member(ROOM, "ann", "Anna")
    assert after == before.model_copy(update={"display_name": "Anna"})
    assert await person(room) == after
    assert await room.rename_member(ROOM, "ann", "Anna") == after
    assert await changes(room) == [EventType.PARTICIPANT_JOINED, EventType.PARTICIPANT_UPDATED]


async def test_R34_the_entries_say_who(room: RoomKit) -> None:
    await room.add_member(ROOM, "sms", "ann", display_name="Ann")
    await room.add_member(ROOM, "sms", "bob")
    ann, bob = [event for event in await timeline(room) if event.type in CHANGES]
    assert isinstance(ann.content, SystemContent)
    assert isinstance(bob.content, SystemContent)
    assert ann.content.data == {"participant_id": "ann", "display_name": "Ann"}
    assert bob.content.data == {"participant_id": "bob"}
    assert (ann.content.code, ann.visibility) == ("participant_joined", "internal")


async def test_the_hooks_of_membership_fire_after_the_lock_with_the_entry(room: RoomKit) -> None:
    seen: list[tuple[EventType, bool]] = []

    async def note(event: RoomEvent, context: RoomContext) -> None:
        seen.append((event.type, room.locks.held(ROOM)))

    for trigger in (
        HookTrigger.ON_PARTICIPANT_JOINED,
        HookTrigger.ON_PARTICIPANT_UPDATED,
        HookTrigger.ON_PARTICIPANT_LEFT,
    ):
        room.add_hook(trigger, note)
    await room.add_member(ROOM, "sms", "ann")
    await room.rename_member(ROOM, "ann", "Ann")
    await room.remove_member(ROOM, "ann")
    assert seen == [
        (EventType.PARTICIPANT_JOINED, False),
        (EventType.PARTICIPANT_UPDATED, False),
        (EventType.PARTICIPANT_LEFT, False),
    ]


async def test_the_unknown_raise(room: RoomKit) -> None:
    with pytest.raises(ParticipantNotFoundError, match="no participant 'eve'"):
        await room.remove_member(ROOM, "eve")
    with pytest.raises(ParticipantNotFoundError):
        await room.rename_member(ROOM, "eve", "Eve")
    with pytest.raises(RoomNotFoundError):
        await room.add_member("nowhere", "sms", "ann")
    assert await changes(room) == []


async def test_R21_a_closed_room_records_no_membership(room: RoomKit) -> None:
    await room.add_member(ROOM, "sms", "ann")
    await room.close_room(ROOM)
    before = len(await timeline(room))
    await room.rename_member(ROOM, "ann", "Ann")
    await room.remove_member(ROOM, "ann")
    await room.add_member(ROOM, "sms", "bob")
    assert len(await timeline(room)) == before


async def test_R121_a_refused_room_creates_no_participant(room: RoomKit) -> None:
    await room.close_room(ROOM)
    result = await room.process_inbound(message("sms"), room_id=ROOM)
    assert result.reason == "room_closed"
    assert await room.store.list_participants(ROOM) == []
