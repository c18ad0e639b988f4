"""Participants (chapter 6; R35-R44)."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage

from salon.core import ParticipantNotFoundError
from salon.models import (
    ChannelType,
    HookTrigger,
    IdentificationStatus,
    Participant,
    ParticipantStatus,
)
from salon.models.identity import Identity

PEOPLE = (
    HookTrigger.ON_PARTICIPANT_JOINED,
    HookTrigger.ON_PARTICIPANT_UPDATED,
    HookTrigger.ON_PARTICIPANT_LEFT,
)


async def person(stage: Stage, name: str = "ann") -> Participant:
    found = await stage.kit.store.get_participant(ROOM, name)
    assert found is not None
    return found


async def room(stage: Stage) -> None:
    await stage.room(
        RecordingTransport("sms"), RecordingTransport("web"), RecordingTransport("mail")
    )


async def test_R35_a_second_channel_joins_the_same_record(stage: Stage) -> None:
    await room(stage)
    for channel in ("sms", "web", "sms"):
        await stage.inbound(channel)
    people = await stage.kit.store.list_participants(ROOM)
    assert [item.id for item in people] == ["ann"]
    assert people[0].connected_via == ["sms", "web"]


async def test_R35_first_messages_at_once_make_one_record(stage: Stage) -> None:
    await room(stage)
    await asyncio.gather(*(stage.inbound(name) for name in ("sms", "web", "mail")))
    (only,) = await stage.kit.store.list_participants(ROOM)
    assert sorted(only.connected_via) == ["mail", "sms", "web"]


async def test_R36_a_message_does_not_move_the_primary_channel(stage: Stage) -> None:
    await room(stage)
    await stage.inbound("sms")
    await stage.inbound("web")
    ann = await person(stage)
    assert (ann.channel_id, ann.connected_via) == ("sms", ["sms", "web"])


async def test_R36_get_or_create_leaves_a_record_as_it_is(stage: Stage) -> None:
    await room(stage)
    await stage.kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    await stage.kit.ensure_participant(ROOM, "web", "ann", "Somebody")
    ann = await person(stage)
    assert (ann.channel_id, ann.display_name) == ("sms", "Ann")
    assert ann.connected_via == ["sms", "web"]
    made = await stage.kit.ensure_participant(ROOM, "web", "bob", "Bob")
    assert (made.channel_id, made.display_name) == ("web", "Bob")


async def test_R37_a_deliberate_join_moves_the_primary_and_keeps_the_old_one(
    stage: Stage,
) -> None:
    await room(stage)
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.kit.remove_member(ROOM, "ann")
    await stage.kit.add_member(ROOM, "web", "ann")
    ann = await person(stage)
    assert (ann.channel_id, ann.connected_via) == ("web", ["web", "sms"])


async def test_R38_channels_are_noted_once_in_the_order_of_first_sight(stage: Stage) -> None:
    await room(stage)
    for channel in ("sms", "mail", "web", "mail", "sms"):
        await stage.inbound(channel)
    assert (await person(stage)).connected_via == ["sms", "mail", "web"]


async def test_R39_another_channel_is_taken_with_a_warning_that_names_both(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await room(stage)
    await stage.inbound("sms")
    with caplog.at_level(logging.WARNING, logger="salon"):
        result = await stage.inbound("web")
    assert not result.blocked
    said = [record.getMessage() for record in caplog.records]
    assert any("sms" in line and "web" in line for line in said)


async def test_R40_noting_a_channel_announces_nothing(stage: Stage) -> None:
    heard = [stage.hear(trigger) for trigger in PEOPLE]
    await room(stage)
    await stage.inbound("sms")
    before = await stage.codes()
    await stage.inbound("web")
    await stage.settle()
    assert await stage.codes() == before
    assert heard == [[], [], []]


async def test_R41_renaming_changes_the_name_only(stage: Stage) -> None:
    updated = stage.hear(HookTrigger.ON_PARTICIPANT_UPDATED)
    await room(stage)
    await stage.kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    before = await person(stage)
    await stage.kit.rename_member(ROOM, "ann", "Anna")
    await stage.settle()
    after = await person(stage)
    assert after == before.model_copy(update={"display_name": "Anna"})
    assert (await stage.codes())[-1] == "participant_updated"
    assert len(updated) == 1


async def test_R41_renaming_to_the_same_name_writes_and_announces_nothing(stage: Stage) -> None:
    updated = stage.hear(HookTrigger.ON_PARTICIPANT_UPDATED)
    await room(stage)
    await stage.kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    before = await stage.timeline()
    await stage.kit.rename_member(ROOM, "ann", "Ann")
    await stage.settle()
    assert await stage.timeline() == before
    assert updated == []


async def test_R42_joining_twice_only_notes_the_channel(stage: Stage) -> None:
    joined = stage.hear(HookTrigger.ON_PARTICIPANT_JOINED)
    await room(stage)
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.kit.add_member(ROOM, "web", "ann")
    await stage.settle()
    ann = await person(stage)
    assert (ann.channel_id, ann.connected_via) == ("sms", ["sms", "web"])
    assert (await stage.codes()).count("participant_joined") == len(joined) == 1


async def test_R42_coming_back_keeps_when_somebody_joined(stage: Stage) -> None:
    joined = stage.hear(HookTrigger.ON_PARTICIPANT_JOINED)
    await room(stage)
    await stage.kit.add_member(ROOM, "sms", "ann")
    first = (await person(stage)).joined_at
    await asyncio.sleep(60)
    await stage.kit.remove_member(ROOM, "ann")
    await asyncio.sleep(60)
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.settle()
    ann = await person(stage)
    assert (ann.status, ann.joined_at) == (ParticipantStatus.ACTIVE, first)
    assert (await stage.codes()).count("participant_joined") == len(joined) == 2


async def test_R42_with_an_identity_a_member_is_identified(stage: Stage) -> None:
    await room(stage)
    await stage.kit.store.create_identity(Identity(id="person-1", display_name="Ann"))
    await stage.kit.add_member(ROOM, "sms", "ann", identity_id="person-1")
    await stage.kit.add_member(ROOM, "sms", "bob")
    ann, bob = await person(stage), await person(stage, "bob")
    assert (ann.identification, ann.identity_id) == (IdentificationStatus.IDENTIFIED, "person-1")
    assert (bob.identification, bob.identity_id) == (IdentificationStatus.PENDING, None)


@pytest.mark.parametrize("status", [ParticipantStatus.LEFT, ParticipantStatus.BANNED])
async def test_R43_leaving_keeps_the_record(stage: Stage, status: ParticipantStatus) -> None:
    left = stage.hear(HookTrigger.ON_PARTICIPANT_LEFT)
    await room(stage)
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.kit.remove_member(ROOM, "ann", status=status)
    await stage.settle()
    assert (await person(stage)).status is status
    assert (await stage.codes())[-1] == "participant_left"
    assert len(left) == 1
    assert await stage.kit.list_members(ROOM) == []


async def test_R43_an_unknown_participant_cannot_leave(stage: Stage) -> None:
    await room(stage)
    with pytest.raises(ParticipantNotFoundError):
        await stage.kit.remove_member(ROOM, "nobody")
    with pytest.raises(ParticipantNotFoundError):
        await stage.kit.rename_member(ROOM, "nobody", "Nobody")


async def test_R44_resolving_settles_who_somebody_is(stage: Stage) -> None:
    identified = stage.hear(HookTrigger.ON_PARTICIPANT_IDENTIFIED)
    heard = stage.listen("identity_resolved")
    await room(stage)
    address = {ChannelType.SMS: ["+15550100"]}
    await stage.kit.store.create_identity(
        Identity(id="person-1", display_name="Ann A.", channel_addresses=address)
    )
    await stage.kit.store.add_participant(
        Participant(id="ann", room_id=ROOM, channel_id="sms", candidates=["person-1", "person-2"])
    )
    await stage.kit.resolve_participant(ROOM, "ann", "person-1")
    await stage.settle()
    ann = await person(stage)
    assert ann.identification is IdentificationStatus.IDENTIFIED
    assert (ann.identity_id, ann.candidates, ann.resolved_by) == ("person-1", None, "manual")
    assert (ann.display_name, ann.resolved_at is not None) == ("Ann A.", True)
    assert (await stage.codes())[-1] == "participant_identified"
    assert len(identified) == 1
    assert [event.data["identity_id"] for event in heard] == ["person-1"]
