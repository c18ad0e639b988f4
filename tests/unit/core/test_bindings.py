"""How channels take part in rooms (chapter 7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.core.effects import DETACHED_KEY
from salon.core.errors import (
    ChannelNotFoundError,
    ChannelNotRegisteredError,
    RoomNotFoundError,
)
from salon.core.lanes import LaneClosedError
from salon.models import (
    Access,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelDirection,
    EventType,
    HookTrigger,
    RateLimit,
    RetryPolicy,
    RoomContext,
    RoomEvent,
)

from .helpers import PATIENCE, ROOM, Agent, Transport
from .services import Services, data


class Told(Transport):
    """A channel that notes what it is told of its bindings. `hold` keeps it busy with that."""

    def __init__(self, channel_id: str, **options: Any) -> None:
        super().__init__(channel_id, **options)
        self.attached: list[ChannelBinding] = []
        self.changed: list[ChannelBinding] = []
        self.detached: list[str] = []
        self.told_failure: Exception | None = None
        self.attach_hold: asyncio.Event | None = None

    async def on_room_attached(self, room_id: str, binding: ChannelBinding) -> None:
        if self.attach_hold is not None:
            await self.attach_hold.wait()
        await super().on_room_attached(room_id, binding)
        self.attached.append(binding)

    async def update_binding(self, room_id: str, binding: ChannelBinding) -> None:
        if self.hold is not None:
            await self.hold.wait()
        if self.told_failure is not None:
            raise self.told_failure
        self.changed.append(binding)

    async def on_room_detached(self, room_id: str) -> None:
        await super().on_room_detached(room_id)
        self.detached.append(room_id)


@pytest.fixture
async def kit() -> AsyncIterator[Services]:
    services = Services(interval=None)
    await services.room()
    yield services
    await services.close()


@pytest.fixture
async def sms(kit: Services) -> Told:
    """A channel attached to the room."""
    channel = Told("sms")
    await kit.register(channel)
    await kit.bindings.attach(ROOM, "sms")
    return channel


async def bound(kit: Services, channel_id: str = "sms", room_id: str = ROOM) -> ChannelBinding:
    return await kit.bindings.get(room_id, channel_id)


# -- attach ---------------------------------------------------------------------------------------


async def test_AMB20_a_binding_takes_after_its_channel(kit: Services) -> None:
    carries = ChannelCapabilities(max_length=1600)
    fax = Transport("fax", capabilities=carries, direction=ChannelDirection.OUTBOUND)
    await kit.register(fax, Agent("bot"))
    kit.clock.advance(5)
    first = await kit.bindings.attach(ROOM, "fax")
    assert first == ChannelBinding(
        channel_id="fax",
        room_id=ROOM,
        channel_type="sms",
        direction=ChannelDirection.OUTBOUND,
        capabilities=carries,
        attached_at=kit.clock.now(),
    )
    assert (await kit.bindings.attach(ROOM, "bot")).category is ChannelCategory.INTELLIGENCE
    assert await kit.store.get_binding(ROOM, "fax") == first


async def test_AMB20_every_field_may_be_given(kit: Services) -> None:
    await kit.register(Transport("sms"))
    fields: dict[str, Any] = {
        "category": ChannelCategory.INTELLIGENCE,
        "direction": ChannelDirection.INBOUND,
        "access": Access.READ_ONLY,
        "muted": True,
        "output_muted": True,
        "visibility": "transport",
        "participant_id": "ann",
        "group": True,
        "capabilities": ChannelCapabilities(max_length=7),
        "rate_limit": RateLimit(max_per_second=1),
        "retry_policy": RetryPolicy(max_retries=1),
        "metadata": {"phone_number": "+1"},
    }
    made = await kit.bindings.attach(ROOM, "sms", **fields)
    assert {name: getattr(made, name) for name in fields} == fields
    assert await bound(kit) == made


async def test_R52_the_capabilities_are_a_snapshot(kit: Services, sms: Told) -> None:
    sms._capabilities = ChannelCapabilities(max_length=5)
    assert (await bound(kit)).capabilities.max_length is None


async def test_R34_attach_is_recorded_and_announced(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_CHANNEL_ATTACHED)
    await kit.register(Transport("sms"))
    await kit.bindings.attach(ROOM, "sms", access=Access.READ_ONLY, visibility="none")
    (entry,) = await kit.entries()
    assert data(entry) == {
        "channel_id": "sms",
        "channel_type": "sms",
        "access": "read_only",
        "visibility": "none",
    }
    assert heard.hooks == [("on_channel_attached", "channel_attached", False)]
    assert heard.events[-1].type == "room_channel_attached"
    assert heard.events[-1].data == {"access": "read_only", "visibility": "none"}


async def test_R46_there_must_be_a_channel_and_a_room(kit: Services) -> None:
    with pytest.raises(ChannelNotRegisteredError):
        await kit.bindings.attach(ROOM, "sms")
    await kit.register(Transport("sms"))
    with pytest.raises(RoomNotFoundError):
        await kit.bindings.attach("nowhere", "sms")


@pytest.mark.parametrize("scope", ["", "a,,b", "all,a", " , "])
async def test_AMB14_a_visibility_must_be_well_formed(kit: Services, sms: Told, scope: str) -> None:
    before = await bound(kit)
    with pytest.raises(ValueError, match="visibility"):
        await kit.bindings.attach(ROOM, "sms", visibility=scope)
    with pytest.raises(ValueError, match="visibility"):
        await kit.bindings.set_visibility(ROOM, "sms", scope)
    with pytest.raises(ValueError, match="visibility"):
        await kit.bindings.share(ROOM, ROOM, "sms", visibility=scope)
    assert await bound(kit) == before


async def test_AMB14_a_list_is_kept_in_normal_form(kit: Services, sms: Told) -> None:
    assert (await kit.bindings.set_visibility(ROOM, "sms", " b , a,b")).visibility == "b,a"
    assert (await kit.bindings.attach(ROOM, "sms", visibility=" none ")).visibility == "none"


async def test_R46_R49_attaching_again_replaces_and_widens_nothing(
    kit: Services, sms: Told
) -> None:
    narrow: dict[str, Any] = {
        "access": Access.READ_ONLY,
        "visibility": "none",
        "muted": True,
        "output_muted": True,
    }
    await kit.bindings.attach(ROOM, "sms", metadata={"a": 1}, participant_id="ann", **narrow)
    again = await kit.bindings.attach(ROOM, "sms", metadata={"b": 2})
    assert {name: getattr(again, name) for name in narrow} == narrow
    assert (again.metadata, again.participant_id) == ({"b": 2}, None)
    assert len(await kit.store.list_bindings(ROOM)) == 1
    wide = await kit.bindings.attach(
        ROOM, "sms", access=Access.READ_WRITE, visibility="all", muted=False, output_muted=False
    )
    assert (wide.access, wide.visibility, wide.muted) == (Access.READ_WRITE, "all", False)


async def test_attaching_again_keeps_what_was_read(kit: Services, sms: Told) -> None:
    read = (await bound(kit)).model_copy(update={"last_read_index": 4})
    await kit.store.update_binding(read)
    assert (await kit.bindings.attach(ROOM, "sms")).last_read_index == 4


@pytest.mark.parametrize("before", [False, True])
async def test_R47_a_channel_that_objects_changes_nothing(kit: Services, before: bool) -> None:
    sms = Told("sms")
    await kit.register(sms)
    if before:
        await kit.bindings.attach(ROOM, "sms", visibility="none")
    was = (await kit.entries(), await kit.store.list_bindings(ROOM), kit.heard.names.copy())
    sms.attach_failure = OSError("no")
    heard = kit.listen(HookTrigger.ON_CHANNEL_ATTACHED)
    with pytest.raises(OSError, match="no"):
        await kit.bindings.attach(ROOM, "sms", visibility="all")
    assert (await kit.entries(), await kit.store.list_bindings(ROOM), heard.names) == was
    assert heard.hooks == []


async def test_R47_R50_a_channel_that_objects_stays_detached(kit: Services, sms: Told) -> None:
    await kit.bindings.detach(ROOM, "sms")
    sms.attach_failure = OSError("no")
    with pytest.raises(OSError, match="no"):
        await kit.bindings.attach(ROOM, "sms")
    assert (await kit.now()).metadata == {DETACHED_KEY: ["sms"]}


async def test_R47_an_attach_given_up_changes_nothing(kit: Services) -> None:
    sms = Told("sms")
    sms.attach_hold = asyncio.Event()
    await kit.register(sms)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await kit.bindings.attach(ROOM, "sms")
    assert await kit.store.list_bindings(ROOM) == []
    assert await kit.entries() == []


async def test_hooks_under_the_lock_are_told_and_not_waited_for(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_CHANNEL_ATTACHED)
    await kit.register(Transport("sms"))
    async with kit.locks.locked(ROOM):
        await kit.bindings.attach(ROOM, "sms")
        assert heard.hooks == []
    await asyncio.sleep(0.01)
    assert heard.hooks == [("on_channel_attached", "channel_attached", False)]


async def test_R21_a_closed_room_records_no_binding(kit: Services, sms: Told) -> None:
    await kit.rooms.close(ROOM)
    before = await kit.entries()
    await kit.bindings.mute(ROOM, "sms")
    await kit.bindings.detach(ROOM, "sms")
    assert await kit.entries() == before
    assert len(kit.timeline.refused) == 2


# -- admit and detach -----------------------------------------------------------------------------


async def admit(kit: Services, channel_id: str = "sms") -> bool:
    async with kit.locks.locked(ROOM):
        return await kit.bindings.admit(ROOM, channel_id)


async def test_R50_a_channel_never_bound_is_admitted(kit: Services) -> None:
    await kit.register(Transport("sms"))
    assert await admit(kit)
    assert (await bound(kit)).access is Access.READ_WRITE


async def test_R49_R50_a_binding_is_not_replaced_by_a_message(kit: Services, sms: Told) -> None:
    narrow = await kit.bindings.set_access(ROOM, "sms", Access.READ_ONLY)
    assert await admit(kit)
    assert await bound(kit) == narrow


async def test_R50_a_detached_channel_is_not_admitted_anywhere(kit: Services, sms: Told) -> None:
    assert await kit.bindings.detach(ROOM, "sms")
    assert not await admit(kit)

    restarted = Services(store=kit.store, clock=kit.clock, interval=None)
    await restarted.register(Transport("sms"))
    assert not await admit(restarted)
    assert (await kit.now()).metadata == {DETACHED_KEY: ["sms"]}
    assert await kit.store.list_bindings(ROOM) == []

    await restarted.bindings.attach(ROOM, "sms")
    assert await admit(kit)
    assert (await kit.now()).metadata == {DETACHED_KEY: []}


async def test_R21_R50_a_closed_room_admits_nobody(kit: Services) -> None:
    await kit.register(Transport("sms"))
    await kit.rooms.close(ROOM)
    assert not await admit(kit)
    with pytest.raises(RoomNotFoundError):
        await kit.bindings.admit("nowhere", "sms")


async def test_R48_detach_in_order(kit: Services, sms: Told) -> None:
    """Revoke, unbind, record, tell the channel, announce."""
    steps: list[object] = []

    class Watching(Told):
        async def on_room_detached(self, room_id: str) -> None:
            room = await kit.now()
            steps.append(room.metadata[DETACHED_KEY])
            steps.append(await kit.store.binding_exists(ROOM, "fax"))
            steps.append((await kit.codes())[-1])

    async def hook(event: RoomEvent, context: RoomContext) -> None:
        steps.append("hook")

    await kit.register(Watching("fax"))
    await kit.bindings.attach(ROOM, "fax")
    kit.hooks.add(HookTrigger.ON_CHANNEL_DETACHED, hook)
    kit.framework.on("room_channel_detached", lambda event: steps.append(event.channel_id))
    assert await kit.bindings.detach(ROOM, "fax")
    assert steps == [["fax"], False, "channel_detached", "fax", "hook"]


async def test_R48_what_the_channel_raises_comes_last(kit: Services, sms: Told) -> None:
    heard = kit.listen(HookTrigger.ON_CHANNEL_DETACHED)
    sms.detach_failure = OSError("no")
    with pytest.raises(OSError, match="no"):
        await kit.bindings.detach(ROOM, "sms")
    assert heard.names[-1] == "room_channel_detached"
    assert heard.triggers == ["on_channel_detached"]
    assert await kit.store.list_bindings(ROOM) == []


async def test_R48_what_is_not_attached_is_not_detached(kit: Services, sms: Told) -> None:
    await kit.bindings.detach(ROOM, "sms")
    before = (await kit.entries(), kit.heard.names.copy(), await kit.now())
    assert not await kit.bindings.detach(ROOM, "sms")
    assert (await kit.entries(), kit.heard.names, await kit.now()) == before
    assert sms.detached == [ROOM]
    with pytest.raises(RoomNotFoundError):
        await kit.bindings.detach("nowhere", "sms")


async def test_R45_the_binding_of_a_forgotten_channel_can_be_ended(
    kit: Services, sms: Told
) -> None:
    kit.channels.remove("sms")
    await kit.bindings.mute(ROOM, "sms")
    assert await kit.bindings.detach(ROOM, "sms")
    assert sms.changed == []


async def test_nobody_is_told_about_a_room_that_is_gone(kit: Services) -> None:
    class Last(Transport):
        async def on_room_detached(self, room_id: str) -> None:
            if await kit.store.room_exists(room_id):
                await kit.rooms.delete(room_id)

    heard = kit.listen(HookTrigger.ON_CHANNEL_DETACHED)
    await kit.register(Last("sms"))
    await kit.bindings.attach(ROOM, "sms")
    assert await kit.bindings.detach(ROOM, "sms")
    assert heard.hooks == []


# -- change ---------------------------------------------------------------------------------------


async def test_R34_changes_are_recorded_with_what_changed(kit: Services, sms: Told) -> None:
    await kit.bindings.mute(ROOM, "sms")
    await kit.bindings.unmute(ROOM, "sms")
    await kit.bindings.set_access(ROOM, "sms", Access.READ_ONLY)
    await kit.bindings.set_visibility(ROOM, "sms", "none")
    await kit.bindings.update_metadata(ROOM, "sms", {"b": 1, "a": 2})
    assert [(code, data(entry)) for code, entry in await coded(kit)] == [
        ("channel_muted", {"channel_id": "sms"}),
        ("channel_unmuted", {"channel_id": "sms"}),
        (
            "channel_access_changed",
            {"channel_id": "sms", "old_access": "read_write", "access": "read_only"},
        ),
        (
            "channel_visibility_changed",
            {"channel_id": "sms", "old_visibility": "all", "visibility": "none"},
        ),
        ("channel_metadata_updated", {"channel_id": "sms", "keys": ["a", "b"]}),
    ]
    assert {entry.type for _, entry in (await coded(kit))[2:]} == {EventType.CHANNEL_UPDATED}
    assert sms.changed[-1] == await bound(kit)
    assert len(sms.changed) == 5


async def coded(kit: Services) -> list[tuple[str | None, RoomEvent]]:
    return list(zip(await kit.codes(), await kit.entries(), strict=True))[1:]


async def test_R34_only_muting_has_hooks(kit: Services, sms: Told) -> None:
    heard = kit.listen(HookTrigger.ON_CHANNEL_MUTED, HookTrigger.ON_CHANNEL_UNMUTED)
    framework = len(heard.events)
    await kit.bindings.mute(ROOM, "sms")
    await kit.bindings.unmute(ROOM, "sms")
    await kit.bindings.set_access(ROOM, "sms", Access.NONE)
    assert heard.hooks == [
        ("on_channel_muted", "channel_muted", False),
        ("on_channel_unmuted", "channel_unmuted", False),
    ]
    assert len(heard.events) == framework


async def test_what_is_so_already_is_not_changed(kit: Services, sms: Told) -> None:
    before, revision = await bound(kit), (await kit.now()).revision
    assert await kit.bindings.unmute(ROOM, "sms") == before
    assert await kit.bindings.set_access(ROOM, "sms", Access.READ_WRITE) == before
    assert await kit.bindings.unmute_output(ROOM, "sms") == before
    assert await kit.bindings.update_metadata(ROOM, "sms", {}) == before
    assert len(await kit.entries()) == 1
    assert ((await kit.now()).revision, sms.changed) == (revision, [])


async def test_metadata_is_merged(kit: Services, sms: Told) -> None:
    await kit.bindings.update_metadata(ROOM, "sms", {"a": 1, "b": {"c": 1}})
    after = await kit.bindings.update_metadata(ROOM, "sms", {"b": {"d": 2}})
    assert after.metadata == {"a": 1, "b": {"d": 2}}
    assert await bound(kit) == after


async def test_R34_output_is_muted_silently_but_the_channel_knows(kit: Services, sms: Told) -> None:
    heard = kit.listen(*HookTrigger)
    before = (await kit.entries(), heard.names.copy())
    assert (await kit.bindings.mute_output(ROOM, "sms")).output_muted
    assert (await bound(kit)).output_muted
    assert not (await kit.bindings.unmute_output(ROOM, "sms")).output_muted
    assert (await kit.entries(), heard.names) == before
    assert heard.hooks == []
    assert [binding.output_muted for binding in sms.changed] == [True, False]


async def test_changes_of_what_is_not_there_raise(kit: Services) -> None:
    await kit.register(Transport("sms"))
    with pytest.raises(ChannelNotFoundError):
        await kit.bindings.mute(ROOM, "sms")
    with pytest.raises(ChannelNotFoundError):
        await kit.bindings.mute_output(ROOM, "sms")
    with pytest.raises(ChannelNotFoundError):
        await kit.bindings.get(ROOM, "sms")
    with pytest.raises(RoomNotFoundError):
        await kit.bindings.mute("nowhere", "sms")


async def test_what_a_channel_raises_on_being_told_comes_last(kit: Services, sms: Told) -> None:
    heard = kit.listen(HookTrigger.ON_CHANNEL_MUTED)
    sms.told_failure = OSError("no")
    with pytest.raises(OSError, match="no"):
        await kit.bindings.mute(ROOM, "sms")
    assert (await bound(kit)).muted
    assert heard.triggers == ["on_channel_muted"]


async def test_a_channel_is_told_in_order_and_may_need_the_room_for_it(
    kit: Services, sms: Told
) -> None:
    """Nobody holds the lock while it is told: it may have to end an answer first."""
    sms.hold = asyncio.Event()
    first = asyncio.create_task(kit.bindings.mute(ROOM, "sms"))
    second = asyncio.create_task(kit.bindings.unmute(ROOM, "sms"))
    await asyncio.sleep(1)
    await asyncio.wait_for(kit.people.add(ROOM, "sms", "ann"), PATIENCE)
    assert not (first.done())
    assert not (second.done())
    sms.hold.set()
    await asyncio.gather(first, second)
    assert [binding.muted for binding in sms.changed] == [True, False]


async def test_who_holds_the_lock_does_not_wait_for_the_channel(kit: Services, sms: Told) -> None:
    sms.hold = asyncio.Event()
    async with kit.locks.locked(ROOM):
        await asyncio.wait_for(kit.bindings.mute(ROOM, "sms"), PATIENCE)
    assert sms.changed == []
    sms.hold.set()
    await asyncio.sleep(0.01)
    assert len(sms.changed) == 1


async def test_a_channel_may_change_its_binding_on_being_told(kit: Services) -> None:
    class Modest(Told):
        async def update_binding(self, room_id: str, binding: ChannelBinding) -> None:
            await super().update_binding(room_id, binding)
            await kit.bindings.set_visibility(ROOM, "sms", "none")

    sms = Modest("sms")
    await kit.register(sms)
    await kit.bindings.attach(ROOM, "sms")
    await asyncio.wait_for(kit.bindings.mute(ROOM, "sms"), PATIENCE)
    await asyncio.sleep(0.01)
    assert [binding.visibility for binding in sms.changed] == ["all", "none"]


async def test_closing_aborts_a_channel_that_hangs_on_being_told(kit: Services, sms: Told) -> None:
    sms.hold = asyncio.Event()
    muting = asyncio.create_task(kit.bindings.mute(ROOM, "sms"))
    await asyncio.sleep(1)
    await kit.bindings.close(1)
    with pytest.raises(LaneClosedError):
        await asyncio.wait_for(muting, PATIENCE)


# -- share ----------------------------------------------------------------------------------------

CHILD = "child"


@pytest.fixture
async def child(kit: Services, sms: Told) -> str:
    await kit.room(CHILD)
    return CHILD


async def test_R49_a_shared_binding_carries_everything_over(
    kit: Services, sms: Told, child: str
) -> None:
    await kit.bindings.attach(
        ROOM,
        "sms",
        access=Access.READ_ONLY,
        visibility="bot",
        muted=True,
        output_muted=True,
        participant_id="ann",
        rate_limit=RateLimit(max_per_second=1),
        metadata={"phone_number": "+1"},
    )
    origin = (await bound(kit)).model_copy(update={"last_read_index": 9})
    await kit.store.update_binding(origin)
    kit.clock.advance(60)
    shared = await kit.bindings.share(ROOM, child, "sms", metadata={"via": ROOM})
    assert shared == origin.model_copy(
        update={
            "room_id": child,
            "attached_at": kit.clock.now(),
            "last_read_index": None,
            "metadata": {"phone_number": "+1", "via": ROOM},
        }
    )
    assert await bound(kit, room_id=child) == shared
    assert sms.attached[-1] == shared
    assert await kit.codes(child) == ["channel_attached"]
    assert kit.heard.events[-1].room_id == child


@pytest.mark.parametrize(
    ("origin", "wanted", "given"),
    [
        (Access.READ_ONLY, Access.READ_WRITE, Access.READ_ONLY),
        (Access.WRITE_ONLY, Access.READ_ONLY, Access.NONE),
        (Access.READ_WRITE, Access.READ_ONLY, Access.READ_ONLY),
        (Access.NONE, None, Access.NONE),
    ],
)
async def test_R49_access_is_cut_down_to_the_origins(
    kit: Services, child: str, origin: Access, wanted: Access | None, given: Access
) -> None:
    await kit.bindings.set_access(ROOM, "sms", origin)
    assert (await kit.bindings.share(ROOM, child, "sms", access=wanted)).access is given


async def test_R49_visibility_and_muting_are_cut_down_too(kit: Services, child: str) -> None:
    await kit.bindings.mute(ROOM, "sms")
    await kit.bindings.set_visibility(ROOM, "sms", "a,b")
    shared = await kit.bindings.share(ROOM, child, "sms", visibility="b,c", muted=False)
    assert (shared.visibility, shared.muted) == ("b", True)


async def test_R49_an_existing_binding_of_the_target_stays(kit: Services, child: str) -> None:
    present = await kit.bindings.attach(child, "sms", access=Access.NONE)
    assert await kit.bindings.share(ROOM, child, "sms") == present
    assert await kit.codes(child) == ["channel_attached"]


async def test_R267_nothing_is_shared_with_another_organization(kit: Services, sms: Told) -> None:
    await kit.room("theirs", organization_id="other")
    with pytest.raises(RoomNotFoundError):
        await kit.bindings.share(ROOM, "theirs", "sms")
    assert await kit.store.list_bindings("theirs") == []


async def test_there_must_be_something_to_share(kit: Services, child: str) -> None:
    with pytest.raises(ChannelNotRegisteredError):
        await kit.bindings.share(ROOM, child, "fax")
    await kit.register(Transport("fax"))
    with pytest.raises(ChannelNotFoundError):
        await kit.bindings.share(ROOM, child, "fax")
    for rooms in (("nowhere", child), (ROOM, "nowhere")):
        with pytest.raises(RoomNotFoundError):
            await kit.bindings.share(*rooms, "sms")


async def test_R50_sharing_brings_a_detached_channel_back(kit: Services, child: str) -> None:
    await kit.bindings.attach(child, "sms")
    await kit.bindings.detach(child, "sms")
    await kit.bindings.share(ROOM, child, "sms")
    assert (await kit.now(child)).metadata == {DETACHED_KEY: []}


async def test_R47_an_attach_given_up_while_it_is_written_changes_nothing(
    kit: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = kit.store.add_binding

    async def slow(binding: ChannelBinding) -> ChannelBinding:
        stored = await write(binding)
        await asyncio.sleep(5)
        return stored

    monkeypatch.setattr(kit.store, "add_binding", slow)
    sms = Told("sms")
    await kit.register(sms)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await kit.bindings.attach(ROOM, "sms")
    assert await kit.store.list_bindings(ROOM) == []
    assert (await kit.entries(), sms.attached) == ([], [])
