"""Deciding from words (and, if wanted, sound) whether the caller has said all they meant to.

A turn detector works after recognition and before routing (V110-V114): it is no stage of the frame
path and has no ``process``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TurnEntry:
    """One earlier turn. `role` is ``"user"`` or ``"assistant"``, None when unknown."""

    text: str
    role: str | None = None
    duration_ms: float | None = None


@dataclass
class TurnContext:
    """What a detector is asked about. Times in ms.

    `transcript` is everything gathered for this turn so far, also from utterances that were judged
    incomplete before (V111). `audio_bytes` is the sound of the latest utterances, mono pcm_s16le at
    `audio_sample_rate`, oldest first; None when nobody kept it.
    """

    conversation_history: list[TurnEntry] = field(default_factory=list)
    silence_duration_ms: float = 0.0
    transcript: str = ""
    is_final: bool = False
    speech_duration_ms: float = 0.0
    session_id: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    audio_bytes: bytes | None = None
    audio_sample_rate: int = 16000


@dataclass
class TurnDecision:
    """`confidence` in 0..1. `suggested_wait_ms`: how much silence to allow an incomplete turn
    before it is routed all the same (V241); None leaves it to the configuration."""

    is_complete: bool
    confidence: float = 1.0
    reason: str | None = None
    suggested_wait_ms: float | None = None


class TurnDetector(ABC):
    """Judges turns. One object serves many sessions: what it learns is kept by `session_id`.

    `evaluate` may be called from a worker thread, though never twice at once. It should answer
    within 200 ms (V113); a turn whose judgement takes 2 s is routed without it. What it raises is
    counted and logged by its caller, and the turn is routed.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and metrics."""

    @abstractmethod
    def evaluate(self, context: TurnContext) -> TurnDecision:
        """Whether the turn is complete. Must not change `context`."""

    def reset(self) -> None:
        """Forget everything learned, of every session. Idempotent."""
        return

    def release(self, session_id: str) -> None:
        """Forget what was learned of one session, which has ended. Idempotent."""
        return

    def close(self) -> None:
        """Give back what is held (models, threads). Idempotent; nothing is called after it."""
        return
