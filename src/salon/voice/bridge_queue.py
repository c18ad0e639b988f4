"""What one speaker has said and nobody has heard yet: a few frames that even out jitter and drift.

Plain state, no clock and no lock: reading happens once per 20 ms window.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from salon.media.frame import FRAME_MS, FRAME_SAMPLES, Samples
from salon.media.framer import Framer
from salon.media.stretch import Stretcher

PRIME: Final = 2
"""Frames that must be there before a speaker is read; also the depth a queue returns to."""
BOUND: Final = 8
"""Frames a queue holds unless told otherwise; the oldest give way."""
STANDING: Final = 1000 // FRAME_MS
"""Windows a queue must be too deep, without a break, before a frame is taken out."""
_PATIENCE: Final = STANDING
_HASTE: Final = STANDING // 2
_RISE: Final = (np.arange(FRAME_SAMPLES, dtype=np.float32) + 0.5) / FRAME_SAMPLES
_FALL: Final = 1.0 - _RISE


class JitterQueue:
    """Frames of ``int16[320]`` between one source and the windows.

    It is read only after `prime` frames have come, or when fewer have waited that many windows and
    no more came. Run dry, it gives silence (counted) and primes again. Deeper than `prime` for 1 s
    without a break, it gives up the least it had too much: at quiet moments; if none comes, by
    fading one frame over into the next, after another second, or half a second where there is more
    to give up. So the clock of a source may run almost 4 % fast without delay building up.
    """

    __slots__ = (
        "_above",
        "_bound",
        "_framer",
        "_frames",
        "_least",
        "_prime",
        "_primed",
        "_stretcher",
        "_waited",
        "overflows",
        "shed",
        "underruns",
    )

    def __init__(self, prime: int = PRIME, *, bound: int = BOUND) -> None:
        if not 1 <= prime <= bound:
            raise ValueError(f"prime is {prime}, not within 1..{bound}")
        self._bound = bound
        # None stands for a frame of digital silence.
        self._frames: deque[Samples | None] = deque()
        self._framer = Framer()
        self._stretcher = Stretcher()
        self._prime = prime
        self._primed = False
        self._waited = 0
        self._above = 0
        self._least = 0
        self.underruns = 0
        """Times it was read and had run dry."""
        self.overflows = 0
        """Frames dropped because it was full."""
        self.shed = 0
        """Frames taken out against delay."""

    @property
    def depth(self) -> int:
        """Whole frames that wait."""
        return len(self._frames)

    @property
    def idle(self) -> bool:
        """Whether reading would give nothing and change nothing."""
        return not self._frames and not self._primed

    def push(self, samples: Samples) -> None:
        """Add ``int16[n]`` at 16 kHz; an array of one frame is kept, not copied."""
        if len(samples) == FRAME_SAMPLES and not self._framer.pending:
            self._add(samples)
        else:
            for frame in self._framer.push(samples):
                self._add(frame)

    def read(self) -> Samples | None:
        """This window's frame; None for silence."""
        depth = len(self._frames)
        if not self._primed:
            if not depth:
                self._waited = 0
                return None
            self._waited += 1
            if depth < self._prime and self._waited <= self._prime:
                return None
            self._primed = True
            self._waited = 0
        if not depth:
            self.underruns += 1
            self._primed = False
            self._above = 0
            return None
        if depth <= self._prime:
            self._above = 0
        else:
            # What jitter may need is not given up, only the least that was there all the time.
            self._least = min(self._least, depth) if self._above else depth
            self._above += 1
            if self._above > STANDING:
                self._shed_one()
        return self._frames.popleft()

    def pop(self) -> Samples | None:
        """The oldest frame at once, primed or not; None for silence or an empty queue."""
        self._primed = False
        self._waited = 0
        return self._frames.popleft() if self._frames else None

    def skip(self, windows: int) -> None:
        """That many windows were never read: give up as many frames, but not below `prime`."""
        for _ in range(min(windows, len(self._frames) - self._prime)):
            self._frames.popleft()
            self.shed += 1

    def clear(self) -> None:
        """Forget what waits."""
        self._frames.clear()
        self._framer.clear()
        self._primed = False
        self._waited = 0
        self._above = 0

    def _add(self, frame: Samples) -> None:
        if len(self._frames) == self._bound:
            self._frames.popleft()
            self.overflows += 1
        # Looking at two samples is enough for nearly every frame that is not silent.
        sounding = frame[0] or frame[-1] or frame.any()
        self._frames.append(frame if sounding else None)

    def _shed_one(self) -> None:
        """Take one of the two oldest frames out, if it can be done without being heard or has
        waited long enough."""
        first, second = self._frames[0], self._frames[1]
        spare = self._least - self._prime
        if first is None or self._stretcher.quiet(first):
            self._frames.popleft()
        elif second is None or self._stretcher.quiet(second):
            del self._frames[1]
        elif self._above > STANDING + (_HASTE if spare > 1 else _PATIENCE):
            faded = np.rint(first * _FALL + second * _RISE).astype(np.int16)
            self._frames.popleft()
            self._frames[0] = faded
        else:
            return
        self._least -= 1
        self._above = STANDING if spare > 1 else 0
        self.shed += 1
