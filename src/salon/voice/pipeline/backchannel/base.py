"""Telling "go on, I am listening" from a wish to speak."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any


@dataclass
class BackchannelContext:
    """Speech over the agent, so far. `audio_bytes` is mono pcm_s16le at the session's rate;
    `bot_speech_progress` in 0..1 tells how much of the answer has been heard.

    `is_final`: the transcript will not change; False while the recogniser is still listening.
    """

    transcript: str | None = None
    speech_duration_ms: float = 0.0
    audio_bytes: bytes | None = None
    bot_speech_progress: float = 0.0
    session_id: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    is_final: bool = True


@dataclass
class BackchannelDecision:
    """`confidence` in 0..1; `label` says what kind it was. `pending`: the words so far may still
    become either, ask again with more of them; nothing is cut meanwhile."""

    is_backchannel: bool
    confidence: float = 1.0
    label: str | None = None
    pending: bool = False


class BackchannelDetector(ABC):
    """Classifies speech over the agent. Stateless between calls unless it says otherwise.

    `classify` runs on the media path: it must answer at once (well below 1 ms) and do no I/O. It
    must cope with a context without words, judging from duration and sound (V119).
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and metrics."""

    @abstractmethod
    def classify(self, context: BackchannelContext) -> BackchannelDecision:
        """Whether this is a backchannel. Must not change `context`."""

    def reset(self) -> None:
        """Forget everything learned. Idempotent."""
        return

    def close(self) -> None:
        """Give back what is held. Idempotent; nothing is called after it."""
        return
