"""Sound that comes before the call is answered (G43)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

EARLY_SECONDS = 2.0
"""As much is kept unless told otherwise."""
_BYTES_PER_SECOND = {"pcm": 32_000}
_BYTES_PER_SECOND_PACKED = 8_000


@dataclass(slots=True)
class EarlySound:
    """The newest binary frames of a client that has not sent `invite` yet, `seconds` of them; what
    is older is dropped and counted."""

    seconds: float = EARLY_SECONDS
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

    def discard(self) -> None:
        """Drop what is kept; it counts as dropped."""
        self.dropped += len(self.frames)
        self.frames, self.size = deque(), 0

    def _trim(self, bytes_per_second: int) -> None:
        limit = self.seconds * bytes_per_second
        while self.size > limit and (len(self.frames) > 1 or not limit):
            self.size -= len(self.frames.popleft())
            self.dropped += 1
