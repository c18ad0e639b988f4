"""A microphone that never stops: silence while nobody speaks, speech when there is some."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from salon.base import SYSTEM_CLOCK, Clock, TaskScope
from salon.clients.call.errors import CallClosed, ClientError
from salon.clients.call.pace import FRAME_SECONDS, Beat

if TYPE_CHECKING:
    from salon.media import AudioCodec, Samples

RATE: Final = 16_000
FRAME: Final = 320
MAX_LIVE: Final = 50
"""Frames of a live source that may wait; older ones are dropped."""
MAX_SPEECH: Final = 30_000
"""Frames of queued speech: ten minutes."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """When a recording was spoken, in seconds of the client's monotonic clock.

    `start` is the moment of its first sample, 20 ms before the first frame left: that is when a
    real microphone would have begun to hear it. `end` is when the last frame left.
    """

    start: float
    end: float
    frames: int

    def at(self, sample: int) -> float:
        """The moment at which this sample (16 kHz) was spoken."""
        return self.start + sample / RATE


async def load(source: str | Path | Samples) -> Samples:
    """A WAV file of any rate, or ``int16[n]`` at 16 kHz, as ``int16[n]`` at 16 kHz. `OSError`,
    `WavError` and `MissingExtraError`."""
    if isinstance(source, str | Path):
        return await asyncio.to_thread(_read, Path(source))
    return source


def _read(path: Path) -> Samples:
    from salon.base import MissingExtraError

    try:
        from salon.media import read_wav, resample
    except ModuleNotFoundError:
        raise MissingExtraError("voice", "reading a WAV file") from None
    samples, rate = read_wav(path)
    return samples if rate == RATE else resample(samples, rate, RATE)


def frames_of(samples: Samples) -> list[Samples]:
    """Cut into ``int16[320]``; the last one is filled up with zeros."""
    import numpy as np

    rest = -len(samples) % FRAME
    if rest:
        samples = np.concatenate([samples, np.zeros(rest, dtype=np.int16)])
    return [samples[at : at + FRAME] for at in range(0, len(samples), FRAME)]


class _Speech:
    """One recording on its way out."""

    def __init__(self, frames: list[Samples]) -> None:
        self.frames = deque(frames)
        self.count = len(frames)
        self.start = 0.0
        self.done: asyncio.Future[Spoken] = asyncio.get_running_loop().create_future()


class Microphone:
    """Sends one frame every 20 ms until it is closed: queued speech first, then what a live
    `source` gives, else silence. Use it as an async context manager.

    `source` yields ``int16[n]`` at 16 kHz as it is recorded; what it delivers too fast is dropped
    and counted (`dropped`).
    """

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        codec: AudioCodec,
        *,
        source: AsyncIterator[Samples] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._send = send
        self._codec = codec
        self._source = source
        self._clock = clock
        self._speech: deque[_Speech] = deque()
        self._live: deque[Samples] = deque(maxlen=MAX_LIVE)
        self._tasks = TaskScope("microphone")
        self._error: ClientError | None = None
        self.muted = False
        """Send silence in place of the live source."""
        self.sent = 0
        """Frames sent."""
        self.dropped = 0
        self.max_late = 0.0
        """Worst lateness of a frame, in seconds."""

    async def __aenter__(self) -> Microphone:
        self._tasks.spawn(self._run(), name="beat")
        if self._source is not None:
            self._tasks.spawn(self._record(self._source), name="source")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop sending; who waits in `say` gets `CallClosed`."""
        await self._tasks.close()
        self._fail()

    @property
    def pending(self) -> int:
        """Frames of queued speech that wait."""
        return sum(len(speech.frames) for speech in self._speech)

    async def say(self, source: str | Path | Samples) -> Spoken:
        """Speak a WAV file, or ``int16[n]`` at 16 kHz, after what is queued already; returns when
        the last frame has left. Cancelling takes the rest back. `CallClosed` if the call ends."""
        frames = frames_of(await load(source))
        if self._error is not None:
            raise self._error
        if not frames:
            raise ValueError("there is no sound to speak")
        if self.pending + len(frames) > MAX_SPEECH:
            raise ValueError(f"more than {MAX_SPEECH * FRAME_SECONDS:g} s of speech would wait")
        speech = _Speech(frames)
        self._speech.append(speech)
        try:
            return await speech.done
        finally:
            if speech in self._speech:
                self._speech.remove(speech)

    async def _run(self) -> None:
        beat = Beat(self._clock)
        try:
            while True:
                deadline = await beat.next()
                frame, speech = self._next(deadline)
                await self._send(self._codec.encode(frame))
                self.sent += 1
                self.max_late = beat.max_late
                if speech is not None and not speech.frames:
                    self._speech.popleft()
                    self._finish(speech)
        except ClientError as error:
            self._fail(error)
        finally:
            self._fail()

    def _next(self, deadline: float) -> tuple[Samples, _Speech | None]:
        from salon.media import SILENCE

        if not self._speech:
            if self.muted:
                self._live.clear()
            return (self._live.popleft() if self._live else SILENCE), None
        speech = self._speech[0]
        if len(speech.frames) == speech.count:
            speech.start = deadline - FRAME_SECONDS
        return speech.frames.popleft(), speech

    def _finish(self, speech: _Speech) -> None:
        if not speech.done.done():
            speech.done.set_result(Spoken(speech.start, self._clock.monotonic(), speech.count))

    def _fail(self, error: ClientError | None = None) -> None:
        self._error = self._error or error or CallClosed(1000, "the microphone is closed")
        for speech in self._speech:
            if not speech.done.done():
                speech.done.set_exception(self._error)

    async def _record(self, source: AsyncIterator[Samples]) -> None:
        from salon.media import Framer

        framer = Framer()
        async for samples in source:
            for frame in framer.push(samples):
                if len(self._live) == MAX_LIVE:
                    self.dropped += 1
                self._live.append(frame.copy())
