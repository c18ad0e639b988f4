"""Speech from a pool of worker programs: any program that keeps to the pipe protocol."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.resample import Resampler
from salon.media.timing import PhonemeTime, WordTime
from salon.voice.errors import SpeechError
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.gain import amplify
from salon.voice.tts.text import blank, is_speakable, split_text
from salon.voice.workers.frames import Fields
from salon.voice.workers.piece import WorkerSound
from salon.voice.workers.pool import WorkerPool, WorkerPoolStatistics

MAX_TEXT: Final = 50_000
"""Characters of one piece."""
PART_CHARS: Final = 400
"""A longer piece is spoken in parts; between them the process may serve others."""


class _Part:
    """Turns one part's sound into chunks whose times and offsets are those of the piece."""

    def __init__(self, text: str, offset: int, before: int, rate: int, volume: float) -> None:
        self.samples = 0
        self._text = text
        self._offset = offset
        self._before_ms = before * 1000 // SAMPLE_RATE
        self._resampler = Resampler(rate, SAMPLE_RATE)
        self._volume = volume

    def chunk(self, sound: WorkerSound) -> SpeechChunk:
        """The next chunk."""
        base = self._before_ms
        words = []
        for word in sound.words:
            start = self._offset + word.offset
            heard = self._text[start : start + word.length]
            times = word.start_ms + base, word.end_ms + base
            words.append(WordTime(heard, *times, start, len(heard)))
        phonemes = tuple(
            PhonemeTime(phoneme.ipa, phoneme.start_ms + base, phoneme.end_ms + base)
            for phoneme in sound.phonemes
        )
        # A copy, because a view of bytes could not be written to.
        made = np.frombuffer(sound.pcm, dtype="<i2").astype(np.int16)
        samples = self._resampler.process(made)
        return SpeechChunk(self._count(samples), tuple(words), phonemes)

    def rest(self) -> SpeechChunk:
        """What the resampler still holds."""
        return SpeechChunk(self._count(self._resampler.flush()))

    def _count(self, samples: Samples) -> Samples:
        self.samples += len(samples)
        return amplify(samples, self._volume)


class WorkerTextToSpeech(TextToSpeech):
    """Speaks with `pool`, which it starts and closes.

    A piece of more than `part_chars` characters is spoken in parts; `first_chars` is the same for
    its first part, where a natural pause allows (an engine slow to its first sound needs it).

    Emoji are not spoken (G81). Unknown voices and texts over `MAX_TEXT` are `SpeechError`.
    """

    def __init__(
        self, pool: WorkerPool, *, part_chars: int = PART_CHARS, first_chars: int | None = None
    ) -> None:
        self.name = pool.name
        self._pool = pool
        self._part_chars = part_chars
        self._first_chars = first_chars

    async def start(self) -> None:
        """Start the processes. `ConfigurationError` if the engine is missing."""
        hello = await self._pool.start()
        self.has_word_times = hello.words
        self.has_phoneme_times = hello.phonemes
        # The filter bank for this rate is made once, here rather than at the first word.
        Resampler(hello.sample_rate, SAMPLE_RATE).process(np.zeros(4096, dtype=np.int16))

    def voices(self) -> tuple[str, ...]:
        """The worker's voices; empty before `start`."""
        hello = self._pool.hello
        return () if hello is None else tuple(hello.voices)

    def statistics(self) -> WorkerPoolStatistics:
        """The pool's counts."""
        return self._pool.statistics()

    async def close(self) -> None:
        """End running pieces and all processes."""
        await self._pool.close()

    def prepare(self, text: str) -> str:
        """The text as the worker gets it, every character in its place; may refuse it."""
        return blank(text)

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece; nothing to say gives no chunk."""
        if len(text) > MAX_TEXT:
            raise SpeechError(self.name, f"{len(text)} characters are over the {MAX_TEXT} allowed")
        hello = self._pool.hello
        if hello is None:
            raise SpeechError(self.name, "the engine is not started")
        voice = hello.voices.get(settings.voice or hello.default_voice or "")
        rate = hello.sample_rate if voice is None else voice.sample_rate
        volume = 5.0 if hello.volume else settings.volume
        prepared = self.prepare(text)
        before = 0
        for offset, spoken in split_text(prepared, self._part_chars, self._first_chars):
            if not is_speakable(spoken):
                continue
            part = _Part(text, offset, before, rate, volume)
            async with aclosing(self._pool.speak(_request(spoken, settings), rate)) as sounds:
                async for sound in sounds:
                    yield part.chunk(sound)
            if part.samples:
                yield part.rest()
            before += part.samples


def _request(text: str, settings: VoiceSettings) -> Fields:
    return {
        "text": text,
        "voice": settings.voice,
        "language": settings.language,
        "speed": settings.speed,
        "volume": settings.volume,
    }
