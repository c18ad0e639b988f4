"""The contract of speech synthesis.

An engine is process-wide and speaks one piece of text (usually a sentence) at a time. Cutting a
reply into sentences is done before (`salon.voice.sentences`), pacing after (`salon.voice.player`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass

from salon.media.frame import Samples
from salon.media.timing import PhonemeTime, WordTime


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


class TextToSpeech(ABC):
    """A synthesis engine. `start` before use, `close` once at the end; both are idempotent."""

    name: str
    has_word_times: bool = False
    has_phoneme_times: bool = False

    async def start(self) -> None:  # noqa: B027 - optional to override
        """Load voices, start workers. Raises `MissingExtraError` or `SpeechError`."""

    @abstractmethod
    def synthesize(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncIterator[SpeechChunk]:
        """Speak one piece. Chunks come as they are made. Closing the iterator (or cancelling its
        consumer) stops the engine's work on it. Raises `SpeechError` if the engine fails; the next
        piece starts afresh."""

    def voices(self) -> tuple[str, ...]:
        """Names `VoiceSettings.voice` may take; empty if the engine takes any."""
        return ()

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything; running pieces end with `SpeechError`."""
