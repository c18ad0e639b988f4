"""Any `TTSProvider` as a `TextToSpeech`: what it does wrong ends its own piece only."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from salon.base import RAISED, SalonError, within
from salon.media.frame import SAMPLE_RATE, AudioChunk
from salon.voice.chunks import ChunkReader
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_engine, close_stream, failure, is_ours
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.context import TTSContext, TTSContextLevel
from salon.voice.tts.gain import amplify
from salon.voice.tts.provider import TTSProvider
from salon.voice.tts.text import blank, is_speakable

if TYPE_CHECKING:
    from salon.voice.voices import VoiceInfo

_log = logging.getLogger("salon.voice.tts")

CHUNK_S: Final = 10.0
"""A provider gets this long for each chunk."""
MAX_PIECE_S: Final = 600
"""A piece that makes more sound than this is given up."""


def voice_of(provider: TTSProvider, *, chunk_timeout: float = CHUNK_S) -> TextToSpeech:
    """`provider` itself if it is an engine, else wrapped."""
    if isinstance(provider, TextToSpeech):
        return provider
    return AdaptedTextToSpeech(provider, chunk_timeout=chunk_timeout)


class AdaptedTextToSpeech(TextToSpeech):
    """Speaks with `provider`: its stream if it has one, else its whole answer (WAV or PCM in a
    ``data:`` URL; other addresses are not fetched).

    Chunks may have any rate, channels and cut. The piece ends with the chunk that `is_final`, or
    the stream. Whatever the provider raises, a chunk that is none, no chunk for `chunk_timeout`
    seconds and over 600 s of sound are `SpeechError` with its name. Nothing is read ahead. There
    are no word times, and `speed` is the provider's own affair.
    """

    def __init__(self, provider: TTSProvider, *, chunk_timeout: float = CHUNK_S) -> None:
        self.provider = provider
        self.name = provider.name
        self.chunk_timeout = chunk_timeout
        self._streams = type(provider).synthesize_stream is not TTSProvider.synthesize_stream
        self._started = False

    @property
    def default_voice(self) -> str | None:
        """As the provider."""
        return self.provider.default_voice

    @property
    def context_level(self) -> TTSContextLevel:
        """As the provider; `speak_in_context` passes it on."""
        return self.provider.context_level

    def release_context(self, context_id: str) -> None:
        """As the provider; what it raises is logged."""
        try:
            self.provider.release_context(context_id)
        except Exception:  # noqa: BLE001 - the border to a plugged-in provider
            _log.exception("%s did not release a context", self.name)

    async def list_voices(
        self,
        *,
        language: str | None = None,
        gender: str | None = None,
        query: str | None = None,
    ) -> list[VoiceInfo]:
        """As the provider."""
        return await self.provider.list_voices(language=language, gender=gender, query=query)

    async def start(self) -> None:
        """Warm the provider up. `SpeechError` if it fails."""
        if self._started:
            return
        try:
            await self.provider.warmup()
        except SalonError:
            raise
        except RAISED as error:
            if is_ours(error):
                raise
            raise failure(self.name, error) from error
        self._started = True

    async def close(self) -> None:
        """Pieces under way end with `SpeechError`; the provider is closed."""
        if not self._started:
            return
        self._started = False
        await close_engine(self.provider.close, self.name)

    def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece; nothing to say asks the provider for nothing."""
        return self.speak_in_context(text, settings, None)

    async def speak_in_context(
        self, text: str, settings: VoiceSettings, context: TTSContext | None
    ) -> AsyncGenerator[SpeechChunk, None]:
        """The same, knowing the conversation; `context` goes no further where `context_level` is
        `NONE` (V238) or the provider does not stream."""
        if not self._started:
            raise SpeechError(self.name, "the engine is not started")
        text = blank(text)
        if not is_speakable(text):
            return
        options: dict[str, Any] = {"voice": settings.voice}
        if context is not None and self.context_level is not TTSContextLevel.NONE:
            options["context"] = context
        reader = ChunkReader(self.name)
        made = 0
        chunks = self._provided(text.strip(), options)
        try:
            while (chunk := await self._next(chunks)) is not None:
                for samples in reader.feed(chunk):
                    made += len(samples)
                    if made > MAX_PIECE_S * SAMPLE_RATE:
                        raise SpeechError(self.name, f"over {MAX_PIECE_S} s of sound in one piece")
                    yield SpeechChunk(amplify(samples, settings.volume))
                if chunk.is_final:
                    break
            for samples in reader.flush():
                yield SpeechChunk(amplify(samples, settings.volume))
        except ValueError as error:
            raise failure(self.name, error) from error
        finally:
            await close_stream(chunks, self.name)

    async def _next(self, chunks: AsyncIterator[AudioChunk]) -> AudioChunk | None:
        if not self._started:
            raise SpeechError(self.name, "the engine is closed")
        try:
            return await within(self.chunk_timeout, anext(chunks, None))
        except TimeoutError:
            raise SpeechError(self.name, f"no sound within {self.chunk_timeout:g} s") from None
        except RAISED as error:
            if is_ours(error):
                raise
            raise failure(self.name, error) from error

    async def _provided(
        self, text: str, options: dict[str, Any]
    ) -> AsyncGenerator[AudioChunk, None]:
        if not self._streams:
            from salon.voice.content import sound_of

            options.pop("context", None)
            content = await self.provider.synthesize(text, **options)
            yield AudioChunk(sound_of(content, self.name).tobytes(), is_final=True)
            return
        stream = self.provider.synthesize_stream(text, **options)
        if not isinstance(stream, AsyncIterator):
            raise SpeechError(
                self.name, f"synthesize_stream gave {type(stream).__name__}, no iterator"
            )
        try:
            async for chunk in stream:
                if chunk is None:  # which would be taken for the end
                    raise SpeechError(self.name, "got NoneType, not an AudioChunk")
                yield chunk
        finally:
            await close_stream(stream, self.name)
