"""A plain function as a stage."""

from __future__ import annotations

from collections.abc import Callable

from salon.media.frame import AudioFrame
from salon.voice.pipeline.postprocessor.base import AudioPostProcessor


class CallablePostProcessor(AudioPostProcessor):
    """Each frame becomes what `function(frame)` gives back.

    The function keeps no state of a stream, doesn't block and leaves the frame it gets as it is
    (`frame.with_samples(...)` makes the new one). `TypeError` when it gives anything but a frame.
    """

    def __init__(
        self, function: Callable[[AudioFrame], AudioFrame], *, name: str | None = None
    ) -> None:
        self._function = function
        self._name = name or str(getattr(function, "__name__", type(function).__name__))

    @property
    def name(self) -> str:
        return self._name

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        del stream
        made: object = self._function(frame)
        if not isinstance(made, AudioFrame):
            raise TypeError(f"{self._name} gave {type(made).__name__}, not an AudioFrame")
        return made
