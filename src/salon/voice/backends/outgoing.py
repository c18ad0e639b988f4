"""Sound on its way to one participant: any size and rate in, 20 ms at 16 kHz out, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from salon.media.fade import fade_out
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, AudioChunk, Samples
from salon.media.framer import Framer
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler

_PATIENCE: Final = 3
"""Ticks that a piece shorter than a frame waits for its rest."""
_PCM: Final = "pcm_s16le"


class OutgoingAudio:
    """A bounded queue of frames; whoever fills it may `wait` for room, or loses the oldest.

    `generation` grows when the queue is cleared: what was being sent before has no more place.
    """

    def __init__(self, max_frames: int) -> None:
        if max_frames < 1:
            raise ValueError(f"a queue of {max_frames} frames holds nothing")
        self._max = max_frames
        self._frames: deque[Samples] = deque()
        self._framer = Framer()
        self._resampler = Resampler(SAMPLE_RATE, SAMPLE_RATE)
        self._room = asyncio.Event()
        self._room.set()
        self._starved = 0
        self.generation = 0
        self.dropped = 0
        """Frames that gave way to newer ones."""

    def __len__(self) -> int:
        return len(self._frames) + bool(self._framer.pending)

    def put(self, chunk: AudioChunk) -> None:
        """Queue a chunk. `ValueError` for another format than ``pcm_s16le`` or a rate that can't
        be resampled."""
        if chunk.format != _PCM:
            raise ValueError(f"a chunk is {chunk.format!r}; only {_PCM!r} can be sent")
        samples = decode_pcm(chunk.data, channels=chunk.channels)
        if chunk.sample_rate != self._resampler.in_rate:
            self._push(self._resampler.flush())
            self._resampler = Resampler(chunk.sample_rate, SAMPLE_RATE)
        self._push(self._resampler.process(samples))
        if chunk.is_final:
            self.finish()

    def _push(self, samples: Samples) -> None:
        self._starved = 0
        self._frames.extend(self._framer.push(samples))
        while len(self._frames) > self._max:
            self._frames.popleft()
            self.dropped += 1
        if len(self._frames) >= self._max:
            self._room.clear()

    def finish(self) -> None:
        """No more comes of what is being said: its last piece need not wait."""
        self._push(self._resampler.flush())
        last = self._framer.flush()
        if last is not None:
            self._frames.append(last)

    @property
    def whole(self) -> bool:
        """A whole frame waits."""
        return bool(self._frames)

    def take(self) -> Samples | None:
        """The frame of this tick, ``int16[320]``, if there is one."""
        if self._frames:
            frame = self._frames.popleft()
            if not self._room.is_set() and len(self._frames) < self._max:
                self._room.set()
            return frame
        if self._framer.pending:
            self._starved += 1
            if self._starved >= _PATIENCE:
                self._starved = 0
                return self._framer.flush()
        return None

    def clear(self) -> None:
        """Drop everything but one frame that fades out, and turn away who was filling it."""
        first = self._frames[0] if self._frames else None
        self.stop()
        if first is not None:
            self._frames.append(fade_out(first, FRAME_SAMPLES))

    def stop(self) -> None:
        """Drop everything, and turn away who was filling it."""
        self._frames.clear()
        self._framer.clear()
        self._resampler.reset()
        self.generation += 1
        self._room.set()

    async def wait(self) -> None:
        """Until there is room, or the queue is cleared."""
        await self._room.wait()
