"""What one call says is heard in another (G85): one direction between two media sessions.

A copy of the caller's sound, as detectors and recorder get it, waits in a short queue until the
other call's next tick. Both run at 16 kHz inside, so each side keeps its own codec.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from salon.media.frame import Samples
from salon.voice.bridge_queue import JitterQueue
from salon.voice.session import MediaSession

QUEUE_FRAMES: Final = 25
"""500 ms; beyond, the oldest give way (G85)."""


@dataclass(frozen=True, slots=True)
class CallBridgeStatistics:
    """Figures of one direction: `waiting` frames now; `dropped` ones because the queue was full,
    `shed` ones taken out against delay; `underruns` are times it had run dry."""

    waiting: int
    dropped: int
    shed: int
    underruns: int


class CallBridge:
    """Carries what is said in `source` into `sink`, from now until `close`.

    While `silenced()` is true what comes is thrown away and `sink` hears nothing of it. Silence is
    not carried: where nobody speaks, nothing is sent.
    """

    def __init__(
        self,
        source: MediaSession,
        sink: MediaSession,
        *,
        silenced: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._sink = sink
        self._silenced = silenced
        self._queue = JitterQueue(bound=QUEUE_FRAMES)
        source.taps.append(self.push)
        sink.sources.append(self.take)

    def push(self, samples: Samples) -> None:
        """What was said, ``int16[n]`` 16 kHz, any length."""
        self._queue.push(samples)

    def take(self) -> Samples | None:
        """What is heard of it in this tick, ``int16[320]``, read-only; called once per tick."""
        if self._queue.idle:
            return None
        frame = self._queue.read()
        return None if frame is None or self._silenced() else frame

    def statistics(self) -> CallBridgeStatistics:
        """Figures so far."""
        queue = self._queue
        return CallBridgeStatistics(queue.depth, queue.overflows, queue.shed, queue.underruns)

    def close(self) -> None:
        """Nothing more is carried, nor what still waits. Idempotent."""
        with suppress(ValueError):
            self._source.taps.remove(self.push)
        with suppress(ValueError):
            self._sink.sources.remove(self.take)
        self._queue.clear()
