"""A recogniser that is given its sound in larger parts: `bufferSize` (G64)."""

from __future__ import annotations

from typing import Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance

MOST_SAMPLES: Final = SAMPLE_RATE
"""Nobody's words wait longer than a second for the rest of a part."""


class BufferedRecognizer(SpeechToText):
    """`engine`, which gets each utterance in parts of `size` bytes (16-bit samples at 16 kHz, at
    most one second of them), its end as it is. Belongs to one call; `engine` stays its owner's."""

    def __init__(self, engine: SpeechToText, size: int) -> None:
        self.name = engine.name
        self.supports_partials = engine.supports_partials
        self._engine = engine
        self._samples = min(max(size // 2, 1), MOST_SAMPLES)

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        inner = self._engine.recognize(hints, on_partial=on_partial, language=language)
        return _Buffered(inner, self._samples)


class _Buffered(Utterance):
    def __init__(self, inner: Utterance, samples: int) -> None:
        self._inner = inner
        self._size = samples
        self._part: Samples = np.empty(samples, dtype=np.int16)
        self._filled = 0

    def push(self, samples: Samples) -> None:
        while len(samples):
            taken = samples[: self._size - self._filled]
            self._part[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            samples = samples[len(taken) :]
            if self._filled == self._size:
                self._hand_on()

    def _hand_on(self) -> None:
        self._inner.push(self._part[: self._filled].copy())
        self._filled = 0

    async def finish(self) -> Transcription:
        if self._filled:
            self._hand_on()
        try:
            return await self._inner.finish()
        finally:
            self.decoder_wait_ms = self._inner.decoder_wait_ms

    def cancel(self) -> None:
        self._filled = 0
        self._inner.cancel()
