"""How loud a call is, for those who watch (V128)."""

from __future__ import annotations

from collections.abc import Callable

from salon.media.frame import Samples
from salon.media.level import LevelMeter
from salon.voice.events import Level


class Levels:
    """Posts a `Level` per direction that is watched, at most ten times a second of sound."""

    def __init__(
        self,
        post: Callable[[Level], None],
        inbound: bool,
        outbound: bool,
        is_speech: Callable[[], bool | None],
    ) -> None:
        self._post = post
        self._is_speech = is_speech
        self._in = LevelMeter() if inbound else None
        self._out = LevelMeter() if outbound else None

    def inbound(self, samples: Samples) -> None:
        """Sound of the caller, ``int16[n]`` 16 kHz."""
        if self._in is not None and (level := self._in.push(samples)) is not None:
            self._post(Level(level.rms_dbfs, is_speech=self._is_speech()))

    def outbound(self, samples: Samples) -> None:
        """Sound for the caller."""
        if self._out is not None and (level := self._out.push(samples)) is not None:
            self._post(Level(level.rms_dbfs, outbound=True))
