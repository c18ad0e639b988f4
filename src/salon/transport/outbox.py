"""What waits while a peer does not read: events are kept or the peer is let go, audio is lossy."""

from __future__ import annotations

from collections import deque


class Outbox:
    """Two bounded queues that leave in the order in which they were filled (G49, G119).

    Text never gets lost: `put_text` says when there is no more room. Audio is worth nothing when
    late: the oldest frame makes room and is counted in `dropped_audio`.
    """

    __slots__ = ("_audio", "_max_audio", "_max_text", "_next", "_text", "dropped_audio")

    def __init__(self, max_text: int, max_audio: int) -> None:
        if max_text < 1 or max_audio < 1:
            raise ValueError("an outbox needs room for at least one frame of each kind")
        self._max_text = max_text
        self._max_audio = max_audio
        self._text: deque[tuple[int, bytes]] = deque()
        self._audio: deque[tuple[int, bytes]] = deque()
        self._next = 0
        self.dropped_audio = 0

    def __len__(self) -> int:
        return len(self._text) + len(self._audio)

    @property
    def waiting_text(self) -> int:
        """Text frames that wait."""
        return len(self._text)

    @property
    def waiting_audio(self) -> int:
        """Binary frames that wait."""
        return len(self._audio)

    def put_text(self, frame: bytes) -> bool:
        """Queue a text frame; False if the queue is full (nothing is queued then)."""
        if len(self._text) >= self._max_text:
            return False
        self._text.append((self._next, frame))
        self._next += 1
        return True

    def put_audio(self, frame: bytes) -> None:
        """Queue a binary frame; the oldest one is dropped when the queue is full."""
        if len(self._audio) >= self._max_audio:
            self._audio.popleft()
            self.dropped_audio += 1
        self._audio.append((self._next, frame))
        self._next += 1

    def pop(self) -> tuple[bool, bytes]:
        """The oldest waiting frame and whether it is text; `IndexError` if there is none."""
        text, audio = self._text, self._audio
        if text and (not audio or text[0][0] < audio[0][0]):
            return True, text.popleft()[1]
        return False, audio.popleft()[1]

    def clear(self) -> None:
        """Forget everything that waits."""
        self._text.clear()
        self._audio.clear()
