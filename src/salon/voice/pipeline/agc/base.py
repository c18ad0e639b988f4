"""What brings speech to a steady level (V53, V67), and its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from salon.media.frame import AudioFormat, AudioFrame


@dataclass
class AGCConfig:
    """Settings of an automatic gain control.

    `target_level_dbfs` is where the peaks of speech shall lie, `max_gain_db` the most that is ever
    added; gain falls within about `attack_ms` and rises within about `release_ms`. `metadata` is
    for settings of one provider.
    """

    target_level_dbfs: float = -3.0
    max_gain_db: float = 30.0
    attack_ms: float = 10.0
    release_ms: float = 100.0
    metadata: dict[str, object] = field(default_factory=dict)


class AGCProvider(ABC):
    """Scales the sound of many streams; each key has a gain of its own (V42).

    A frame gives a frame of the same length at once: no delay. The input is not written to.
    """

    required_format: AudioFormat | None = None
    """The only format it takes; None: any 16-bit one (V38)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def stream_count(self) -> int:
        """How many streams it holds state for."""
        return 0

    @abstractmethod
    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        """The frame at its new level, with ``metadata["gain_applied_db"]`` set (V67).

        `ValueError` for a format it cannot take.
        """

    def reset(self, stream: str) -> None:  # noqa: B027 - nothing to forget
        """Forget a stream, as if never heard (V46)."""

    def close(self) -> None:  # noqa: B027 - nothing to free
        """Forget every stream and free what is held (V47)."""
