"""Sound that comes before the call is answered (G43)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

EARLY_SECONDS = 2
"""As much is kept; what is older is dropped and counted."""
_BYTES_PER_SECOND = {"pcm": 32_000}
_BYTES_PER_SECOND_PACKED = 8_000


@dataclass(slots=True)
class EarlySound:
    """The newest binary frames of a client that has not sent `invite` yet."""

    frames: deque[bytes] = field(default_factory=deque)
    size: int = 0
    dropped: int = 0

    def add(self, payload: bytes) -> None:
        self.frames.append(payload)
        self.size += len(payload)
        self._trim(_BYTES_PER_SECOND["pcm"])

    def take(self, codec: str) -> deque[bytes]:
        """What is kept, now that its codec is known."""
        self._trim(_BYTES_PER_SECOND.get(codec, _BYTES_PER_SECOND_PACKED))
        kept, self.frames, self.size = self.frames, deque(), 0
        return kept

    def _trim(self, bytes_per_second: int) -> None:
        while self.size > EARLY_SECONDS * bytes_per_second and len(self.frames) > 1:
            self.size -= len(self.frames.popleft())
            self.dropped += 1
