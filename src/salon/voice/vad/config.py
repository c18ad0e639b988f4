"""How a pipeline's voice activity detection is tuned (V239)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import overload

from salon.base import ConfigurationError
from salon.voice.vad.segmenter import SegmenterConfig

SILENCE_THRESHOLD_MS = 500
SPEECH_PAD_MS = 300
MIN_SPEECH_DURATION_MS = 250
VOICE_THRESHOLD = 0.5

VOICE_THRESHOLD_KEY = "voice_threshold"
MAX_SPEECH_KEY = "max_speech_duration_ms"
LEVELS_KEY = "levels_per_second"
BUILT_IN_KEYS = (VOICE_THRESHOLD_KEY, MAX_SPEECH_KEY, LEVELS_KEY)
"""What the built-in detector knows in `VADConfig.extra`."""
_TIMES = ("silence_threshold_ms", "speech_pad_ms", "min_speech_duration_ms")


class VADConfigError(ConfigurationError, ValueError):
    """A `VADConfig` asks for what the detector can't do."""


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


@dataclass(slots=True)
class VADConfig:
    """Tuning of a detector; None keeps the detector's own value (V239).

    `silence_threshold_ms`: quiet that ends speech; `speech_pad_ms`: sound kept before the speech;
    `min_speech_duration_ms`: shorter speech is ignored. `extra`: the detector's own keys; the
    built-in one knows ``voice_threshold`` (0..1), ``max_speech_duration_ms`` and
    ``levels_per_second``.
    """

    silence_threshold_ms: int | None = None
    speech_pad_ms: int | None = None
    min_speech_duration_ms: int | None = None
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Nothing is set."""
        return not self.extra and all(getattr(self, name) is None for name in _TIMES)

    @overload
    def settings(self) -> VADSettings: ...

    @overload
    def settings(self, provider: str, known: Collection[str]) -> dict[str, object]: ...

    def settings(
        self, provider: str | None = None, known: Collection[str] = ()
    ) -> VADSettings | dict[str, object]:
        """Without arguments: for the built-in detector, whose own values are 500, 300 and 250 ms.

        With them: only what is set, as a dictionary, for the detector called `provider` that knows
        the `extra` keys `known`. `VADConfigError`, which is both a `ConfigurationError` and a
        `ValueError`, for a negative time, an unknown key in `extra` or a threshold outside 0..1.
        """
        if provider is not None:
            return self._chosen(provider, known)
        chosen = self._chosen("the built-in detector", BUILT_IN_KEYS)
        threshold = number(VOICE_THRESHOLD_KEY, chosen.get(VOICE_THRESHOLD_KEY, VOICE_THRESHOLD))
        if not 0 <= threshold <= 1:
            raise VADConfigError(f"voice_threshold is {threshold}, not within 0..1")
        return VADSettings(
            _or(self.silence_threshold_ms, SILENCE_THRESHOLD_MS),
            _or(self.speech_pad_ms, SPEECH_PAD_MS),
            _or(self.min_speech_duration_ms, MIN_SPEECH_DURATION_MS),
            threshold,
        )

    def _chosen(self, provider: str, known: Collection[str]) -> dict[str, object]:
        unknown = sorted(set(self.extra) - set(known))
        if unknown:
            raise VADConfigError(
                f"VADConfig.extra has keys that {provider} does not know: {', '.join(unknown)}; "
                f"known: {', '.join(sorted(known)) or 'none'}"
            )
        chosen = dict(self.extra)
        for name in _TIMES:
            value = getattr(self, name)
            if value is None:
                continue
            if value < 0:
                raise VADConfigError(f"VADConfig.{name} is {value}, not 0 or more")
            chosen[name] = value
        return chosen


def number(name: str, value: object) -> float:
    """A setting that must be a number; `VADConfigError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VADConfigError(f"{name} is {value!r}, not a number")
    return float(value)


def _or(value: int | None, own: int) -> int:
    return own if value is None else value
