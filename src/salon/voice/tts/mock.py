"""A voice for tests and demonstrations: a tone as long as the text, with word times."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.media.frame import SAMPLE_RATE
from salon.media.timing import WordTime
from salon.media.tone import Tone
from salon.voice.errors import SpeechError
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.gain import amplify
from salon.voice.tts.text import blank, is_speakable

MAX_REMEMBERED: Final = 1000
_WORD: Final = re.compile(r"\S+")


class MockTextToSpeech(TextToSpeech):
    """Speaks every character for `char_ms` at speed 1, in chunks of `chunk_ms`.

    `delay_s` passes on `clock` before the first chunk and `chunk_delay_s` before each later one.
    A text with an entry in `failures` fails with that message after `fail_after` chunks. `spoken`
    keeps the last texts in order, `cancelled` those that were not taken to their end.
    """

    has_word_times = True

    def __init__(
        self,
        *,
        name: str = "mock",
        char_ms: int = 60,
        chunk_ms: int = 100,
        frequency: float = 440.0,
        delay_s: float = 0.0,
        chunk_delay_s: float = 0.0,
        failures: Mapping[str, str] | None = None,
        fail_after: int = 0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if char_ms < 1 or chunk_ms < 1:
            raise ValueError("char_ms and chunk_ms must be 1 or more")
        self.name = name
        self.spoken: deque[tuple[str, VoiceSettings]] = deque(maxlen=MAX_REMEMBERED)
        self.cancelled: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._char_ms = char_ms
        self._chunk_ms = chunk_ms
        self._frequency = frequency
        self._delay_s = delay_s
        self._chunk_delay_s = chunk_delay_s
        self._failures = failures or {}
        self._fail_after = fail_after
        self._clock = clock
        self._started = False

    async def start(self) -> None:
        """Ready at once."""
        self._started = True

    async def close(self) -> None:
        """Pieces under way end with `SpeechError`."""
        self._started = False

    def duration_ms(self, text: str, settings: VoiceSettings = DEFAULT_VOICE) -> int:
        """Length of the sound of a text."""
        if not is_speakable(blank(text)):
            return 0
        return round(len(text) * self._char_ms / settings.speed)

    async def synthesize(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """A tone, with the words that begin in each chunk."""
        self.spoken.append((text, settings))
        total = self.duration_ms(text, settings)
        words = deque(self._words(text, total))
        tone = Tone(self._frequency)
        complete = False
        try:
            for index, start in enumerate(range(0, total, self._chunk_ms)):
                await self._pause(index)
                if not self._started:
                    raise SpeechError(self.name, "the engine is not started")
                if text in self._failures and index >= self._fail_after:
                    raise SpeechError(self.name, self._failures[text])
                end = min(start + self._chunk_ms, total)
                begun: list[WordTime] = []
                while words and words[0].start_ms < end:
                    begun.append(words.popleft())
                samples = tone.read((end - start) * SAMPLE_RATE // 1000)
                yield SpeechChunk(amplify(samples, settings.volume), tuple(begun))
            complete = True
        finally:
            if not complete:
                self.cancelled.append(text)

    async def _pause(self, index: int) -> None:
        seconds = self._chunk_delay_s if index else self._delay_s
        if seconds > 0:
            await self._clock.sleep(seconds)
        else:
            await asyncio.sleep(0)

    def _words(self, text: str, total_ms: int) -> list[WordTime]:
        length = max(len(text), 1)
        return [
            WordTime(
                match.group(),
                match.start() * total_ms // length,
                match.end() * total_ms // length,
                match.start(),
                match.end() - match.start(),
            )
            for match in _WORD.finditer(text)
            if is_speakable(match.group())
        ]
