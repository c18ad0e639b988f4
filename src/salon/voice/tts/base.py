"""The contract of speech synthesis.

An engine is process-wide and speaks one piece of text (usually a sentence) at a time. Cutting a
reply into sentences is done before (`salon.voice.sentences`), pacing after it (`speaking`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, AudioChunk, Samples
from salon.media.timing import PhonemeTime, WordTime
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_stream
from salon.voice.sentences import SentenceSplitter
from salon.voice.tts.context import TTSContext
from salon.voice.tts.provider import TTSProvider

if TYPE_CHECKING:
    from salon.models.content import AudioContent
    from salon.voice.voices import VoiceInfo

__all__ = [
    "DEFAULT_VOICE",
    "SpeechChunk",
    "TTSProvider",
    "TextToSpeech",
    "VoiceSettings",
]

MAX_WHOLE_S: Final = 600
"""`synthesize` holds its whole answer in memory: at most this many seconds of it."""


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """How to speak. `speed` 1.0 is normal (0.5-2.0); `volume` 5 is normal, 0-10 (G291)."""

    voice: str | None = None
    speed: float = 1.0
    volume: float = 5.0
    language: str | None = None


DEFAULT_VOICE = VoiceSettings()


@dataclass(frozen=True, slots=True, eq=False)
class SpeechChunk:
    """Sound of any length, ``int16[n]`` 16 kHz mono, with the words and sounds that start in it.

    Times count from the first sample of the *piece*, not of the chunk. Engines without times leave
    the tuples empty.
    """

    samples: Samples
    words: tuple[WordTime, ...] = ()
    phonemes: tuple[PhonemeTime, ...] = ()


def require_chunk(given: object, engine: str) -> SpeechChunk:
    """`given`, if it is a chunk of sound; `SpeechError` of `engine` otherwise."""
    if not isinstance(given, SpeechChunk):
        raise SpeechError(engine, f"gave {type(given).__name__}, no SpeechChunk")
    samples: object = given.samples
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16 or samples.ndim != 1:
        raise SpeechError(engine, "gave a chunk whose samples are not int16[n]")
    return given


class TextToSpeech(TTSProvider):
    """A synthesis engine. `start` before use, `close` once at the end; both are idempotent.

    It is a `TTSProvider` too; those calls start it where needed and give 16 kHz mono.
    """

    name: str = "text-to-speech"
    has_word_times: bool = False
    has_phoneme_times: bool = False
    from_cache: bool = False
    """The newest piece was made before and only read back."""

    async def start(self) -> None:
        """Load voices, start workers. Raises `MissingExtraError` or `SpeechError`."""

    async def warmup(self) -> None:
        """The same as `start`."""
        await self.start()

    @abstractmethod
    def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncIterator[SpeechChunk]:
        """Speak one piece. Chunks come as they are made. Closing the iterator (or cancelling its
        consumer) stops the engine's work on it. Raises `SpeechError` if the engine fails; the next
        piece starts afresh."""

    def voices(self) -> tuple[str, ...]:
        """Names `VoiceSettings.voice` may take; empty if the engine takes any."""
        return ()

    @property
    def supports_streaming_input(self) -> bool:
        """A text that is being written is spoken sentence by sentence."""
        return True

    async def list_voices(
        self,
        *,
        language: str | None = None,
        gender: str | None = None,
        query: str | None = None,
    ) -> list[VoiceInfo]:
        """Of most engines only the names are known; a name is also the id."""
        from salon.voice.voices import VoiceInfo, filter_voices

        await self.start()
        known = {voice.id: voice for voice in self.available_voices()}
        for name in self.voices():
            known.setdefault(name, VoiceInfo(id=name, name=name))
        return filter_voices(known.values(), language=language, gender=gender, query=query)

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        """The whole sound as WAV in a ``data:`` URL. `SpeechError` over 600 s of it."""
        from salon.voice.content import audio_content

        await self.start()
        chunks: list[Samples] = []
        length = 0
        stream = self.speak(text, VoiceSettings(voice=voice))
        try:
            async for chunk in stream:
                length += len(chunk.samples)
                if length > MAX_WHOLE_S * SAMPLE_RATE:
                    raise SpeechError(self.name, f"the text makes over {MAX_WHOLE_S} s of sound")
                chunks.append(chunk.samples)
        finally:
            await close_stream(stream, self.name)
        return audio_content(np.concatenate([np.zeros(0, dtype=np.int16), *chunks]), text)

    async def synthesize_stream(
        self,
        text: str,
        *,
        voice: str | None = None,
        context: TTSContext | None = None,
    ) -> AsyncIterator[AudioChunk]:
        """16 kHz mono chunks as they are made, then an empty final one."""
        await self.start()
        sound = self._chunks(text, voice)
        try:
            async for chunk in sound:
                yield chunk
        finally:
            await sound.aclose()
        yield AudioChunk(b"", is_final=True)

    async def synthesize_stream_input(
        self,
        text_stream: AsyncIterator[str],
        *,
        voice: str | None = None,
        context: TTSContext | None = None,
    ) -> AsyncIterator[AudioChunk]:
        """Each sentence is spoken once it is whole; after the last an empty final chunk. The text
        is read no further than the sound is taken. Anything in it that is no text ends a
        sentence."""
        await self.start()
        sentences = _sentences(text_stream, self.name)
        try:
            async for sentence in sentences:
                sound = self._chunks(sentence, voice)
                try:
                    async for chunk in sound:
                        yield chunk
                finally:
                    await sound.aclose()
        finally:
            await sentences.aclose()
        yield AudioChunk(b"", is_final=True)

    async def _chunks(self, text: str, voice: str | None) -> AsyncGenerator[AudioChunk, None]:
        sound = self.speak(text, VoiceSettings(voice=voice))
        try:
            async for chunk in sound:
                if len(chunk.samples):
                    yield AudioChunk(chunk.samples.tobytes(), SAMPLE_RATE)
        finally:
            await close_stream(sound, self.name)

    async def close(self) -> None:
        """Free everything; running pieces end with `SpeechError`."""


async def _sentences(text_stream: AsyncIterator[str], name: str) -> AsyncGenerator[str, None]:
    splitter = SentenceSplitter()
    try:
        async for text in text_stream:
            for sentence in splitter.feed(text) if isinstance(text, str) else splitter.flush():
                yield sentence
        for sentence in splitter.flush():
            yield sentence
    finally:
        await close_stream(text_stream, name)
