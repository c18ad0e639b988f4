"""Lines in memory for `soak_voice.py`: who speaks and listens there, and transports that fail."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import numpy as np
from faulty_voice import AUDIBLE, STAGE_RATE, TONE_HZ, Faults

from salon.base import LocalProtocolError, new_id
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, AudioChunk, AudioFrame, Samples
from salon.transport.ticker import Phase, Ticker, TickHandle
from salon.voice.backends.base import VoiceBackend, VoiceCapability
from salon.voice.backends.pair import Heard, MemoryVoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState

_AT = 2j * np.pi * TONE_HZ / SAMPLE_RATE * np.arange(FRAME_SAMPLES)
_TONE = np.exp(-_AT).astype(np.complex64)
HITS = 8
"""Frames of the tone in which it counts as heard."""


class Ear:
    """What comes out at the far end of one line: how much of it is sound, and, while `listening`,
    how much of that is the tone of a `PROBE`."""

    __slots__ = ("frames", "hits", "listening", "sound")

    def __init__(self) -> None:
        self.frames = self.sound = self.hits = 0
        self.listening = False

    def hear(self, samples: Samples) -> None:
        """One frame."""
        self.frames += 1
        if not len(samples) or not int(samples.max()) > AUDIBLE:
            return
        self.sound += 1
        if self.listening and len(samples) == FRAME_SAMPLES:
            wave = samples.astype(np.float32)
            share = abs(np.dot(wave, _TONE)) ** 2 * 2 / FRAME_SAMPLES / float(np.dot(wave, wave))
            self.hits += share > 0.5

    def listen(self) -> None:
        """Listen for the tone from now on."""
        self.hits, self.listening = 0, True

    @property
    def answered(self) -> bool:
        """Whether the tone was heard."""
        return self.hits >= HITS


class _Remembering(deque[Heard]):
    """Takes the place of what a `MemoryCaller` remembers, which would be all."""

    def __init__(self, ear: Ear) -> None:
        super().__init__(maxlen=1)
        self._ear = ear

    def append(self, item: Heard) -> None:
        self._ear.hear(item.samples)
        super().append(item)


class PairBackend(MemoryVoiceBackend):
    """The memory backend, with ears."""

    def __init__(self, ticker: Ticker, faults: Faults) -> None:
        super().__init__(ticker=ticker)
        self._faults = faults
        self.ears: dict[str, Ear] = {}

    async def connect(self, *args: Any, **options: Any) -> VoiceSession:
        await connecting(self._faults)
        session = await super().connect(*args, **options)
        ear = self.ears[session.id] = Ear()
        self.caller(session).heard = _Remembering(ear)
        return session

    async def disconnect(self, session: VoiceSession) -> None:
        politely = self.ears.pop(session.id, None) is not None
        await super().disconnect(session)
        if politely:  # else the backend calls itself
            await disconnecting(self._faults)

    def say(self, session: VoiceSession, samples: Samples) -> None:
        """Something; nothing where the line is gone."""
        with suppress(LocalProtocolError):
            self.caller(session).say(samples)

    def shut_up(self, session: VoiceSession) -> None:
        """Not another word."""
        with suppress(LocalProtocolError):
            self.caller(session).stop()

    def close_microphone(self, session: VoiceSession) -> None:
        """From now on nothing is sent while nothing is said."""
        with suppress(LocalProtocolError):
            self.caller(session).open_microphone = False

    async def vanish(self, session: VoiceSession) -> None:
        """The link breaks."""
        self.ears.pop(session.id, None)
        with suppress(LocalProtocolError):
            self.caller(session).hang_up()


class _Line:
    __slots__ = ("ear", "frames", "microphone", "session", "words")

    def __init__(self, session: VoiceSession) -> None:
        self.session = session
        self.frames = 0
        self.ear = Ear()
        self.words: deque[Samples] = deque()
        self.microphone = True


class PullBackend(VoiceBackend):
    """Takes each utterance as a stream of chunks, as backends of other people do; breaks at it, and
    hands on nonsense in place of sound."""

    PATIENCE_S = 15.0
    """For whoever comes for the next piece of an utterance; at its end it begins again. A caller
    who leaves in this second time waits for nothing any more, however long the hang has been."""
    CANCEL_S = 5.0

    def __init__(self, ticker: Ticker, faults: Faults) -> None:
        self._ticker = ticker
        self._faults = faults
        self._lines: dict[str, _Line] = {}
        self._heard: Callable[..., Any] = _nothing
        self._on_ready: Callable[..., Any] = _nothing
        self._on_gone: Callable[..., Any] = _nothing
        self._tick: TickHandle | None = None
        self.refused = 0
        """Nonsense that the callback raised at."""

    @property
    def name(self) -> str:
        return "PullBackend"

    @property
    def capabilities(self) -> VoiceCapability:
        return VoiceCapability.INTERRUPTION

    @property
    def ears(self) -> dict[str, Ear]:
        """By session."""
        return {session_id: line.ear for session_id, line in self._lines.items()}

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> VoiceSession:
        await connecting(self._faults)
        session = VoiceSession(new_id(), room_id, participant_id, channel_id)
        session.state = VoiceSessionState.ACTIVE
        self._lines[session.id] = _Line(session)
        if self._tick is None:
            self._tick = self._ticker.add(self._pass, Phase.RECEIVE)
        self._on_ready(session)
        return session

    async def disconnect(self, session: VoiceSession) -> None:
        self._lines.pop(session.id, None)
        session.state = VoiceSessionState.ENDED
        if not self._lines and self._tick is not None:
            self._tick.cancel()
            self._tick = None
        await disconnecting(self._faults)

    async def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._lines.clear()

    def get_session(self, session_id: str) -> VoiceSession | None:
        line = self._lines.get(session_id)
        return None if line is None else line.session

    def list_sessions(self, room_id: str) -> list[VoiceSession]:
        return [item.session for item in self._lines.values() if item.session.room_id == room_id]

    async def send_audio(
        self, session: VoiceSession, audio: bytes | AsyncIterator[AudioChunk]
    ) -> None:
        fault = self._faults.draw("backend", "hang", "raise", "cancelled", "slow", rate=0.2)
        over = VoiceSessionState.ENDED
        await self._faults.suffer(
            "backend", fault, self.PATIENCE_S, left=lambda: session.state is over
        )
        if isinstance(audio, bytes):
            return
        async for chunk in audio:
            line = self._lines.get(session.id)
            if line is not None and chunk.data:
                line.ear.hear(np.frombuffer(chunk.data, dtype=np.int16))

    def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> None:
        raise NotImplementedError

    async def cancel_audio(self, session: VoiceSession) -> bool:
        fault = self._faults.draw("backend_cancel", "hang", "raise", "cancelled", rate=0.1)
        await self._faults.suffer("backend_cancel", fault, self.CANCEL_S)
        return True

    def on_audio_received(self, callback: Callable[..., Any]) -> None:
        self._heard = callback

    def on_session_ready(self, callback: Callable[..., Any]) -> None:
        self._on_ready = callback

    def on_client_disconnected(self, callback: Callable[..., Any]) -> None:
        self._on_gone = callback

    def say(self, session: VoiceSession, samples: Samples) -> None:
        """Something."""
        line = self._lines.get(session.id)
        if line is not None:
            line.words.extend(
                samples[at : at + FRAME_SAMPLES]
                for at in range(0, len(samples) - FRAME_SAMPLES, FRAME_SAMPLES)
            )

    def shut_up(self, session: VoiceSession) -> None:
        """Not another word."""
        if (line := self._lines.get(session.id)) is not None:
            line.words.clear()

    def close_microphone(self, session: VoiceSession) -> None:
        """From now on nothing is sent while nothing is said."""
        if (line := self._lines.get(session.id)) is not None:
            line.microphone = False

    async def vanish(self, session: VoiceSession) -> None:
        """The link breaks."""
        if self._lines.pop(session.id, None) is not None:
            self._on_gone(session)

    def _pass(self, tick: int) -> None:
        for line in tuple(self._lines.values()):
            if line.words:
                self._hand_on(line, AudioFrame.of(line.words.popleft()))
            elif line.microphone:
                self._hand_on(line, AudioFrame.of(SILENCE))

    def _hand_on(self, line: _Line, frame: Any) -> None:
        faults = self._faults
        line.frames += 1
        bound = line.frames > 50 and line.session.state is VoiceSessionState.ACTIVE
        fault = faults.draw("transport_in", "garbage", "huge", rate=STAGE_RATE if bound else 0.0)
        faults.note("transport_in", fault)
        if fault == "garbage":
            frame = faults.dice.choice((None, b"\x01\x00\x02", 17, "sound"))
        elif fault == "huge":  # odd, but right
            frame = faults.dice.choice(
                (b"", AudioFrame(b"\x01\x00" * 100, 8000), AudioFrame(bytes(64_000)))
            )
        try:
            self._heard(line.session, frame)
        except Exception:  # noqa: BLE001 - told, and counted here
            self.refused += 1


async def connecting(faults: Faults) -> None:
    """The start of a connection, which may never be one."""
    fault = faults.draw("connect", "raise", "hang", "slow", rate=0.05)
    await faults.suffer("connect", fault, 0.0)


async def disconnecting(faults: Faults) -> None:
    """The end of a connection, which may be waited for in vain."""
    fault = faults.draw("disconnect", "raise", "hang", "slow", "cancelled", rate=0.1)
    await faults.suffer("disconnect", fault, 5.0)


def _nothing(*_: Any) -> None:
    """Until somebody wants to know."""


async def bounded(seconds: float, work: Any) -> BaseException | None:
    """Wait for `work` so long at most; what it raised."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return error
    except Exception as error:  # noqa: BLE001 - counted by the caller
        return error
    return None
