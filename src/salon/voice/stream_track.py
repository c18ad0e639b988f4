"""Sound that comes from elsewhere while it plays: another server's voice, a live line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from salon.media.frame import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE, Samples

MAX_SECONDS = 30
"""How much may wait to be played."""
LEAD_MS = 40
"""What is waited for after it ran dry, so that uneven arrival is not heard."""


class StreamTrack:
    """A `Track` fed with ``int16[n]`` 16 kHz; it plays as fast as time goes, however it is fed.

    With `block_ms` it gives sound in blocks of that length, one per that time, each filled up with
    silence (G172); lengths are rounded up to whole frames. Without, it plays on as long as there is
    sound. What exceeds `max_seconds` is not taken and counted in `dropped`. It can't be paused:
    whoever speaks goes on. `on_close` is called once when it plays no more.
    """

    pausable = False

    def __init__(
        self,
        *,
        block_ms: int | None = None,
        lead_ms: int = LEAD_MS,
        max_seconds: float = MAX_SECONDS,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.dropped = 0
        """Samples not taken because too many wait."""
        self._bound = int(max_seconds * SAMPLE_RATE)
        self._block = -(-block_ms // FRAME_MS) * FRAME_SAMPLES if block_ms else FRAME_SAMPLES
        self._lead = max(lead_ms * SAMPLE_RATE // 1000, self._block if block_ms else 0)
        self._patience = self._lead / SAMPLE_RATE
        self._on_close = on_close
        self._pieces: deque[Samples] = deque()
        self._waiting = 0
        self._running: Samples | None = None
        """What is left of the block that plays."""
        self._playing = False
        self._since: float | None = None
        self._ended = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Samples that wait to be played."""
        return self._waiting

    @property
    def closed(self) -> bool:
        """It plays no more."""
        return self._closed

    @property
    def finished(self) -> bool:
        """Nothing more comes and everything was played."""
        return self._ended and not self._waiting and self._running is None

    def feed(self, samples: Samples) -> bool:
        """Add sound; False if not all of it was taken. After `end` or `close` nothing is."""
        if self._ended or self._closed:
            return False
        taken = samples[: max(0, self._bound - self._waiting)]
        if len(taken):
            self._pieces.append(taken)
            self._waiting += len(taken)
        self.dropped += len(samples) - len(taken)
        return len(taken) == len(samples)

    def end(self) -> None:
        """Nothing more comes; what waits is still played."""
        self._ended = True

    def next_frame(self, now: float) -> Samples | None:
        """The next 20 ms, zero-padded where the sound breaks off."""
        block = self._running
        if block is None:
            if not self._waiting:
                self._playing, self._since = False, None
                return None
            if not self._playing and not self._may_start(now):
                return None
            self._playing = True
            block = self._take(self._block)
        self._running = block[FRAME_SAMPLES:] if len(block) > FRAME_SAMPLES else None
        return block[:FRAME_SAMPLES]

    def _may_start(self, now: float) -> bool:
        """Enough waits, or nothing more came for as long as that takes."""
        if self._since is None:
            self._since = now
        late = now - self._since >= self._patience - 1e-6
        return late or self._ended or self._waiting >= self._lead

    def _take(self, count: int) -> Samples:
        first = self._pieces[0]
        if len(first) >= count:
            return self._from_first(first, count)
        frame = np.zeros(count, dtype=np.int16)
        at = 0
        while at < count and self._pieces:
            part = self._from_first(self._pieces[0], count - at)
            frame[at : at + len(part)] = part
            at += len(part)
        return frame

    def _from_first(self, first: Samples, count: int) -> Samples:
        part = first[:count]
        if len(first) > count:
            self._pieces[0] = first[count:]
        else:
            self._pieces.popleft()
        self._waiting -= len(part)
        return part

    def close(self) -> None:
        """Drop what waits."""
        self._closed = True
        self._running = None
        self._pieces.clear()
        self._waiting = 0
        self._on_close()
