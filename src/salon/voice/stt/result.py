"""What a recognition provider answers: text, and who said which part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

_NOBODY: Final = frozenset({"uu", "pending", "unknown"})
"""How services spell a speaker they have not told apart (V233)."""


def speaker_label(value: Any) -> str | None:
    """A service's label as text, or None where it names nobody (V233). Numbers are labels too."""
    if value is None:
        return None
    label = str(value).strip()
    return None if not label or label.casefold() in _NOBODY else label


@dataclass(frozen=True)
class SpeakerSegment:
    """A part of a result that one speaker said; times in ms from the start of the stream.

    `speaker` is opaque and comparable only inside one stream; None is nobody in particular (V233).
    """

    speaker: str | None
    text: str
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass
class TranscriptionResult:
    """An answer of an `STTProvider`.

    `confidence` lies in 0..1 or is None. `language` is what the provider reported, never the
    request echoed back (V231). `words` are dictionaries as the service gives them; Salon's own
    engines fill ``word``, ``start`` and ``end`` (seconds). `is_speech_start` marks a sign of
    beginning speech, which carries no text. `segments` stays empty without diarization (V230).
    """

    text: str
    is_final: bool = True
    confidence: float | None = None
    language: str | None = None
    words: list[dict[str, Any]] = field(default_factory=list)
    is_speech_start: bool = False
    segments: list[SpeakerSegment] = field(default_factory=list)

    @property
    def speaker(self) -> str | None:
        """The one speaker of all segments; None if there are several, or nobody is named."""
        speakers = {segment.speaker for segment in self.segments}
        return speakers.pop() if len(speakers) == 1 else None
