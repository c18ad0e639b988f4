"""The recognition contract user code writes against; `SpeechToText` is the engine's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from salon.media.frame import AudioChunk, AudioFrame
from salon.voice.stt.result import TranscriptionResult

if TYPE_CHECKING:
    from salon.models.content import AudioContent

__all__ = ["STTProvider"]


class STTProvider(ABC):
    """Turns sound into text. One provider serves all sessions at once.

    A provider that streams overrides `supports_streaming` and `transcribe_stream`. `language` is
    passed only where `supports_language_override` is true (V231).
    """

    @property
    def name(self) -> str:
        """Names the provider in events, errors and logs."""
        return type(self).__name__

    @property
    def supports_streaming(self) -> bool:
        """Whether `transcribe_stream` answers while the sound is still coming."""
        return False

    @property
    def keeps_stream_across_turns(self) -> bool:
        """Whether one stream should stay open from turn to turn."""
        return False

    @property
    def supports_language_override(self) -> bool:
        """Whether the calls take `language` (V230)."""
        return False

    @property
    def supports_diarization(self) -> bool:
        """Whether results carry `segments` (V230)."""
        return False

    @abstractmethod
    async def transcribe(
        self, audio: AudioContent | AudioChunk | AudioFrame, *, language: str | None = None
    ) -> TranscriptionResult:
        """The text of a whole utterance."""

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        """Results as the sound comes, interim ones with `is_final` false. The stream's end is the
        end of the sound; closing the iterator gives the rest up.

        Unless overridden: the whole sound, in the format of its first chunk, is transcribed at the
        end. That holds all of it in memory.
        """
        data = bytearray()
        first: AudioChunk | None = None
        async for chunk in audio_stream:
            first = first or chunk
            data += chunk.data
        whole = AudioChunk(bytes(data))
        if first is not None:
            whole.sample_rate, whole.channels = first.sample_rate, first.channels
            whole.format = first.format
        if language is not None and self.supports_language_override:
            yield await self.transcribe(whole, language=language)
        else:
            yield await self.transcribe(whole)

    async def warmup(self) -> None:  # noqa: B027 - optional to override
        """Load what the first utterance would have to wait for."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything."""
