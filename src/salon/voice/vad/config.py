"""How a pipeline's voice activity detection is tuned (V239)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from salon.base import ConfigurationError
from salon.voice.vad.segmenter import SegmenterConfig

SILENCE_THRESHOLD_MS = 500
SPEECH_PAD_MS = 300
MIN_SPEECH_DURATION_MS = 250
VOICE_THRESHOLD = 0.5

_EXTRA_KEYS = frozenset({"voice_threshold"})


@dataclass(frozen=True, slots=True)
class VADSettings:
    """What a `VADConfig` comes to for the built-in detector; times in ms."""

    silence_threshold_ms: int = SILENCE_THRESHOLD_MS
    speech_pad_ms: int = SPEECH_PAD_MS
    min_speech_duration_ms: int = MIN_SPEECH_DURATION_MS
    voice_threshold: float = VOICE_THRESHOLD

    def segments(self) -> SegmenterConfig:
        """The same for a `Segmenter`; `speech_pad_ms` is for whoever cuts the sound."""
        return SegmenterConfig(
            speech_padding_ms=self.min_speech_duration_ms,
            silence_padding_ms=self.silence_threshold_ms,
            voice_threshold=self.voice_threshold,
        )


@dataclass(frozen=True, slots=True)
class VADConfig:
    """Tuning of a detector; None keeps the detector's own value (V239).

    `silence_threshold_ms`: quiet that ends speech; `speech_pad_ms`: sound kept before and after;
    `min_speech_duration_ms`: shorter speech is ignored. `extra`: the detector's own keys; the
    built-in one knows ``voice_threshold`` (0..1).
    """

    silence_threshold_ms: int | None = None
    speech_pad_ms: int | None = None
    min_speech_duration_ms: int | None = None
    extra: Mapping[str, float] = field(default_factory=dict)

    def settings(self) -> VADSettings:
        """For the built-in detector, whose own values are 500, 300 and 250 ms.

        `ConfigurationError` for a negative time, an unknown key in `extra` or a threshold outside
        0..1.
        """
        unknown = sorted(set(self.extra) - _EXTRA_KEYS)
        if unknown:
            raise ConfigurationError(
                f"VADConfig.extra has unknown keys {unknown}; known: {sorted(_EXTRA_KEYS)}"
            )
        threshold = self.extra.get("voice_threshold", VOICE_THRESHOLD)
        if not 0 <= threshold <= 1:
            raise ConfigurationError(f"voice_threshold is {threshold}, not within 0..1")
        return VADSettings(
            _time("silence_threshold_ms", self.silence_threshold_ms, SILENCE_THRESHOLD_MS),
            _time("speech_pad_ms", self.speech_pad_ms, SPEECH_PAD_MS),
            _time("min_speech_duration_ms", self.min_speech_duration_ms, MIN_SPEECH_DURATION_MS),
            threshold,
        )


def _time(name: str, value: int | None, own: int) -> int:
    if value is None:
        return own
    if value < 0:
        raise ConfigurationError(f"VADConfig.{name} is {value}, not 0 or more")
    return value
