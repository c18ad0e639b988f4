"""What the protocols under a voice channel say: told to those who listen, kept until there is a
room (V213)."""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from salon.base import TaskScope
from salon.core.kit import RoomKit
from salon.core.lanes import Lanes
from salon.core.ports.channel import Channel
from salon.models import ChannelType, EventSource, HookTrigger, RoomKitError
from salon.models.trace import ProtocolTrace
from salon.voice.backends.base import VoiceBackend

_log = logging.getLogger("salon.channels.voice")

TraceCallback = Callable[[ProtocolTrace], Any]
"""A plain function returns at once; a coroutine function is run beside the caller."""

MAX_HELD = 1024
"""Traces of one session, or for one room, that wait for it; the oldest give way."""
MAX_WAITING = 1024
"""Sessions and rooms that traces wait for; those waited for longest are given up."""
MAX_ROOMS = 10_000
"""Rooms that are known without a session in them; those attached longest ago are forgotten, until
a session is bound there."""
MAX_TELLING = 4096
"""Traces of one room that its hooks have not been told of yet; beyond, the newest is dropped."""


class VoiceTraces:
    """The traces of one channel. `room_of` says where a session is bound.

    A trace whose room the channel is not attached to, so far as it knows, waits for `attached` or
    for `joined`, and is told then, in order. What is given up is in `dropped`.
    """

    def __init__(
        self,
        channel_id: str,
        scope: TaskScope,
        backends: Sequence[VoiceBackend],
        room_of: Callable[[str | None], str | None],
    ) -> None:
        self._channel_id = channel_id
        self._scope = scope
        self._backends = backends
        self.room_of = room_of
        self._kit: RoomKit | None = None
        self._callbacks: list[tuple[TraceCallback, Collection[str] | None]] = []
        self._rooms: dict[str, None] = {}
        self._held: OrderedDict[tuple[str, str], deque[ProtocolTrace]] = OrderedDict()
        self._lanes = Lanes("voice traces")
        self._wired: set[int] = set()
        self.enabled = False
        """Somebody listens."""
        self.dropped = 0

    def bind(self, kit: RoomKit) -> None:
        """Work for this framework."""
        self._kit = kit
        self.look()

    async def close(self) -> None:
        """Listen no more; what waits is given up."""
        self._kit = None
        self._callbacks.clear()
        self._held.clear()
        self.look()
        await self._lanes.close(1.0)

    def listen(self, callback: TraceCallback, protocols: Collection[str] | None) -> None:
        """One more who listens, to these protocols only."""
        self._callbacks.append((callback, None if protocols is None else frozenset(protocols)))
        self.look()

    def look(self) -> None:
        """Those who listen are others than before."""
        everywhere = bool(self._callbacks) or self._hooked("")
        self.enabled = everywhere or any(map(self._hooked, self._rooms))
        self.wire()

    def _hooked(self, room_id: str) -> bool:
        kit = self._kit
        return kit is not None and kit.hooks.wants(HookTrigger.ON_PROTOCOL_TRACE, room_id)

    def wire(self) -> None:
        """There may be more backends than before."""
        for backend in self._backends:
            if (id(backend) in self._wired) is not self.enabled:
                backend.set_trace_emitter(self.emit if self.enabled else None)
                (self._wired.add if self.enabled else self._wired.discard)(id(backend))

    # -- rooms ------------------------------------------------------------------------------------

    def attached(self, room_id: str) -> None:
        """The channel is in a room: tell what has waited for it."""
        self._rooms[room_id] = None
        if len(self._rooms) > MAX_ROOMS:
            del self._rooms[next(iter(self._rooms))]
        self.enabled = self.enabled or self._hooked(room_id)
        self.wire()
        self._tell_held("room", room_id, room_id)

    def detached(self, room_id: str) -> None:
        """It is no longer; idempotent."""
        self._rooms.pop(room_id, None)
        if self.enabled:
            self.look()

    def joined(self, session_id: str, room_id: str) -> None:
        """A session is bound: tell what has waited for it."""
        self.attached(room_id)
        self._tell_held("session", session_id, room_id)

    def _tell_held(self, kind: str, name: str, room_id: str) -> None:
        for trace in self._held.pop((kind, name), ()):
            self._tell(trace, room_id)

    # -- traces -----------------------------------------------------------------------------------

    def emit(self, trace: ProtocolTrace) -> None:
        """Tell whoever listens; returns at once."""
        for callback, protocols in tuple(self._callbacks):
            if protocols is None or trace.protocol in protocols:
                self._call(callback, trace)
        room_id = self.room_of(trace.session_id) or trace.room_id
        if room_id is not None and room_id in self._rooms:
            self._tell(trace, room_id)
        elif room_id is not None:
            self._hold(("room", room_id), trace)
        elif trace.session_id is not None:
            self._hold(("session", trace.session_id), trace)

    def _call(self, callback: TraceCallback, trace: ProtocolTrace) -> None:
        try:
            result = callback(trace)
        except Exception:  # noqa: BLE001 - the outer edge to other people's code
            _log.exception("a callback for protocol traces failed")
            return
        if inspect.isawaitable(result):
            self._scope.spawn(_finish(result), name="trace callback")

    def _hold(self, key: tuple[str, str], trace: ProtocolTrace) -> None:
        held = self._held.setdefault(key, deque())
        held.append(trace)
        if len(held) > MAX_HELD:
            held.popleft()
            self.dropped += 1
        if len(self._held) > MAX_WAITING:
            _, given_up = self._held.popitem(last=False)
            self.dropped += len(given_up)

    def _tell(self, trace: ProtocolTrace, room_id: str) -> None:
        kit = self._kit
        if kit is None or not self._hooked(room_id):
            return
        if self._lanes.waiting(room_id) >= MAX_TELLING:
            self.dropped += 1
            return
        self._lanes.put(room_id, partial(self._run, kit, replace(trace, room_id=room_id), room_id))

    async def _run(self, kit: RoomKit, trace: ProtocolTrace, room_id: str) -> None:
        source = EventSource(channel_id=self._channel_id, channel_type=ChannelType.VOICE)
        try:
            await kit.run_hooks(HookTrigger.ON_PROTOCOL_TRACE, room_id, trace, source=source)
        except RoomKitError as error:
            _log.warning("room %s was not told of a protocol trace: %s", room_id, error)


async def _finish(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:  # noqa: BLE001 - the outer edge to other people's code
        _log.exception("a callback for protocol traces failed")


class TracedChannel(Channel):
    """A channel whose protocols can be watched. `_traces` is set by whoever inherits."""

    _traces: VoiceTraces

    def on_trace(
        self, callback: TraceCallback, *, protocols: Collection[str] | None = None
    ) -> None:
        """Call `callback(trace)` for each trace, or for those of these protocols, whether its
        session is in a room or not. A plain function returns at once; a coroutine function is run
        beside what goes on."""
        self._traces.listen(callback, protocols)

    def emit_trace(self, trace: ProtocolTrace) -> None:
        """Tell whoever listens; returns at once. What belongs to no room yet is told to the hooks
        when the channel is attached to the room, or the session bound to one (V213)."""
        self._traces.emit(trace)

    @property
    def trace_enabled(self) -> bool:
        """Whether anybody listens; backends trace nothing otherwise."""
        return self._traces.enabled

    def resolve_trace_room(self, session_id: str | None) -> str | None:
        """The room a session is bound to; None without one."""
        return self._traces.room_of(session_id)
