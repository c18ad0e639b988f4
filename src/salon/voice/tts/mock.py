"""A voice for tests and demonstrations: a tone as long as the text, with word times."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.media.frame import SAMPLE_RATE, AudioChunk
from salon.media.timing import WordTime
from salon.media.tone import Tone
from salon.voice.errors import SpeechError
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.context import TTSContext, TTSContextLevel
from salon.voice.tts.gain import amplify
from salon.voice.tts.provider import TTSProvider
from salon.voice.tts.text import blank, is_speakable

if TYPE_CHECKING:
    from salon.models.content import AudioContent

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

    async def speak(
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


class MockTTSProvider(TTSProvider):
    """Answers with one chunk a word: ``mock-audio-<word>`` as bytes, not sound.

    `calls` keeps text and voice of each call, `contexts` the contexts of the streaming ones,
    `released` the contexts given up.
    """

    def __init__(
        self,
        voice: str = "mock-voice",
        *,
        context_level: TTSContextLevel = TTSContextLevel.NONE,
        make_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.calls: list[dict[str, Any]] = []
        self.contexts: list[TTSContext | None] = []
        self.released: list[str] = []
        self._default_voice = voice
        self._context_level = context_level
        self._make_id = make_id

    @property
    def default_voice(self) -> str:
        """As given."""
        return self._default_voice

    @property
    def context_level(self) -> TTSContextLevel:
        """As given."""
        return self._context_level

    def release_context(self, context_id: str) -> None:
        """Noted in `released`."""
        self.released.append(context_id)

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        """The address of a recording that is nowhere, 50 ms long per character."""
        from salon.models.content import AudioContent

        self._note(text, voice)
        return AudioContent(
            url=f"https://mock.test/audio/{self._make_id()}.mp3",
            mime_type="audio/mpeg",
            duration_seconds=len(text) * 0.05,
            transcript=text,
        )

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: TTSContext | None = None
    ) -> AsyncIterator[AudioChunk]:
        """One chunk a word, the last final; of an empty text none."""
        self._note(text, voice)
        self.contexts.append(context)
        words = text.split()
        for number, word in enumerate(words, 1):
            yield AudioChunk(f"mock-audio-{word}".encode(), is_final=number == len(words))

    def _note(self, text: str, voice: str | None) -> None:
        self.calls.append({"text": text, "voice": voice or self._default_voice})
