"""The contract of speech recognition.

An engine is process-wide. Each utterance is one `Utterance`: sound is pushed in as it arrives,
the text is asked for at its end. Recognition itself never runs on the event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from salon.media.frame import Samples
from salon.media.timing import WordTime
from salon.models.speech import NO_HINTS, SpeechHints


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


class SpeechToText(ABC):
    """A recognition engine. `start` before use, `close` once at the end; both are idempotent."""

    name: str
    supports_partials: bool = False

    async def start(self) -> None:  # noqa: B027 - optional to override
        """Load models, start workers. Raises `MissingExtraError` or `SpeechError`."""

    async def prepare(self, hints: SpeechHints) -> None:  # noqa: B027 - optional to override
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

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything; running utterances end with `SpeechError`."""
