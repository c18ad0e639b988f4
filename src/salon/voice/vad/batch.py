"""Voice activity of all calls of a process, one network evaluation for all of them at a time.

Streams take sound whenever it comes; `BatchedVad.run`, called once per tick, evaluates whatever
windows are complete. Nothing here is for several threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salon.base import RAISED, SYSTEM_CLOCK, Clock
from salon.media.frame import SAMPLE_RATE, Samples
from salon.voice.vad.model import CONTEXT_SAMPLES, STATE_SHAPE, WINDOW_SAMPLES, SileroModel

logger = logging.getLogger("salon.voice")

BACKLOG_SAMPLES = 2 * SAMPLE_RATE
"""The most a stream keeps unprocessed; older sound is dropped."""
MAX_ROUNDS = BACKLOG_SAMPLES // WINDOW_SAMPLES
"""Of one `run`: enough for a full backlog, and an end if callbacks push without end."""

_TAKEN = CONTEXT_SAMPLES + WINDOW_SAMPLES
_SCALE = np.float32(1 / 32768)

OnWindow = Callable[[float, int], None]
"""Gets the probability of speech and the end of the window, in samples since the stream began."""


@dataclass(frozen=True, slots=True)
class VadStatistics:
    """Totals since the start. `failures` counts callbacks that raised."""

    streams: int
    batches: int
    windows: int
    dropped_samples: int
    failures: int

    @property
    def mean_batch(self) -> float:
        """Windows per evaluation, 0 before the first."""
        return self.windows / self.batches if self.batches else 0.0


class VadStream:
    """One call's sound on its way to the detector; made by `BatchedVad.open`."""

    __slots__ = (
        "_end",
        "_heard",
        "_queued",
        "_sound",
        "_start",
        "_vad",
        "failures",
        "on_window",
        "row",
    )

    def __init__(self, vad: BatchedVad, on_window: OnWindow, row: int) -> None:
        self._vad: BatchedVad | None = vad
        self.on_window = on_window
        self.row = row
        self.failures = 0
        self._sound = np.empty(CONTEXT_SAMPLES + BACKLOG_SAMPLES, dtype=np.int16)
        self._sound[:CONTEXT_SAMPLES] = 0
        self._start = self._end = CONTEXT_SAMPLES
        self._heard = 0
        self._queued = False

    @property
    def closed(self) -> bool:
        return self._vad is None

    @property
    def pending(self) -> int:
        """Samples not evaluated yet."""
        return self._end - self._start

    def push(self, samples: Samples) -> None:
        """Add ``int16[n]``, 16 kHz mono, of any length; copied. Ignored once closed.

        Beyond `BACKLOG_SAMPLES` the oldest sound is dropped and counted; `end_sample` of later
        windows counts it as heard.
        """
        if self._vad is None:
            return
        count = len(samples)
        self._heard += count
        excess = self._end - self._start + count - BACKLOG_SAMPLES
        if excess > 0:
            kept = np.concatenate((self._sound[self._start - CONTEXT_SAMPLES : self._end], samples))
            self._sound[:] = kept[-len(self._sound) :]
            self._start, self._end = CONTEXT_SAMPLES, len(self._sound)
            self._vad.count_dropped(excess)
        else:
            if self._end + count > len(self._sound):
                self._compact()
            self._sound[self._end : self._end + count] = samples
            self._end += count
        self._queue()

    def close(self) -> None:
        """Forget what is pending; no callback comes any more. Idempotent."""
        vad, self._vad = self._vad, None
        if vad is not None:
            vad.release(self)

    def take(self) -> Samples:
        """A view of the next window with its context, ``int16[576]``; used by `BatchedVad`."""
        self._queued = False
        end = self._start + WINDOW_SAMPLES
        return self._sound[self._start - CONTEXT_SAMPLES : end]

    def advance(self) -> int:
        """Leave the window that was taken behind; its end in the stream. Used by `BatchedVad`."""
        self._start += WINDOW_SAMPLES
        end_sample = self._heard - (self._end - self._start)
        if not self._queue():
            self._compact()  # while little is left to move: the sound stays in a few cache lines
        return end_sample

    def _queue(self) -> bool:
        complete = self._end - self._start >= WINDOW_SAMPLES
        if complete and not self._queued and self._vad is not None:
            self._queued = True
            self._vad.queue(self)
        return complete

    def _compact(self) -> None:
        left = self._end - self._start + CONTEXT_SAMPLES
        self._sound[:left] = self._sound[self._start - CONTEXT_SAMPLES : self._end]
        self._start, self._end = CONTEXT_SAMPLES, left


class BatchedVad:
    """The detector shared by all calls.

    `model` None: every window counts as speech with probability 1.0 (G286). `on_batch` gets the
    size and the seconds of each evaluation.
    """

    def __init__(
        self,
        model: SileroModel | None,
        *,
        on_batch: Callable[[int, float], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.on_batch = on_batch
        self._model = model
        self._clock = clock
        self._ready: list[VadStream] = []
        self._free: list[int] = []
        self._states = np.zeros((0, *STATE_SHAPE), dtype=np.float32)
        self._sound = np.zeros((0, _TAKEN), dtype=np.float32)
        self._running = False
        self._batches = self._windows = self._dropped = self._failures = 0

    @property
    def has_model(self) -> bool:
        """False: every window counts as speech."""
        return self._model is not None

    def open(self, on_window: OnWindow) -> VadStream:
        """A fresh stream. `on_window` is called from `run`, for its windows in order."""
        if not self._free:
            self._grow()
        return VadStream(self, on_window, self._free.pop())

    def run(self) -> None:
        """Evaluate every complete window, one of each stream per batch, until none is left.

        Callbacks may open and close streams and push. One that raises is counted and logged, the
        others go on. A call from inside a callback does nothing.
        """
        if self._running:
            return
        self._running = True
        try:
            for _ in range(MAX_ROUNDS):
                batch = [stream for stream in self._ready if not stream.closed]
                self._ready = []
                if not batch:
                    break
                self._round(batch)
        finally:
            self._running = False

    def statistics(self) -> VadStatistics:
        return VadStatistics(
            streams=len(self._states) - len(self._free),
            batches=self._batches,
            windows=self._windows,
            dropped_samples=self._dropped,
            failures=self._failures,
        )

    def queue(self, stream: VadStream) -> None:
        """A stream has a complete window; called by the stream."""
        self._ready.append(stream)

    def release(self, stream: VadStream) -> None:
        """A stream is closed; called by the stream."""
        self._states[stream.row] = 0
        self._free.append(stream.row)

    def count_dropped(self, samples: int) -> None:
        """A stream dropped sound; called by the stream."""
        self._dropped += samples

    def _round(self, batch: list[VadStream]) -> None:
        size = len(batch)
        began = self._clock.monotonic()
        probabilities = self._evaluate(batch)
        seconds = self._clock.monotonic() - began
        self._batches += 1
        self._windows += size
        ends = [stream.advance() for stream in batch]
        for stream, probability, end in zip(batch, probabilities, ends, strict=True):
            if stream.closed:
                continue
            try:
                stream.on_window(probability, end)
            except RAISED:  # the edge of one call; the other calls go on
                self._failed(stream)
        if self.on_batch is not None:
            self.on_batch(size, seconds)

    def _evaluate(self, batch: list[VadStream]) -> list[float]:
        sound = self._sound[: len(batch)]
        for row, stream in enumerate(batch):
            sound[row] = stream.take()
        if self._model is None:
            return [1.0] * len(batch)
        sound *= _SCALE
        rows: NDArray[np.intp] = np.fromiter((stream.row for stream in batch), np.intp, len(batch))
        states = self._states[rows]
        probabilities = self._model.evaluate(
            sound[:, CONTEXT_SAMPLES:], sound[:, :CONTEXT_SAMPLES], states
        )
        self._states[rows] = states
        found: list[float] = probabilities.tolist()
        return found

    def _failed(self, stream: VadStream) -> None:
        self._failures += 1
        stream.failures += 1
        if stream.failures & (stream.failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
            logger.exception("voice activity callback failed (%d times)", stream.failures)

    def _grow(self) -> None:
        old = len(self._states)
        added = max(old, 16)
        fresh = np.zeros((added, *STATE_SHAPE), dtype=np.float32)
        self._states = np.concatenate((self._states, fresh))
        self._sound = np.zeros((old + added, _TAKEN), dtype=np.float32)
        self._free = list(range(old + added - 1, old - 1, -1))
