"""The records of who is in a room, and of who they turned out to be (chapters 6 and 16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from salon.core.errors import (
    IdentityNotFoundError,
    ParticipantNotAdmittedError,
    ParticipantNotFoundError,
    RoomNotFoundError,
)
from salon.core.identity.decision import KeepPending
from salon.models import (
    EventType,
    HookTrigger,
    IdentificationStatus,
    Participant,
    ParticipantRole,
    ParticipantStatus,
    RoomStatus,
)
from salon.models.identity import Identity

from .helpers import ROOM
from .services import Services, data, timers

IDENTIFIED, PENDING = IdentificationStatus.IDENTIFIED, IdentificationStatus.PENDING
ANN = Identity(id="id-ann", organization_id="acme", display_name="Ann Lee")


@pytest.fixture
async def kit() -> AsyncIterator[Services]:
    services = Services(interval=None)
    await services.room(organization_id="acme")
    await services.store.create_identity(ANN)
    yield services
    await services.close()


async def ensure(kit: Services, channel_id: str = "sms", name: str | None = None) -> Participant:
    async with kit.locks.locked(ROOM):
        return await kit.people.ensure(ROOM, "ann", channel_id, name)


async def kinds(kit: Services) -> list[EventType]:
    return [event.type for event in await kit.entries()]


async def silent(kit: Services, begun: int = 1) -> bool:
    """Whether nothing was recorded, announced or hooked but the creation of the room."""
    return not await kit.entries() and len(kit.heard.events) == begun and not kit.heard.hooks


# -- in passing -----------------------------------------------------------------------------------


async def test_R36_a_first_message_makes_a_record_silently(kit: Services) -> None:
    kit.listen(*HookTrigger)
    kit.clock.advance(5)
    made = await ensure(kit, name="Ann")
    assert made == Participant(
        id="ann", room_id=ROOM, channel_id="sms", display_name="Ann", joined_at=kit.clock.now()
    )
    assert (made.identification, made.connected_via) == (PENDING, ["sms"])
    assert await kit.people.get(ROOM, "ann") == made
    assert await silent(kit)


async def test_R35_R36_R38_R40_other_channels_join_the_record_silently(kit: Services) -> None:
    kit.listen(*HookTrigger)
    for channel in ("sms", "web", "sms", "app", "web"):
        await ensure(kit, channel)
    (ann,) = await kit.people.members(ROOM)
    assert (ann.channel_id, ann.connected_via) == ("sms", ["sms", "web", "app"])
    assert await silent(kit)


async def test_R38_what_is_known_is_not_written_again(kit: Services) -> None:
    first = await ensure(kit, name="Ann")
    revision = (await kit.now()).revision
    assert await ensure(kit, name="Other") == first
    assert (await kit.now()).revision == revision


async def test_R39_another_channel_is_warned_about_once_naming_both(
    kit: Services, caplog: pytest.LogCaptureFixture
) -> None:
    await ensure(kit, "sms")
    await ensure(kit, "sms", "Ann")
    assert caplog.messages == []
    for _ in range(3):
        await ensure(kit, "web")
    assert caplog.messages == [
        "participant ann of room room is reached through web, not the primary channel sms"
    ]


async def test_R43_who_left_does_not_come_back_by_writing(kit: Services) -> None:
    await ensure(kit)
    await kit.people.remove(ROOM, "ann")
    assert (await ensure(kit, "web")).status is ParticipantStatus.LEFT
    assert await kit.people.members(ROOM) == []


async def test_who_is_banned_is_not_admitted_until_let_in_again(kit: Services) -> None:
    await ensure(kit)
    banned = await kit.people.remove(ROOM, "ann", status=ParticipantStatus.BANNED)
    with pytest.raises(ParticipantNotAdmittedError, match="'ann' is barred from room 'room'"):
        await ensure(kit, "web")
    assert await kit.people.get(ROOM, "ann") == banned
    await kit.people.add(ROOM, "web", "ann")
    assert (await ensure(kit)).status is ParticipantStatus.ACTIVE


# -- join, leave, rename --------------------------------------------------------------------------


async def test_R42_a_join_is_recorded_and_hooked(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_PARTICIPANT_JOINED)
    ann = await kit.people.add(ROOM, "sms", "ann", display_name="Ann", role=ParticipantRole.OWNER)
    assert (ann.role, ann.identification, ann.identity_id) == (ParticipantRole.OWNER, PENDING, None)
    assert ann == await kit.people.get(ROOM, "ann")
    (entry,) = await kit.entries()
    assert entry.type is EventType.PARTICIPANT_JOINED
    assert data(entry) == {"participant_id": "ann", "display_name": "Ann"}
    assert heard.hooks == [("on_participant_joined", "participant_joined", False)]


async def test_R42_with_an_identity_whoever_joins_is_identified(kit: Services) -> None:
    ann = await kit.people.add(ROOM, "sms", "ann", identity_id=ANN.id)
    assert (ann.identification, ann.identity_id) == (IDENTIFIED, ANN.id)
    assert data((await kit.entries())[0]) == {"participant_id": "ann", "identity_id": ANN.id}
    known_elsewhere = await kit.people.add(ROOM, "sms", "bob", identity_id="crm-7")
    assert known_elsewhere.identification is IDENTIFIED


async def test_R267_nobody_joins_as_a_person_of_another_organization(kit: Services) -> None:
    await kit.store.create_identity(Identity(id="spy", organization_id="other"))
    with pytest.raises(IdentityNotFoundError):
        await kit.people.add(ROOM, "sms", "eve", identity_id="spy")
    assert await kit.people.members(ROOM, include_left=True) == []


async def test_R38_R42_an_active_member_only_gains_the_channel(kit: Services) -> None:
    first = await kit.people.add(ROOM, "sms", "ann")
    again = await kit.people.add(
        ROOM, "web", "ann", identity_id=ANN.id, role=ParticipantRole.OBSERVER
    )
    assert again == first.model_copy(update={"connected_via": ["sms", "web"]})
    assert await kinds(kit) == [EventType.PARTICIPANT_JOINED]


async def test_R37_R42_who_comes_back_keeps_the_record(kit: Services) -> None:
    first = await kit.people.add(ROOM, "sms", "ann", display_name="Ann", identity_id=ANN.id)
    await kit.people.remove(ROOM, "ann")
    kit.clock.advance(60)
    back = await kit.people.add(ROOM, "web", "ann")
    assert back == first.model_copy(
        update={
            "channel_id": "web",
            "connected_via": ["web", "sms"],
            "identification": PENDING,
        }
    )
    assert (await kit.people.remove(ROOM, "ann")).status is ParticipantStatus.LEFT
    assert (await kit.people.add(ROOM, "web", "ann", identity_id=ANN.id)).identification is (
        IDENTIFIED
    )


async def test_R43_leaving_keeps_the_row(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_PARTICIPANT_LEFT)
    ann = await kit.people.add(ROOM, "sms", "ann")
    left = await kit.people.remove(ROOM, "ann")
    assert left == ann.model_copy(update={"status": ParticipantStatus.LEFT})
    assert await kit.people.remove(ROOM, "ann") == left
    banned = await kit.people.remove(ROOM, "ann", status=ParticipantStatus.BANNED)
    assert await kit.people.get(ROOM, "ann") == banned
    assert [data(entry)["status"] for entry in (await kit.entries())[1:]] == ["left", "banned"]
    assert heard.triggers == ["on_participant_left"] * 2


async def test_R43_who_is_removed_is_gone(kit: Services) -> None:
    await kit.people.add(ROOM, "sms", "ann")
    with pytest.raises(ValueError, match="left or banned, not inactive"):
        await kit.people.remove(ROOM, "ann", status=ParticipantStatus.INACTIVE)


async def test_R41_a_rename_changes_the_name_and_nothing_else(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_PARTICIPANT_UPDATED)
    before = await kit.people.add(ROOM, "sms", "ann", display_name="Ann")
    after = await kit.people.rename(ROOM, "ann", "Anna")
    assert after == before.model_copy(update={"display_name": "Anna"})
    assert await kit.people.rename(ROOM, "ann", "Anna") == after
    assert await kinds(kit) == [EventType.PARTICIPANT_JOINED, EventType.PARTICIPANT_UPDATED]
    assert heard.triggers == ["on_participant_updated"]


async def test_members_are_those_who_are_there(kit: Services) -> None:
    for name in ("ann", "bob", "eve"):
        await kit.people.add(ROOM, "sms", name)
    await kit.people.remove(ROOM, "bob")
    await kit.people.remove(ROOM, "eve", status=ParticipantStatus.BANNED)
    assert [person.id for person in await kit.people.members(ROOM)] == ["ann"]
    everybody = await kit.people.members(ROOM, include_left=True)
    assert [person.id for person in everybody] == ["ann", "bob", "eve"]


async def test_the_unknown_raise(kit: Services) -> None:
    with pytest.raises(ParticipantNotFoundError):
        await kit.people.get(ROOM, "eve")
    with pytest.raises(ParticipantNotFoundError):
        await kit.people.remove(ROOM, "eve")
    with pytest.raises(ParticipantNotFoundError):
        await kit.people.rename(ROOM, "eve", "Eve")
    with pytest.raises(ParticipantNotFoundError):
        await kit.people.resolve(ROOM, "eve", ANN.id)
    with pytest.raises(RoomNotFoundError):
        await kit.people.add("nowhere", "sms", "ann")
    with pytest.raises(RoomNotFoundError):
        await kit.people.resolve("nowhere", "ann", ANN.id)


async def test_nobody_is_in_a_room_that_is_not_there(kit: Services) -> None:
    assert await kit.people.members("nowhere") == []


async def test_R25_a_closed_room_still_lists_its_people(kit: Services) -> None:
    await kit.people.add(ROOM, "sms", "ann")
    await kit.rooms.close(ROOM)
    assert len(await kit.people.members(ROOM)) == 1


async def test_R32_what_is_due_in_a_room_comes_before_who_joins(kit: Services) -> None:
    await kit.room("timed", timers=timers(60, 90))
    kit.clock.advance(1000)
    await kit.people.add("timed", "sms", "ann")
    assert (await kit.now("timed")).status is RoomStatus.CLOSED
    assert await kit.codes("timed") == ["room_paused_by_timer", "room_closed_by_timer"]


async def test_hooks_under_the_lock_are_told_and_not_waited_for(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_PARTICIPANT_JOINED)
    async with kit.locks.locked(ROOM):
        await kit.people.add(ROOM, "sms", "ann")
        assert heard.hooks == []
    await asyncio.sleep(0.01)
    assert heard.hooks == [("on_participant_joined", "participant_joined", False)]


# -- identity -------------------------------------------------------------------------------------


async def test_R44_a_pending_participant_is_resolved(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_PARTICIPANT_IDENTIFIED)
    async with kit.locks.locked(ROOM):
        await kit.people.keep_pending(
            ROOM, "sms", "ann", KeepPending(("id-ann", "id-bob"), "somebody")
        )
    pending = await kit.people.get(ROOM, "ann")
    assert (pending.candidates, pending.display_name) == (["id-ann", "id-bob"], "somebody")
    kit.clock.advance(60)
    resolved = await kit.people.resolve(ROOM, "ann", ANN.id)
    assert resolved == pending.model_copy(
        update={
            "identification": IDENTIFIED,
            "identity_id": ANN.id,
            "candidates": None,
            "display_name": "Ann Lee",
            "resolved_at": kit.clock.now(),
            "resolved_by": "manual",
        }
    )
    assert await kit.people.get(ROOM, "ann") == resolved
    (entry,) = await kit.entries()
    assert entry.type is EventType.PARTICIPANT_IDENTIFIED
    assert data(entry) == {
        "participant_id": "ann",
        "identity_id": ANN.id,
        "resolved_by": "manual",
        "display_name": "Ann Lee",
    }
    assert heard.hooks == [("on_participant_identified", "participant_identified", False)]
    assert heard.events[-1].type == "identity_resolved"
    assert heard.events[-1].data == {
        "participant_id": "ann",
        "identity_id": ANN.id,
        "resolved_by": "manual",
    }


async def test_R44_resolving_again_changes_nothing(kit: Services) -> None:
    await kit.people.add(ROOM, "sms", "ann")
    first = await kit.people.resolve(ROOM, "ann", ANN.id, resolved_by="desk")
    await kit.people.rename(ROOM, "ann", "Annie")
    before = (await kinds(kit), len(kit.heard.events))
    kit.clock.advance(60)
    again = await kit.people.resolve(ROOM, "ann", ANN.id)
    assert again == first.model_copy(update={"display_name": "Annie"})
    assert (await kinds(kit), len(kit.heard.events)) == before


async def test_R44_somebody_else_may_be_settled_on(kit: Services) -> None:
    await kit.store.create_identity(Identity(id="id-bob"))
    await kit.people.add(ROOM, "sms", "ann", identity_id=ANN.id)
    other = await kit.people.resolve(ROOM, "ann", "id-bob")
    assert (other.identity_id, other.identification) == ("id-bob", IDENTIFIED)


async def test_R267_unknown_and_foreign_identities_are_alike(kit: Services) -> None:
    await kit.store.create_identity(Identity(id="spy", organization_id="other"))
    ann = await kit.people.add(ROOM, "sms", "ann")
    for identity_id in ("nobody", "spy"):
        with pytest.raises(IdentityNotFoundError, match=f"no identity '{identity_id}'"):
            await kit.people.resolve(ROOM, "ann", identity_id)
    assert await kit.people.get(ROOM, "ann") == ann


async def identify(kit: Services, channel_id: str = "sms") -> Participant:
    async with kit.locks.locked(ROOM):
        return await kit.people.identify(ROOM, channel_id, ANN, by="auto")


async def test_R173_a_sender_who_is_known_gets_a_record_named_after_the_identity(
    kit: Services,
) -> None:
    kit.listen(*HookTrigger)
    ann = await identify(kit)
    assert (ann.id, ann.identity_id, ann.identification) == (ANN.id, ANN.id, IDENTIFIED)
    assert (ann.display_name, ann.resolved_by) == ("Ann Lee", "auto")
    assert (ann.resolved_at, ann.joined_at) == (kit.clock.now(), kit.clock.now())
    assert await kit.people.get(ROOM, ANN.id) == ann
    assert await kit.entries() == []
    assert kit.heard.names == ["room_created", "identity_resolved"]


async def test_R35_R173_the_same_person_on_another_channel_is_one_record(
    kit: Services, caplog: pytest.LogCaptureFixture
) -> None:
    first = await identify(kit)
    kit.clock.advance(60)
    revision = (await kit.now()).revision
    assert await identify(kit) == first
    assert (await kit.now()).revision == revision
    second = await identify(kit, "web")
    assert second == first.model_copy(update={"connected_via": ["sms", "web"]})
    assert len(await kit.people.members(ROOM)) == 1
    assert kit.heard.names.count("identity_resolved") == 1
    assert len(caplog.messages) == 1


async def test_R179_a_record_keeps_the_first_address_that_is_not_its_id(kit: Services) -> None:
    async def at(address: str | None, channel_id: str = "sms") -> str | None:
        async with kit.locks.locked(ROOM):
            known = await kit.people.identify(ROOM, channel_id, ANN, by="auto", address=address)
        assert await kit.people.get(ROOM, ANN.id) == known
        return known.external_id

    assert [await at(address) for address in (None, "", ANN.id, "+1", None)] == [
        *(None, None, None),
        *("+1", "+1"),
    ]
    revision = (await kit.now()).revision
    assert await at("+1") == "+1"
    assert (await kit.now()).revision == revision
    assert await at("+2") == "+2"  # a new number: no other channel can have told the old one
    assert [await at("a@b", "web"), await at("+3")] == ["+2", "+2"]


async def test_R179_every_way_into_a_record_keeps_the_address(kit: Services) -> None:
    async with kit.locks.locked(ROOM):
        ann = await kit.people.ensure(ROOM, "ann", "sms", address="+1")
        ben = await kit.people.keep_pending(ROOM, "sms", "ben", KeepPending(), address="+2")
        later = await kit.people.ensure(ROOM, "ben", "sms", address="+3")
        await kit.people.ensure(ROOM, "cid", "sms")
        cid = await kit.people.ensure(ROOM, "cid", "web", address="x" * 600)
    assert (ann.external_id, ben.external_id, later.external_id) == ("+1", "+2", "+3")
    assert (cid.external_id, cid.connected_via) == (None, ["sms", "web"])


async def test_R172_a_pending_record_is_settled_later(kit: Services) -> None:
    async with kit.locks.locked(ROOM):
        pending = await kit.people.keep_pending(ROOM, "sms", ANN.id, KeepPending(("a", "b")))
        again = await kit.people.keep_pending(ROOM, "sms", ANN.id, KeepPending(("a", "b")))
    assert again == pending
    assert (await kit.now()).revision == 1
    assert pending.candidates == ["a", "b"]
    settled = await identify(kit)
    assert (settled.identification, settled.candidates) == (IDENTIFIED, None)
    async with kit.locks.locked(ROOM):
        kept = await kit.people.keep_pending(ROOM, "web", ANN.id, KeepPending(("a", "b")))
    assert kept == settled.model_copy(update={"connected_via": ["sms", "web"]})


async def test_a_banned_person_is_not_admitted_by_any_way_in(kit: Services) -> None:
    await identify(kit)
    await kit.people.remove(ROOM, ANN.id, status=ParticipantStatus.BANNED)
    with pytest.raises(ParticipantNotAdmittedError):
        await identify(kit)
    with pytest.raises(ParticipantNotAdmittedError):
        await kit.people.keep_pending(ROOM, "sms", ANN.id, KeepPending())
