"""Rooms of a bridge and who is in them: state, and the order of what goes out to each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from salon.media.conform import FrameResampler
from salon.media.frame import SAMPLE_RATE, AudioFrame, Samples
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge_config import BridgeAudioFilter, Deliver, SourceStatistics
from salon.voice.bridge_queue import JitterQueue

if TYPE_CHECKING:
    from salon.voice.backends.base import VoiceBackend

_OUTBOX: Final = 16


class Outbox:
    """Frames on their way to one target, handed over by one thread at a time, in order.

    `put` under the bridge's lock, `drain` outside of it: then whatever a target does, nobody waits
    for it but the thread that happens to hand over. Bounded: the oldest gives way (counted).
    """

    __slots__ = ("_busy", "_frames", "_resampler", "dropped")

    def __init__(self, rate: int) -> None:
        self._frames: deque[AudioFrame] = deque()
        self._busy = threading.Lock()
        self._resampler = FrameResampler(rate)
        self.dropped = 0

    def put(self, frame: AudioFrame) -> None:
        """Add one frame of any format."""
        if len(self._frames) >= _OUTBOX:
            self.dropped += 1
            self.clear(keep=_OUTBOX - 1)
        self._frames.append(frame)

    def clear(self, keep: int = 0) -> None:
        """Forget all but the newest `keep`."""
        while len(self._frames) > keep:
            self._take()

    def drain(self, send: Callable[[AudioFrame], None]) -> None:
        """Hand over what waits, unless another thread is at it, which will see what waits too."""
        while self._frames and self._busy.acquire(blocking=False):
            try:
                while (frame := self._take()) is not None:
                    send(frame)
            finally:
                self._busy.release()

    def at_rate(self, frame: AudioFrame) -> AudioFrame:
        """`frame` as the target takes it, mono (V142); only within `send`."""
        return self._resampler.process(frame)

    def _take(self) -> AudioFrame | None:
        try:
            return self._frames.popleft()
        except IndexError:
            return None


class Member:
    """One session: a source with a queue, and a listener with this window's mix or an outbox."""

    __slots__ = (
        "active",
        "audience",
        "backend",
        "deaf",
        "deliver",
        "gone",
        "heard",
        "inbound",
        "inbound_lock",
        "muted",
        "outbox",
        "own_filter",
        "queue",
        "room",
        "session",
    )

    def __init__(
        self,
        session: VoiceSession,
        room: Room,
        backend: VoiceBackend | None,
        deliver: Deliver | None,
        sample_rate: int,
        prime: int,
    ) -> None:
        self.session = session
        self.room = room
        self.backend = backend
        self.deliver = deliver
        self.queue = JitterQueue(prime)
        self.outbox = Outbox(sample_rate)
        # Frames of one source from two threads must not meet within the filter's history.
        self.inbound_lock = threading.Lock()
        self.inbound = FrameResampler(SAMPLE_RATE)
        self.heard: Samples | None = None
        self.own_filter: BridgeAudioFilter | None = None
        self.audience: frozenset[str] | None = None
        self.muted = False
        self.deaf = False
        self.active = False
        self.gone = False

    @property
    def served(self) -> bool:
        """Whether sound is brought to it; else it is fetched with `take`."""
        return self.deliver is not None or self.backend is not None

    def hears(self, source: Member) -> bool:
        """Whether what `source` says is for this one."""
        return (
            not self.deaf
            and self is not source
            and (source.audience is None or self.session.id in source.audience)
        )

    def figures(self) -> SourceStatistics:
        """Its queue's."""
        queue = self.queue
        return SourceStatistics(queue.depth, queue.underruns, queue.overflows, queue.shed)


class Room:
    """Who is in it. `served`: whether sound is brought to all of them, so that no clock is needed;
    `listeners` are those who are not deaf."""

    __slots__ = ("listeners", "members", "room_id", "served")

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.members: dict[str, Member] = {}
        self.listeners: list[str] = []
        self.served = False

    def changed(self) -> None:
        """Members came, went, or changed."""
        self.listeners = [key for key, member in self.members.items() if not member.deaf]
        self.served = all(member.served for member in self.members.values())
