"""From the probability of each window to stretches of speech and of silence (G62, G121-G126).

Sans-IO: knows neither sound nor clocks, only probabilities with their times.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """G62. Speech of at least `speech_padding_ms` counts, `silence_padding_ms` of silence end it;
    a window is speech when its probability is above `voice_threshold`; with `silence_timeout_ms`,
    lasting silence is told again and again."""

    speech_padding_ms: int = 250
    silence_padding_ms: int = 100
    voice_threshold: float = 0.5
    silence_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech has lasted long enough to count; `start_ms` is its beginning (`speaking`)."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Start and length of the **speech** that ended (`silence`, G123)."""

    start_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class SilenceLasted:
    """Start and length of a stretch of **silence** (`silence`, G123)."""

    start_ms: int
    duration_ms: int


SegmentEvent = SpeechStarted | SpeechEnded | SilenceLasted


class Segmenter:
    """G122, the state of one track. A stretch that never became `SpeechStarted` ends unheard
    (G124)."""

    __slots__ = ("_config", "_silent_since", "_speech_since", "_told")

    def __init__(self, config: SegmenterConfig) -> None:
        self._config = config
        self._speech_since: int | None = None
        self._silent_since: int | None = None
        self._told = False

    def feed(self, probability: float, t_ms: int) -> tuple[SegmentEvent, ...]:
        """One window, in order; `t_ms` is its end."""
        if probability > self._config.voice_threshold:
            return self._voice(t_ms)
        return self._no_voice(t_ms)

    def _voice(self, t_ms: int) -> tuple[SegmentEvent, ...]:
        self._silent_since = None
        start = self._speech_since
        if start is None:
            self._speech_since = t_ms
        elif not self._told and t_ms - start >= self._config.speech_padding_ms:
            self._told = True
            return (SpeechStarted(start),)
        return ()

    def _no_voice(self, t_ms: int) -> tuple[SegmentEvent, ...]:
        if self._silent_since is None:
            self._silent_since = t_ms
        since, start = self._silent_since, self._speech_since
        events: tuple[SegmentEvent, ...] = ()
        if start is not None and t_ms - since >= self._config.silence_padding_ms:
            if self._told:  # then the speech was longer than the padding, too
                events = (SpeechEnded(start, since - start),)
            self._speech_since, self._told = None, False
            self._silent_since = since = t_ms
        timeout = self._config.silence_timeout_ms
        if timeout is not None and t_ms - since >= timeout:
            events += (SilenceLasted(since, t_ms - since),)
            self._silent_since = t_ms
        return events
