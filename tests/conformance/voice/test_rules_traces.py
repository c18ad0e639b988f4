"""Protocol traces on their way to those who listen (V212, V213)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from tests.conformance.voice.stage import _engine_in_virtual_time

from salon import HookExecution, HookTrigger, RoomKit, VoiceChannel
from salon.channels import voice_traces
from salon.models.trace import ProtocolTrace
from salon.testing import VirtualClock, virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.trace import TraceEmitter

T = HookTrigger


class Wire(MockVoiceBackend):
    """A backend whose protocol can be watched."""

    emitter: TraceEmitter | None = None
    wired = 0

    def set_trace_emitter(self, emitter: TraceEmitter | None) -> None:
        self.emitter = emitter
        self.wired += 1

    def says(self, summary: str, protocol: str = "sip", **ids: Any) -> None:
        """If somebody listens."""
        if self.emitter is not None:
            self.emitter(ProtocolTrace("voice", "inbound", protocol, summary, **ids))


@asynccontextmanager
async def wired(*, attached: bool = False) -> AsyncIterator[tuple[RoomKit, VoiceChannel, Wire]]:
    kit = RoomKit(clock=VirtualClock())
    backend = Wire()
    with patch("salon.channels.voice_parts.engine_for", _engine_in_virtual_time):
        channel = VoiceChannel("voice", backend=backend)
    kit.register_channel(channel)
    if attached:
        await kit.create_room("room")
        await kit.attach_channel("room", "voice")
    try:
        yield kit, channel, backend
    finally:
        await kit.close()


def watch(kit: RoomKit) -> list[tuple[str, str | None]]:
    """Summaries that hooks are given, with the room in which they are."""
    seen: list[tuple[str, str | None]] = []

    @kit.hook(T.ON_PROTOCOL_TRACE, HookExecution.ASYNC, name="traces")
    async def note(trace: ProtocolTrace, context: Any) -> None:
        assert trace.room_id == context.room.id
        seen.append((trace.summary, trace.room_id))

    return seen


@virtual_time
async def test_V213_traces_from_before_the_room_are_told_once_in_order_when_it_is_there() -> None:
    async with wired() as (kit, channel, backend):
        seen = watch(kit)
        session = await backend.connect("room", "ann", "voice")
        for number in range(300):
            backend.says(f"{number}", session_id=session.id, room_id="room")
        await kit.create_room("room")
        await asyncio.sleep(1)
        assert seen == []
        await kit.attach_channel("room", "voice")
        await asyncio.sleep(1)
        assert seen == [(f"{number}", "room") for number in range(300)]
        channel.bind_session(session, "room")
        backend.says("after", session_id=session.id)
        await asyncio.sleep(1)
        assert seen[300:] == [("after", "room")]


@virtual_time
async def test_V213_traces_of_a_session_without_a_room_wait_until_it_is_bound() -> None:
    async with wired(attached=True) as (kit, channel, backend):
        seen = watch(kit)
        session = await backend.connect("room", "ann", "voice")
        backend.says("first", session_id=session.id)
        backend.says("other", session_id="other")
        await asyncio.sleep(1)
        assert seen == []
        channel.bind_session(session, "room")
        await asyncio.sleep(1)
        assert seen == [("first", "room")]


def listens(channel: VoiceChannel, *backends: Wire) -> bool:
    """Whether the channel says so, and all its backends are told the same."""
    told = {backend.emitter is not None for backend in backends}
    assert told == {channel.trace_enabled}
    return channel.trace_enabled


@virtual_time
async def test_V213_the_emitter_is_wired_only_while_someone_listens() -> None:
    async with wired(attached=True) as (kit, channel, backend):
        assert not listens(channel, backend)
        await kit.add_room_hook(
            "room", T.ON_PROTOCOL_TRACE, HookExecution.ASYNC, _ignore, name="one"
        )
        assert listens(channel, backend)
        await kit.remove_room_hook("room", "one")
        assert not listens(channel, backend)
        channel.on_trace(lambda _: None)
        second = Wire()
        channel.add_backend(second)
        assert listens(channel, backend, second)
        assert (backend.wired, second.wired) == (3, 1)
    assert not listens(channel, backend, second)


async def _ignore(_trace: Any, _context: Any) -> None:
    return None


@virtual_time
async def test_V213_a_slow_handler_holds_up_nobody() -> None:
    async with wired(attached=True) as (kit, channel, backend):
        done: list[str] = []

        @kit.hook(T.ON_PROTOCOL_TRACE, HookExecution.ASYNC, name="slow")
        async def slow(trace: ProtocolTrace, _context: Any) -> None:
            await asyncio.sleep(5)
            done.append(trace.summary)

        async def slower(trace: ProtocolTrace) -> None:
            await asyncio.sleep(5)
            done.append(f"callback {trace.summary}")

        channel.on_trace(slower)
        began = asyncio.get_running_loop().time()
        backend.says("invite", room_id="room")
        assert asyncio.get_running_loop().time() == began
        assert done == []
        await asyncio.sleep(6)
        assert sorted(done) == ["callback invite", "invite"]


@virtual_time
async def test_V212_callbacks_take_some_protocols_and_break_nothing() -> None:
    async with wired() as (_, channel, backend):
        seen: list[str] = []

        def broken(_: ProtocolTrace) -> None:
            raise RuntimeError("no")

        async def broken_later(_: ProtocolTrace) -> None:
            raise RuntimeError("no")

        channel.on_trace(broken)
        channel.on_trace(broken_later)
        channel.on_trace(lambda trace: seen.append(trace.summary), protocols=["sip"])
        backend.says("invite")
        backend.says("packet", "rtp")
        channel.emit_trace(ProtocolTrace("voice", "outbound", "sip", "ok"))
        await asyncio.sleep(0)
        assert seen == ["invite", "ok"]


@virtual_time
async def test_V213_what_waits_for_a_room_is_bounded_and_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr(voice_traces, "MAX_HELD", 2)
    monkeypatch.setattr(voice_traces, "MAX_WAITING", 2)
    async with wired() as (kit, channel, backend):
        seen = watch(kit)
        for name in "abc":
            for number in range(3):
                backend.says(f"{name}{number}", room_id=name)
        assert channel._traces.dropped == 3 + 2
        for name in "abc":
            await kit.create_room(name)
            await kit.attach_channel(name, "voice")
        await asyncio.sleep(1)
        assert seen == [("b1", "b"), ("b2", "b"), ("c1", "c"), ("c2", "c")]


@virtual_time
async def test_V213_a_room_whose_hooks_fall_behind_is_told_less(monkeypatch: Any) -> None:
    monkeypatch.setattr(voice_traces, "MAX_TELLING", 2)
    async with wired(attached=True) as (kit, channel, backend):
        seen = watch(kit)
        for number in range(3):
            backend.says(f"{number}", room_id="room")
        await asyncio.sleep(1)
        assert seen == [("0", "room"), ("1", "room")]
        assert channel._traces.dropped == 1


@virtual_time
async def test_V213_a_trace_that_only_other_rooms_want_is_told_nobody() -> None:
    async with wired(attached=True) as (kit, channel, backend):
        seen: list[str] = []

        async def note(trace: ProtocolTrace, _context: Any) -> None:
            seen.append(trace.summary)

        await kit.create_room("other")
        await kit.add_room_hook("other", T.ON_PROTOCOL_TRACE, HookExecution.ASYNC, note, name="n")
        assert not listens(channel, backend)
        await kit.attach_channel("other", "voice")
        assert listens(channel, backend)
        backend.says("here", room_id="room")
        backend.says("there", room_id="other")
        await asyncio.sleep(1)
        assert seen == ["there"]
        await kit.detach_channel("other", "voice")
        assert not listens(channel, backend)


@virtual_time
async def test_V213_rooms_are_remembered_within_bounds(monkeypatch: Any) -> None:
    monkeypatch.setattr(voice_traces, "MAX_ROOMS", 2)
    async with wired() as (kit, channel, backend):
        seen = watch(kit)
        for name in "abc":
            await kit.create_room(name)
            await kit.attach_channel(name, "voice")
            backend.says(name, room_id=name)
        backend.says("again", room_id="a")
        await asyncio.sleep(1)
        assert sorted(seen) == [("a", "a"), ("b", "b"), ("c", "c")]
        channel.bind_session(await backend.connect("a", "ann", "voice"), "a")
        await asyncio.sleep(1)
        assert seen[-1] == ("again", "a")


@virtual_time
async def test_V213_a_room_that_is_gone_is_told_nothing() -> None:
    async with wired(attached=True) as (kit, channel, backend):
        seen = watch(kit)
        await kit.detach_channel("room", "voice")
        backend.says("late", room_id="room")
        channel._traces.attached("nowhere")
        backend.says("in no room that there is", room_id="nowhere")
        await asyncio.sleep(1)
        assert seen == []
        assert channel.resolve_trace_room(None) is None


def test_V212_names_under_both_paths() -> None:
    from salon.voice.backends import trace

    assert trace.ProtocolTrace is ProtocolTrace
