"""Voice sessions in memory: a backend at one end, somebody who speaks and listens at the other.

For tests and demonstrations. Everything happens at the ticks of the `Ticker` that is passed, so in
a virtual-time loop hours pass in moments and every run is the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Any, ClassVar, Final

import numpy as np

from salon.base import SYSTEM_CLOCK, Clock, LocalProtocolError, new_id
from salon.base.ids import IdFactory
from salon.media.frame import FRAME_MS, SAMPLE_RATE, SILENCE, AudioFrame, Samples
from salon.media.framer import Framer
from salon.media.telephone_event import telephone_event_packets
from salon.transport.ticker import Phase, Ticker, TickHandle
from salon.voice.backends.base import BargeInCallback, VoiceCapability
from salon.voice.backends.carried import CarriedVoiceBackend
from salon.voice.backends.connection import Connection
from salon.voice.backends.session import VoiceSession
from salon.voice.events import Dtmf
from salon.voice.leg import AudioLeg, Hear, Post

MAX_HEARD: Final = 180_000
"""Frames that a caller remembers: an hour; then the oldest are forgotten, and counted."""
MAX_WAITING: Final = 180_000
"""Frames that a caller may have ready to say."""


@dataclass(frozen=True, slots=True)
class MemoryPath:
    """What one direction does to sound. Delays are rounded up to ticks of 20 ms and keep the order;
    `jitter_ms` is the most that is added by chance; `loss` is a share of 0 to 1. `ValueError` for
    a figure out of its range."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0

    def __post_init__(self) -> None:
        if self.latency_ms < 0 or self.jitter_ms < 0 or not 0.0 <= self.loss <= 1.0:
            raise ValueError(f"a path can't have {self}")


PERFECT: Final = MemoryPath()
"""Sound comes in the tick in which it was sent."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame, ``int16[320]``, and the number of the tick at which it was heard; times 20 ms it
    is media time."""

    tick: int
    samples: Samples


class _Delay:
    """Frames under way in one direction; None for one that was lost."""

    def __init__(self, path: MemoryPath, random: Random) -> None:
        self._path = path
        self._random = random
        self._waiting: deque[tuple[int, Samples | None]] = deque()

    def put(self, frame: Samples, tick: int) -> None:
        path = self._path
        lost = path.loss > 0 and self._random.random() < path.loss
        delay = path.latency_ms + (self._random.uniform(0, path.jitter_ms) if path.jitter_ms else 0)
        due = tick + ceil(delay / FRAME_MS)
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, None if lost else frame))

    def take(self, tick: int) -> list[Samples | None]:
        """All that is due."""
        found: list[Samples | None] = []
        while self._waiting and self._waiting[0][0] <= tick:
            found.append(self._waiting.popleft()[1])
        return found

    def clear(self) -> None:
        self._waiting.clear()


class MemoryCaller:
    """The participant: says samples, remembers what it hears. Belongs to one session."""

    def __init__(
        self,
        ticker: Ticker,
        *,
        to_backend: MemoryPath = PERFECT,
        from_backend: MemoryPath = PERFECT,
        seed: int = 1,
    ) -> None:
        self.heard: deque[Heard] = deque(maxlen=MAX_HEARD)
        """What came, in order; the first frame of a session is the silence that opens it."""
        self.forgotten = 0
        """Frames of `heard` that are no longer there."""
        self.keys: list[tuple[str, int]] = []
        """Keys that the backend pressed, with their milliseconds."""
        self.texts: list[tuple[str, str]] = []
        """Texts that the backend showed: role and text."""
        self.open_microphone = True
        """Whether silent frames are sent while nothing is said; else nothing is."""
        self.lost_frames = 0
        """Frames from the backend that the path lost."""
        self._ticker = ticker
        random = Random(seed)  # nosec B311 - reproducible, not secret
        self._out, self._in = _Delay(to_backend, random), _Delay(from_backend, random)
        self._framer = Framer()
        self._speech: deque[Samples] = deque()
        self._leg: _MemoryLeg | None = None
        self._lost: Callable[[], None] = _no_one
        self._tick: TickHandle | None = None

    # -- what a test does -------------------------------------------------------------------------

    def say(self, samples: Samples) -> None:
        """Say ``int16[n]`` at 16 kHz from the next tick on, after what is being said; the last
        frame is filled up with silence. `ValueError` if more than an hour waits."""
        frames = [frame.copy() for frame in self._framer.push(samples)]
        rest = self._framer.flush()
        self._queue(frames if rest is None else [*frames, rest])

    def say_nothing(self, milliseconds: float) -> None:
        """Let a pause follow what is being said: silent frames, whatever `open_microphone`."""
        self._queue([SILENCE] * ceil(milliseconds / FRAME_MS))

    def _queue(self, frames: list[Samples]) -> None:
        if len(self._speech) + len(frames) > MAX_WAITING:
            raise ValueError(f"more than {MAX_WAITING} frames would wait to be said")
        self._speech.extend(frames)

    def stop(self) -> None:
        """Say nothing more of what waits."""
        self._speech.clear()

    @property
    def speaking(self) -> bool:
        """Whether something waits to be said."""
        return bool(self._speech)

    def press(self, digit: str) -> None:
        """Press a key beside the sound. `ValueError` for what is no key."""
        telephone_event_packets(digit, 160, clock_rate=8000)  # is it valid?
        if self._leg is not None:
            self._leg.post(Dtmf(digit))

    def hang_up(self) -> None:
        """Leave; the backend is told."""
        lost, self._lost = self._lost, _no_one
        self._end()
        lost()

    def sound(self, first: int | None = None, last: int | None = None) -> Samples:
        """What was heard from tick `first` to `last`, both included, as one ``int16[n]`` at 16 kHz
        with silence at ticks without sound; by default from the first frame to the last. Of two
        frames in one tick the second is heard in the next free one."""
        if not self.heard:
            return SILENCE[:0]
        begin = self.heard[0].tick if first is None else first
        parts: list[Samples] = []
        for item in self.heard:
            if item.tick < begin or (last is not None and item.tick > last):
                continue
            gap = item.tick - begin - len(parts)
            parts.extend(SILENCE for _ in range(gap))
            parts.append(item.samples)
        if last is not None:
            parts.extend(SILENCE for _ in range(last + 1 - begin - len(parts)))
        return np.concatenate(parts) if parts else SILENCE[:0]

    # -- what the backend does --------------------------------------------------------------------

    def _join(self, leg: _MemoryLeg, lost: Callable[[], None]) -> None:
        if self._leg is not None:
            raise LocalProtocolError("a memory caller belongs to one session")
        self._leg, self._lost = leg, lost
        self._tick = self._ticker.add(self._pass, Phase.RECEIVE)

    def _pass(self, tick: int) -> None:
        leg = self._leg
        if leg is None:
            return
        if self._speech:
            self._out.put(self._speech.popleft(), tick)
        elif self.open_microphone:
            self._out.put(SILENCE, tick)
        for frame in self._out.take(tick):
            leg.receive(frame)
        self._arrive(tick)

    def _take(self, frame: Samples) -> None:
        self._in.put(frame.copy(), self._ticker.tick)
        self._arrive(self._ticker.tick)

    def _arrive(self, tick: int) -> None:
        for frame in self._in.take(tick):
            if frame is None:
                self.lost_frames += 1
                continue
            self.forgotten += len(self.heard) == self.heard.maxlen
            self.heard.append(Heard(tick, frame))

    def _end(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._lost = _no_one
        self._speech.clear()
        self._out.clear()
        self._in.clear()


class _MemoryLeg(AudioLeg):
    """The backend's end."""

    def __init__(self, caller: MemoryCaller) -> None:
        self._caller: MemoryCaller | None = caller
        self._hear: Hear = _nothing
        self.post: Post = _nothing
        self.packets = 0
        self.missed = 0
        self.concealed = False

    def open(self, hear: Hear, post: Post) -> None:
        self._hear, self.post = hear, post

    def receive(self, frame: Samples | None) -> None:
        """Lost time is silence, and marked (V29, V33)."""
        self.concealed = frame is None
        if frame is None:
            self.missed += 1
        else:
            self.packets += 1
        self._hear(SILENCE if frame is None else frame)

    def send(self, frame: Samples) -> None:
        if self._caller is not None:
            self._caller._take(frame)

    def close(self) -> None:
        self._caller = None
        self._hear = self.post = _nothing

    @property
    def packets_in(self) -> int:
        return self.packets


class MemoryConnection(Connection):
    """Ready at once."""

    transport: ClassVar[str] = "memory"

    def __init__(self, caller: MemoryCaller) -> None:
        self.caller = caller
        self.leg: _MemoryLeg = _MemoryLeg(caller)

    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        self.caller._join(self.leg, lost)
        ready()

    @property
    def concealed(self) -> bool:
        return self.leg.concealed

    def press(self, digit: str, duration_ms: int) -> None:
        telephone_event_packets(digit, duration_ms, clock_rate=8000)  # is it valid?
        self.caller.keys.append((digit, duration_ms))

    async def close(self) -> None:
        self.caller._end()


class MemoryVoiceBackend(CarriedVoiceBackend):
    """A backend whose sessions are heard and spoken by a `MemoryCaller` each.

    With `auto_answer` a session has its caller as soon as it is made (`caller`), and is ready in
    the next turn of the loop; else `accept(session, caller)` gives it one. `to_backend` and
    `from_backend` are what happens to sound on its way, drawn by chance from `seed`. Capabilities
    may be given, to see what a pipeline makes of them.
    """

    def __init__(
        self,
        *,
        input_sample_rate: int = SAMPLE_RATE,
        output_sample_rate: int = SAMPLE_RATE,
        audio_queue_maxsize: int = 1000,
        to_backend: MemoryPath = PERFECT,
        from_backend: MemoryPath = PERFECT,
        auto_answer: bool = True,
        capabilities: VoiceCapability = VoiceCapability.INTERRUPTION
        | VoiceCapability.DTMF_SIGNALING,
        seed: int = 1,
        ticker: Ticker | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        super().__init__(
            input_sample_rate=input_sample_rate,
            output_sample_rate=output_sample_rate,
            audio_queue_maxsize=audio_queue_maxsize,
            ticker=ticker,
            clock=clock,
            ids=ids,
        )
        self._paths = to_backend, from_backend
        self._auto_answer = auto_answer
        self._capabilities = capabilities
        self._seed = seed
        self._on_barge_in: list[BargeInCallback] = []

    @property
    def name(self) -> str:
        return "Memory"

    @property
    def capabilities(self) -> VoiceCapability:
        return self._capabilities

    @property
    def ticker(self) -> Ticker:
        """What paces both ends."""
        return self._ticker

    def new_caller(self) -> MemoryCaller:
        """Somebody for `accept`. Each draws other chances, the same in every run."""
        self._seed += 1
        to_backend, from_backend = self._paths
        return MemoryCaller(
            self._ticker, to_backend=to_backend, from_backend=from_backend, seed=self._seed
        )

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> VoiceSession:
        session = await super().connect(room_id, participant_id, channel_id, metadata=metadata)
        if self._auto_answer:
            self.attach(session, MemoryConnection(self.new_caller()))
        return session

    async def accept(self, session: VoiceSession, connection: MemoryCaller) -> None:
        """Give `session` its caller. `LocalProtocolError` if either belongs to another."""
        self.attach(session, MemoryConnection(connection))

    def caller(self, session: VoiceSession) -> MemoryCaller:
        """Who is at the other end. `LocalProtocolError` if nobody is, or no longer."""
        return self._connection_of(session).caller

    def packets_lost(self, session: VoiceSession) -> int:
        """Frames of the caller that the path lost; each was replaced by silence (V32)."""
        return self._connection_of(session).leg.missed

    def concealed_frames(self, session: VoiceSession) -> int:
        """The same figure: here every lost frame is one concealed frame (V32)."""
        return self._connection_of(session).leg.missed

    def _connection_of(self, session: VoiceSession) -> MemoryConnection:
        connection = self._call_of(session).connection
        if not isinstance(connection, MemoryConnection):
            raise LocalProtocolError(f"voice session {session.id} has no caller")
        return connection

    async def send_transcription(
        self, session: VoiceSession, text: str, role: str = "user"
    ) -> None:
        """Shown to the caller; nothing once the session is over."""
        call = self._calls.get(session.id)
        if call is not None and isinstance(call.connection, MemoryConnection):
            call.connection.caller.texts.append((role, text))

    # -- without a caller -------------------------------------------------------------------------

    def on_barge_in(self, callback: BargeInCallback) -> None:
        """Only called by `simulate_barge_in`."""
        self._on_barge_in.append(callback)

    async def simulate_audio_received(self, session: VoiceSession, frame: AudioFrame) -> None:
        """Hand a frame to the callback as it is, whatever its format."""
        self._hear(session, frame)
        await asyncio.sleep(0)

    async def simulate_barge_in(self, session: VoiceSession) -> None:
        """What a transport that notices sound during playback would tell."""
        await self._tell(self._on_barge_in, session)

    async def simulate_client_disconnected(self, session: VoiceSession) -> None:
        """The link breaks; returns when the session has ended."""
        await self._hang_up(session)


def _nothing(_item: object) -> None:
    """Takes the place of a callback that is let go of."""


def _no_one() -> None:
    """Nobody wants to know."""


__all__ = [
    "PERFECT",
    "Heard",
    "MemoryCaller",
    "MemoryPath",
    "MemoryVoiceBackend",
]
