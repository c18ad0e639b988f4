"""The contract of speech recognition.

An engine is process-wide. Each utterance is one `Utterance`: sound is pushed in as it arrives,
the text is asked for at its end. Recognition itself never runs on the event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.media.timing import WordTime
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.chunks import quietest_cut, whole_sound
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import SpeakerSegment, TranscriptionResult

if TYPE_CHECKING:
    from salon.models.content import AudioContent

__all__ = [
    "OnPartial",
    "STTProvider",
    "SpeechToText",
    "Transcription",
    "TranscriptionResult",
    "Utterance",
    "joined",
]

MAX_SAMPLES: Final = 50 * SAMPLE_RATE
"""Longer recordings are recognised in parts, cut where it is quiet."""
_SEARCH: Final = 10 * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was said.

    `confidence` lies in 0..1 or is None if the engine has none. Word times count from the first
    sample pushed. `language` is what the engine reported, never the request echoed back (V231).
    """

    text: str
    is_final: bool
    confidence: float | None = None
    language: str | None = None
    words: tuple[WordTime, ...] = ()
    segments: tuple[SpeakerSegment, ...] = ()

    def to_result(self) -> TranscriptionResult:
        """The same as an `STTProvider` answers it."""
        words = [
            {"word": word.text, "start": word.start_ms / 1000, "end": word.end_ms / 1000}
            for word in self.words
        ]
        return TranscriptionResult(
            self.text,
            self.is_final,
            self.confidence,
            self.language,
            words,
            segments=list(self.segments),
        )


OnPartial = Callable[[Transcription], None]
"""Called on the event loop with each interim result; must return at once."""


class Utterance(ABC):
    """One stretch of speech on its way to text."""

    decoder_wait_ms: float = 0.0
    """How long this utterance waited for a free decoder (known after `finish`)."""

    @abstractmethod
    def push(self, samples: Samples) -> None:
        """Add sound, ``int16[n]`` 16 kHz mono. Never blocks. Beyond the engine's bound (60 s by
        default) the sound is dropped and counted."""

    @abstractmethod
    async def finish(self) -> Transcription:
        """No more sound comes: the final text (may be empty). Raises `SpeechError` if the engine
        failed. Cancelling the wait cancels the utterance. Call once."""

    @abstractmethod
    def cancel(self) -> None:
        """Give the utterance up; idempotent, returns at once, frees the decoder."""


class SpeechToText(STTProvider):
    """A recognition engine. `start` before use, `close` once at the end; both are idempotent.

    It is an `STTProvider` too: `transcribe` and `transcribe_stream` start it where needed.
    """

    name: str = "speech-to-text"
    supports_partials: bool = False

    @property
    def supports_streaming(self) -> bool:
        """Engines with partial results."""
        return self.supports_partials

    @property
    def supports_language_override(self) -> bool:
        """`recognize` takes `language`."""
        return True

    async def start(self) -> None:
        """Load models, start workers. Raises `MissingExtraError` or `SpeechError`."""

    async def warmup(self) -> None:
        """The same as `start`."""
        await self.start()

    async def prepare(self, hints: SpeechHints) -> None:
        """Build what `hints` need ahead of the first utterance; may take seconds."""

    @abstractmethod
    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """Begin an utterance; returns at once, a decoder is borrowed in the background."""

    async def transcribe(
        self, audio: AudioContent | AudioChunk | AudioFrame, *, language: str | None = None
    ) -> TranscriptionResult:
        """The text of a whole recording: a frame, a chunk, or WAV or PCM in a ``data:`` URL.

        More than 50 s are cut where it is quiet. `ValueError` for sound that cannot be read and
        for other URLs, which are not fetched; `SpeechError` if the engine fails.
        """
        await self.start()
        samples = _sound_of(audio, self.name)
        parts: list[tuple[int, Transcription]] = []
        at = 0
        while at < len(samples) or not parts:
            end = len(samples)
            if end - at > MAX_SAMPLES:
                end = at + quietest_cut(samples[at:], MAX_SAMPLES, _SEARCH)
            parts.append((at, await self._recognized(samples[at:end], language)))
            at = end
        return joined(parts).to_result()

    async def _recognized(self, samples: Samples, language: str | None) -> Transcription:
        utterance = self.recognize(language=language)
        try:
            for at in range(0, len(samples), SAMPLE_RATE):
                utterance.push(samples[at : at + SAMPLE_RATE])
            return await utterance.finish()
        except BaseException:
            utterance.cancel()
            raise

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        """Interim results as the sound comes, of which a slow reader gets the newest; a final one
        where a chunk `is_final` and at the end. Closing the iterator cancels the utterance."""
        from salon.voice.stt.streaming import StreamTranscriber

        await self.start()
        stream = StreamTranscriber(self, audio_stream, language)
        try:
            async for result in stream.results():
                yield result
        finally:
            await stream.close()

    async def close(self) -> None:
        """Free everything; running utterances end with `SpeechError`."""


def joined(parts: list[tuple[int, Transcription]]) -> Transcription:
    """Parts of one recording, each with its first sample, as one result."""
    if len(parts) == 1:
        return parts[0][1]
    text = ""
    words: list[WordTime] = []
    segments: list[SpeakerSegment] = []
    for first, part in parts:
        ms = first * 1000 // SAMPLE_RATE
        text = f"{text} ".lstrip() if part.text else text
        words += [
            WordTime(w.text, w.start_ms + ms, w.end_ms + ms, w.offset + len(text), w.length)
            for w in part.words
        ]
        # Labels are comparable only inside one stream (V233), and each part was one.
        segments += [SpeakerSegment(None, one.text) for one in part.segments]
        text += part.text
    sure = [part.confidence for _, part in parts if part.confidence is not None]
    heard = {part.language for _, part in parts if part.language is not None}
    return Transcription(
        text,
        is_final=True,
        confidence=min(sure, default=None),
        language=heard.pop() if len(heard) == 1 else None,
        words=tuple(words),
        segments=tuple(segments),
    )


def _sound_of(audio: AudioContent | AudioChunk | AudioFrame, consumer: str) -> Samples:
    if isinstance(audio, AudioChunk | AudioFrame):
        return np.array(whole_sound(audio, consumer))
    from salon.voice.content import sound_of

    return sound_of(audio, consumer)
