"""What a detector of telephone keys promises (V68, V69, V207)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from salon.base import ConfigurationError
from salon.media.frame import AudioFormat, AudioFrame


@dataclass(frozen=True, slots=True)
class DTMFEvent:
    """A key was pressed (V68): `digit` is ``0`` to ``9``, ``*``, ``#`` or ``A`` to ``D``.

    `duration_ms` is 0 where the press is told when it begins; `confidence` is 0 to 1, or None where
    nobody knows. Keys that were signalled, not heard, are certain.
    """

    digit: str
    duration_ms: float = 0.0
    confidence: float | None = 1.0


class DTMFRedactionError(ConfigurationError, ValueError):
    """A `DTMFRedaction` that makes no sense."""


@dataclass(frozen=True, slots=True)
class DTMFRedaction:
    """How keys are shown wherever they are stored or logged (V207).

    Of a number the first `keep_first` and the last `keep_last` digits stay, the rest becomes
    `mask_char`. `ValueError` (and `ConfigurationError`) for negative counts or a `mask_char` that
    is not one character.
    """

    enabled: bool = True
    keep_first: int = 0
    keep_last: int = 0
    mask_char: str = "*"

    def __post_init__(self) -> None:
        if self.keep_first < 0 or self.keep_last < 0:
            raise DTMFRedactionError("keep_first and keep_last must be 0 or more")
        if len(self.mask_char) != 1:
            raise DTMFRedactionError(f"mask_char must be one character, not {self.mask_char!r}")

    def mask(self, digits: str) -> str:
        """`digits` as they may be shown, of the same length.

        A number that is too short to hide anything is hidden whole.
        """
        if not self.enabled:
            return digits
        hidden = len(digits) - self.keep_first - self.keep_last
        if hidden <= 0:
            return self.mask_char * len(digits)
        end = self.keep_first + hidden
        return digits[: self.keep_first] + self.mask_char * hidden + digits[end:]


class DTMFDetector(ABC):
    """Hears keys in many streams at once (V40-V47); see `VADProvider` for frames and threads."""

    required_format: ClassVar[AudioFormat | None] = None
    """The only format it takes; None for any (V38)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def stream_count(self) -> int:
        """Streams that it keeps something of."""
        return 0

    @abstractmethod
    def process(self, frame: AudioFrame, stream: str) -> DTMFEvent | None:
        """The next frame of `stream`, of any length; one event per press.

        When a frame ends several presses, the others come from the next calls, in order.
        """

    def tone_active(self, stream: str) -> bool:
        """Whether the newest sound of `stream` holds a key's tone, told or not (V69)."""
        del stream
        return False

    def reset(self, stream: str) -> None:  # noqa: B027 - a detector without state has nothing to do
        """Forget everything of `stream`, known or not (V46)."""

    def close(self) -> None:  # noqa: B027
        """Free the state of all streams (V47); frames that still come make no event. Idempotent."""
