"""What a message leaves behind that is refused before its commit: nothing it brought (R204)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.core.effects import DETACHED_KEY
from salon.core.kit import RoomKit
from salon.core.ports.identity import IdentityResolver
from salon.models import (
    ChannelBinding,
    ChannelType,
    EventType,
    HookResult,
    HookTrigger,
    IdentificationStatus,
    Identity,
    IdentityResult,
    InboundMessage,
    ParticipantStatus,
    RoomContext,
    RoomEvent,
)

from .helpers import ROOM, Transport, listen, message, room_with, timeline


class Told(Transport):
    """Notes the rooms it is attached to. People on it are participants by their sender ids."""

    def __init__(self, channel_id: str) -> None:
        super().__init__(channel_id, channel_type=ChannelType.WEBSOCKET)
        self.rooms: list[str] = []

    async def on_room_attached(self, room_id: str, binding: ChannelBinding) -> None:
        self.rooms.append(room_id)
        await super().on_room_attached(room_id, binding)

    async def on_room_detached(self, room_id: str) -> None:
        self.rooms.remove(room_id)
        await super().on_room_detached(room_id)

    def inbound_event(self, message: Any, context: RoomContext, **more: Any) -> RoomEvent:
        event = super().inbound_event(message, context, **more)
        source = event.source.model_copy(update={"participant_id": message.sender_id})
        return event.model_copy(update={"source": source})


@pytest.fixture
async def web(kit: RoomKit) -> Told:
    """A channel that no room has yet."""
    web = Told("web")
    kit.register_channel(web)
    await room_with(kit, Transport("other"))
    return web


def hang(kit: RoomKit) -> None:
    """Messages ``bad`` take too long."""

    async def wait(event: RoomEvent, context: RoomContext) -> HookResult:
        assert context.binding("web") is not None
        if event.text == "bad":
            await asyncio.Event().wait()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, wait, timeout=500)


async def bound(kit: RoomKit) -> list[str]:
    return [item.channel_id for item in await kit.list_bindings(ROOM)]


async def people(kit: RoomKit) -> list[str]:
    return [item.id for item in await kit.list_members(ROOM, include_left=True)]


async def test_R204_a_channel_that_came_with_a_message_goes_with_it(
    kit: RoomKit, web: Told
) -> None:
    hang(kit)
    heard = listen(kit, "room_channel_detached")
    result = await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert result.reason == "process_timeout"
    assert await bound(kit) == ["other"]
    assert await people(kit) == []
    assert web.rooms == []
    assert [item.channel_id for item in heard] == ["web"]
    assert DETACHED_KEY not in (await kit.get_room(ROOM)).metadata
    entries = [event.type for event in await timeline(kit)][-2:]
    assert entries == [EventType.CHANNEL_ATTACHED, EventType.CHANNEL_DETACHED]
    # nobody sent it away: the next message brings it again (R50)
    assert not (await kit.process_inbound(message("web", "good"), room_id=ROOM)).blocked
    assert await bound(kit) == ["other", "web"]
    assert await people(kit) == ["ann"]
    # and one that was there stays, as does who was there
    result = await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert result.reason == "process_timeout"
    assert await bound(kit) == ["other", "web"]
    assert await people(kit) == ["ann"]


async def test_R204_a_room_made_for_a_message_goes_with_it(kit: RoomKit, web: Told) -> None:
    hang(kit)
    result = await kit.process_inbound(message("web", "bad"))
    assert result.reason == "process_timeout"
    assert [room.id for room in await kit.list_rooms()] == [ROOM]
    assert web.rooms == []


async def test_R182_a_room_that_was_named_stays(kit: RoomKit, web: Told) -> None:
    hang(kit)
    result = await kit.process_inbound(message("web", "bad"), room_id="named")
    assert result.reason == "process_timeout"
    assert await kit.list_bindings("named") == []


async def test_AMB21_a_furnished_room_stays(kit: RoomKit, web: Told) -> None:
    hang(kit)

    async def furnish(event: RoomEvent, context: RoomContext) -> None:
        await kit.attach_channel(event.room_id, "other")

    kit.add_hook(HookTrigger.ON_ROOM_CREATED, furnish)
    await kit.process_inbound(message("web", "bad"))
    made = next(room for room in await kit.list_rooms() if room.id != ROOM)
    assert [item.channel_id for item in await kit.list_bindings(made.id)] == ["other"]


async def test_AMB21_a_room_where_something_happened_stays(kit: RoomKit, web: Told) -> None:
    kit.register_channel(Transport("third"))

    async def write(event: RoomEvent, context: RoomContext) -> HookResult:
        await kit.attach_channel(event.room_id, "other")
        await kit.send_event(event.room_id, "other", "careful") if event.text == "bad" else None
        await kit.store.remove_binding(event.room_id, "other")
        await asyncio.Event().wait()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, write, timeout=500, channel_ids=["web"])
    await kit.process_inbound(message("web", "bad"))
    made = next(room for room in await kit.list_rooms() if room.id != ROOM)
    assert "careful" in [event.text for event in await timeline(kit, made.id)]
    await kit.process_inbound(message("web", "quiet", sender="bob"))
    assert len(await kit.list_rooms()) == 2


async def test_R204_what_a_hook_made_of_the_binding_stays(kit: RoomKit, web: Told) -> None:
    async def mute(event: RoomEvent, context: RoomContext) -> HookResult:
        await kit.mute(ROOM, "web")
        await kit.rename_member(ROOM, "ann", "Ann")
        await asyncio.Event().wait()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, mute, timeout=500)
    await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert (await kit.get_binding(ROOM, "web")).muted
    assert await people(kit) == ["ann"]


async def test_R204_what_a_hook_took_away_stays_away(kit: RoomKit, web: Told) -> None:
    async def detach(event: RoomEvent, context: RoomContext) -> HookResult:
        await kit.detach_channel(ROOM, "web")
        await asyncio.Event().wait()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, detach, timeout=500)
    await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert await bound(kit) == ["other"]
    assert (await kit.get_room(ROOM)).metadata[DETACHED_KEY] == ["web"]


async def test_a_caller_who_leaves_before_the_commit_leaves_nothing(
    kit: RoomKit, web: Told
) -> None:
    hang(kit)
    call = asyncio.create_task(kit.process_inbound(message("web", "bad"), room_id=ROOM))
    await asyncio.sleep(1)
    assert await bound(kit) == ["other", "web"]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await bound(kit) == ["other"]
    assert await people(kit) == []


async def test_R43_who_is_barred_attaches_nothing(kit: RoomKit, web: Told) -> None:
    await kit.add_member(ROOM, "other", "ann")
    await kit.remove_member(ROOM, "ann", status=ParticipantStatus.BANNED)
    result = await kit.process_inbound(message("web"), room_id=ROOM)
    assert result.reason == "participant_not_admitted"
    assert await bound(kit) == ["other"]


async def test_R121_what_a_hook_blocks_is_stored_and_its_channel_stays(
    kit: RoomKit, web: Told
) -> None:
    async def block(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no")

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, block)
    assert (await kit.process_inbound(message("web"), room_id=ROOM)).blocked
    assert await bound(kit) == ["other", "web"]
    assert await people(kit) == ["ann"]


@pytest.mark.parametrize("fault", ["raises", "hangs"])
async def test_R204_a_channel_that_cannot_let_go_changes_nothing_for_the_caller(
    kit: RoomKit, web: Told, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def let_go(room_id: str) -> None:
        if fault == "raises":
            raise OSError("gone")
        await asyncio.Event().wait()

    hang(kit)
    web.on_room_detached = let_go  # type: ignore[method-assign]
    result = await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert result.reason == "process_timeout"
    assert await bound(kit) == ["other"]
    assert "was not all taken back" in caplog.text
    assert not (await kit.process_inbound(message("other"), room_id=ROOM)).blocked


async def test_R204_a_room_that_is_gone_by_then_takes_everything_with_it(
    kit: RoomKit, web: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async def delete(event: RoomEvent, context: RoomContext) -> HookResult:
        await kit.delete_room(ROOM)
        await asyncio.Event().wait()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, delete, timeout=500)
    result = await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert result.reason == "process_timeout"
    assert not await kit.store.room_exists(ROOM)
    assert "taken back" not in caplog.text


@pytest.mark.parametrize("status", [IdentificationStatus.IDENTIFIED, IdentificationStatus.PENDING])
async def test_R173_who_was_recognised_is_no_participant_for_what_was_not_said(
    status: IdentificationStatus,
) -> None:
    ann, ben = Identity(id="ann-1"), Identity(id="ben-1")

    class Knows(IdentityResolver):
        async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
            if status is IdentificationStatus.IDENTIFIED:
                return IdentityResult(status=status, identity=ann)
            return IdentityResult(status=IdentificationStatus.AMBIGUOUS, candidates=(ann, ben))

    async with RoomKit(identity_resolver=Knows(), shutdown_timeout=0) as kit:
        kit.register_channel(Told("web"))
        await kit.create_room(ROOM)
        hang(kit)
        known = []
        for body in ("bad", "good", "bad"):
            await kit.process_inbound(message("web", body), room_id=ROOM)
            known.append([item.identification for item in await kit.list_members(ROOM)])
        assert known == [[], [status], [status]]


@pytest.mark.parametrize("named", [ROOM, None])
async def test_R120_a_commit_that_fails_leaves_nothing(
    kit: RoomKit, web: Told, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    commit = kit.store.commit_event

    async def full(event: RoomEvent, **more: Any) -> RoomEvent:
        if event.text == "hi":
            raise OSError("the disk is full")
        return await commit(event, **more)

    monkeypatch.setattr(kit.store, "commit_event", full)
    with pytest.raises(OSError, match="full"):
        await kit.process_inbound(message("web"), room_id=named)
    assert await bound(kit) == ["other"]
    assert await people(kit) == []
    assert web.rooms == []
    assert [room.id for room in await kit.list_rooms()] == [ROOM]


async def test_R120_a_store_that_takes_no_entries_either_leaves_nothing(
    kit: RoomKit, web: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit, full = kit.store.commit_event, False

    async def filling(event: RoomEvent, **more: Any) -> RoomEvent:
        nonlocal full
        full = full or event.text == "hi"
        if full:
            raise OSError("the disk is full")
        return await commit(event, **more)

    monkeypatch.setattr(kit.store, "commit_event", filling)
    with pytest.raises(OSError, match="full"):
        await kit.process_inbound(message("web"), room_id=ROOM)
    assert await bound(kit) == ["other"]
    assert await people(kit) == []
    assert web.rooms == []
    assert "was not all taken back" in caplog.text


async def test_R205_a_caller_who_leaves_during_the_commit_leaves_what_came_with_it(
    kit: RoomKit, web: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, begun = kit.store.commit_event, asyncio.Event()

    async def slow(event: RoomEvent, **more: Any) -> RoomEvent:
        if event.text == "hi":
            begun.set()
            await asyncio.sleep(1)
        return await commit(event, **more)

    monkeypatch.setattr(kit.store, "commit_event", slow)
    call = asyncio.create_task(kit.process_inbound(message("web"), room_id=ROOM))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert "hi" in [event.text for event in await timeline(kit)]
    assert await bound(kit) == ["other", "web"]
    assert await people(kit) == ["ann"]


@pytest.mark.parametrize("said", ["by the sender", "by the channel", "by the person"])
async def test_R204_what_a_hooks_own_message_needs_stays(
    kit: RoomKit, web: Told, said: str
) -> None:
    async def nest(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text != "bad":
            return HookResult.allow()
        if said == "by the sender":
            await kit.process_inbound(message("web", "nested"), room_id=ROOM)
        elif said == "by the channel":
            await kit.send_event(ROOM, "web", "nested")
        else:
            await kit.send_event(ROOM, "other", "nested", participant_id="ann")
        await asyncio.Event().wait()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, nest, timeout=500)
    result = await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert result.reason == "process_timeout"
    assert "nested" in [event.text for event in await timeline(kit)]
    assert await bound(kit) == (["other"] if said == "by the person" else ["other", "web"])
    assert await people(kit) == ([] if said == "by the channel" else ["ann"])


async def test_R204_what_was_said_before_keeps_nobody(kit: RoomKit, web: Told) -> None:
    hang(kit)
    await kit.attach_channel(ROOM, "web")
    await kit.process_inbound(message("web", "good"), room_id=ROOM)
    await kit.store.remove_binding(ROOM, "web")
    await kit.store.remove_participant(ROOM, "ann")
    await kit.process_inbound(message("web", "bad"), room_id=ROOM)
    assert await bound(kit) == ["other"]
    assert await people(kit) == []
