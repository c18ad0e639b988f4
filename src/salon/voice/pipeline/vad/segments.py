"""From windows that are speech or not to events with the sound of each segment (V72, V73).

`SpeechState` decides, `SoundStore` holds the sound, `SegmentCutter` puts both together for one
stream. Sans-IO; times are ms since the stream began.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.media.level import to_dbfs
from salon.voice.pipeline.vad.base import VADEvent, VADEventType

MAX_WAITING: Final = 64
"""Events of a stream that wait for their call; beyond, a new one takes the oldest one's place."""
_SLACK_MS: Final = 4_000.0
"""Sound may wait this long for its window."""


@dataclass(frozen=True, slots=True)
class CutConfig:
    """Times in ms. `start_after_ms`: speech this long is told; speech shorter than
    `min_speech_ms` ends without a segment; `max_speech_ms`: then the segment ends and the next
    begins. `levels_per_second` 0: no levels; `tell_silence` False: no SILENCE."""

    silence_ms: float
    pad_ms: float
    min_speech_ms: float
    max_speech_ms: float
    start_after_ms: float
    levels_per_second: float
    tell_silence: bool


class Change(Enum):
    """What a window changed."""

    STARTED = auto()
    ENDED = auto()
    TOO_LONG = auto()
    QUIET = auto()


class SpeechState:
    """Speech begins after `start_after_ms` of it and ends after `silence_ms` of quiet."""

    __slots__ = ("_config", "_quiet_told", "begin_ms", "speaking", "voice_end_ms")

    def __init__(self, config: CutConfig) -> None:
        self._config = config
        self.begin_ms: float | None = None
        """Where the speech, or what may become speech, begins."""
        self.voice_end_ms = 0.0
        """End of the last window of speech; 0 before the first."""
        self.speaking = False
        self._quiet_told = False

    def feed(self, voiced: bool, start_ms: float, end_ms: float) -> Change | None:
        """The next window; what it changed. After ENDED and TOO_LONG call `leave`."""
        if voiced:
            return self._voice(start_ms, end_ms)
        return self._no_voice(end_ms)

    def leave(self) -> None:
        """The speech is over."""
        self.begin_ms = None
        self.speaking = False
        self._quiet_told = False

    def quiet(self, end_ms: float) -> bool:
        """Whether to tell, now, that nobody speaks; True once per stretch."""
        due = not (self._quiet_told or self.speaking) and self._lasted(end_ms)
        self._quiet_told = self._quiet_told or due
        return due

    def _lasted(self, end_ms: float) -> bool:
        return end_ms - self.voice_end_ms >= self._config.silence_ms

    def _voice(self, start_ms: float, end_ms: float) -> Change | None:
        if self.begin_ms is None:
            self.begin_ms = start_ms
        if not self.speaking and end_ms - self.begin_ms >= self._config.start_after_ms:
            self.speaking = True
            self.voice_end_ms = end_ms
            return Change.STARTED
        self.voice_end_ms = end_ms
        return self._too_long(end_ms)

    def _no_voice(self, end_ms: float) -> Change | None:
        if self.speaking:
            return Change.ENDED if self._lasted(end_ms) else self._too_long(end_ms)
        config = self._config
        if self.begin_ms is not None:
            patience = min(config.silence_ms, config.start_after_ms)
            if end_ms - self.voice_end_ms >= patience:
                self.begin_ms = None  # it was nothing
        return None

    def _too_long(self, end_ms: float) -> Change | None:
        begin = self.begin_ms
        if self.speaking and begin is not None and end_ms - begin >= self._config.max_speech_ms:
            return Change.TOO_LONG
        return None


class SoundStore:
    """The newest sound of a stream in the format it came in, without copying it.

    A sample of all channels has `step` bytes. Pieces older than `most` samples go in any case.
    """

    __slots__ = ("_first", "_most", "_pieces", "_step", "end", "rate")

    def __init__(self, rate: int, step: int, most: int) -> None:
        self.rate = rate
        self._step = step
        self._most = most
        self._pieces: deque[bytes] = deque()
        self._first = 0
        self.end = 0
        """Samples so far."""

    def push(self, data: bytes) -> None:
        self._pieces.append(data)
        self.end += len(data) // self._step
        if self.end - self._first > self._most:
            self.drop(self.end - self._most)

    def place(self, ms: float) -> int:
        """The sample at a time."""
        return min(max(round(ms * self.rate / 1000), 0), self.end)

    def drop(self, before: int) -> None:
        """Forget pieces that lie wholly before a sample."""
        pieces = self._pieces
        while pieces and self._first + len(pieces[0]) // self._step <= before:
            self._first += len(pieces.popleft()) // self._step

    def cut(self, begin: int, end: int) -> bytes:
        """What is left of this stretch."""
        joined = b"".join(self._pieces)
        return joined[max(0, begin - self._first) * self._step : (end - self._first) * self._step]


class _Levels:
    """The RMS of every `interval` samples: `salon.media.LevelMeter` without peaks, at a third of
    its cost."""

    __slots__ = ("_count", "_energy", "_interval")

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._count = 0
        self._energy = 0.0

    def push(self, samples: Samples) -> float | None:
        """The level in dBFS of all since the last one, when it is due."""
        wide = samples.astype(np.float32)
        self._energy += float(wide.dot(wide))
        self._count += len(samples)
        if self._count < self._interval:
            return None
        level = to_dbfs((self._energy / self._count) ** 0.5)
        self._count, self._energy = 0, 0.0
        return level


class SegmentCutter:
    """One stream: frames go in by `push`, their windows by `window`, events come from `take`.

    `level_rate`: of the samples that `take` gets, per second.
    """

    __slots__ = (
        "_certain",
        "_config",
        "_events",
        "_floor",
        "_levels",
        "_state",
        "_voiced",
        "format",
        "store",
    )

    def __init__(self, config: CutConfig, frame: AudioFrame, level_rate: int) -> None:
        self.format = frame.sample_rate, frame.channels, frame.sample_width
        longest = config.max_speech_ms + config.pad_ms + config.silence_ms + _SLACK_MS
        self.store = SoundStore(
            frame.sample_rate,
            frame.channels * frame.sample_width,
            round(longest * frame.sample_rate / 1000),
        )
        self._config = config
        self._state = SpeechState(config)
        self._events: deque[VADEvent] = deque(maxlen=MAX_WAITING)
        pace = config.levels_per_second
        self._levels = _Levels(round(level_rate / pace)) if pace else None
        self._floor = 0
        self._certain = 0.0
        self._voiced = 0

    @property
    def speaking(self) -> bool:
        return self._state.speaking

    def push(self, frame: AudioFrame, stream: str) -> None:
        """The sound that the next windows are made of."""
        found = frame.sample_rate, frame.channels, frame.sample_width
        if found != self.format:
            raise ValueError(
                f"stream {stream!r} changed from {self.format} to {found} "
                "(rate, channels, width); reset it first"
            )
        self.store.push(frame.data)
        if self._events:
            self._lengthen(frame.data)

    def window(self, probability: float, voiced: bool, start_ms: float, end_ms: float) -> None:
        """What was found in the next window."""
        state = self._state
        change = state.feed(voiced, start_ms, end_ms)
        if voiced:
            self._certain += probability
            self._voiced += 1
        elif state.begin_ms is None and self._voiced:
            self._certain, self._voiced = 0.0, 0
        if change is Change.STARTED:
            self._start()
        elif change is not None:
            self._end(end_ms)
        if not voiced and self._config.tell_silence and state.quiet(end_ms):
            quiet = end_ms - state.voice_end_ms
            self._events.append(VADEvent(VADEventType.SILENCE, duration_ms=quiet))
        begin = end_ms if state.begin_ms is None else state.begin_ms
        self.store.drop(self._begin(begin))

    def take(self, samples: Samples | None = None) -> VADEvent | None:
        """The next event. With a frame's samples, the level when one is due and nothing else is."""
        level = None
        if samples is not None and self._levels is not None:
            level = self._levels.push(samples)
        if self._events:
            return self._events.popleft()
        if level is None:
            return None
        return VADEvent(VADEventType.AUDIO_LEVEL, level_db=level)

    def _begin(self, begin_ms: float) -> int:
        return max(self.store.place(begin_ms - self._config.pad_ms), self._floor)

    def _start(self) -> None:
        begin = self._state.begin_ms
        assert begin is not None
        sound = self.store.cut(self._begin(begin), self.store.end)
        sure = self._certain / self._voiced
        self._events.append(VADEvent(VADEventType.SPEECH_START, sound, sure))

    def _end(self, end_ms: float) -> None:
        state, store = self._state, self.store
        begin = state.begin_ms
        assert begin is not None
        end = store.place(end_ms)
        long_enough = state.voice_end_ms - begin >= self._config.min_speech_ms
        sound = store.cut(self._begin(begin), end) if long_enough else None
        sure = self._certain / self._voiced
        self._events.append(VADEvent(VADEventType.SPEECH_END, sound, sure, end_ms - begin))
        self._floor = end
        self._certain, self._voiced = 0.0, 0
        state.leave()

    def _lengthen(self, data: bytes) -> None:
        """A start that still waits holds all sound until it is told."""
        for event in reversed(self._events):
            if event.type is VADEventType.SPEECH_END:
                return
            if event.type is VADEventType.SPEECH_START:
                event.audio_bytes = (event.audio_bytes or b"") + data
                return
