"""One piece on its way from a worker to whoever listens.

The worker fills it as fast as it can, so that it is soon free for another call; the listener takes
from it at its own pace.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from salon.voice.errors import SpeechError
from salon.voice.workers import frames
from salon.voice.workers.frames import Fields, FrameError

MAX_BUFFERED_S: Final = 60
"""Sound that may wait for the listener; beyond it the worker waits too."""
MAX_TAKEN_S: Final = 1
"""Sound handed over at once, at most (and one frame more)."""
MAX_MARKS: Final = 20_000
"""Words and phonemes of one piece; a worker that sends more breaks the protocol."""


@dataclass(frozen=True, slots=True)
class WorkerWord:
    """A word's time in the piece, ms, and its character range in the text of the request."""

    start_ms: int
    end_ms: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class WorkerPhoneme:
    """A speech sound's time in the piece, ms."""

    ipa: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class WorkerSound:
    """Sound as the worker made it, 16-bit little-endian mono, and the times that came with it."""

    pcm: bytes
    sample_rate: int
    words: tuple[WorkerWord, ...] = ()
    phonemes: tuple[WorkerPhoneme, ...] = ()


def _whole(fields: Fields, name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
        raise FrameError(f"{name} is {value!r}, not a whole number")
    return value


class WorkerPiece:
    """A bounded buffer with one writer (the pool's task) and one reader."""

    def __init__(self, piece_id: str, sample_rate: int) -> None:
        self.id = piece_id
        self.sample_rate = sample_rate
        self.abandoned = False
        """Nobody listens any more: what comes is dropped."""
        self._audio: deque[bytes] = deque()
        self._bytes = 0
        self._marks = 0
        self._words: list[WorkerWord] = []
        self._phonemes: list[WorkerPhoneme] = []
        self._done = False
        self._error: SpeechError | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.on_abandoned: Callable[[], None] | None = None

    @property
    def full(self) -> bool:
        """The writer has to wait."""
        return not self._room.is_set()

    async def wait_for_room(self) -> None:
        """Returns when the reader has caught up or gone."""
        await self._room.wait()

    def put(self, kind: int, payload: bytes) -> None:
        """Take one frame of sound or time. `FrameError` if it is not valid."""
        if kind == frames.AUDIO:
            if len(payload) % 2:
                raise FrameError(f"audio of {len(payload)} bytes is not of whole samples")
            if self.abandoned:
                return
            self._audio.append(payload)
            self._bytes += len(payload)
            if self._bytes >= MAX_BUFFERED_S * self.sample_rate * 2:
                self._room.clear()
            self._changed.set()
            return
        self._marks += 1
        if self._marks > MAX_MARKS:
            raise FrameError(f"more than {MAX_MARKS} words and phonemes in one piece")
        fields = frames.decode_fields(payload)
        start, end = _whole(fields, "start_ms"), _whole(fields, "end_ms")
        if kind == frames.WORD:
            offset, length = _whole(fields, "offset"), _whole(fields, "length")
            self._words.append(WorkerWord(start, end, offset, length))
        else:
            self._phonemes.append(WorkerPhoneme(str(fields.get("ipa"))[:16], start, end))

    def finish(self, error: SpeechError | None = None) -> None:
        """Nothing more comes; the first call counts."""
        if not self._done:
            self._done = True
            self._error = error
            self._changed.set()

    def abandon(self) -> None:
        """The reader has gone."""
        self.abandoned = True
        self._audio.clear()
        self._bytes = 0
        self._room.set()
        if not self._done and self.on_abandoned is not None:
            self.on_abandoned()

    async def take(self) -> WorkerSound | None:
        """What has come since, waiting for some; None at the end. Raises the piece's error."""
        while not self._audio and not self._done:
            self._changed.clear()
            await self._changed.wait()
        if not self._audio:
            if self._error is not None:
                raise self._error
            if not self._words and not self._phonemes:
                return None
        taken: list[bytes] = []
        size = 0
        while self._audio and size < MAX_TAKEN_S * self.sample_rate * 2:
            taken.append(self._audio.popleft())
            size += len(taken[-1])
        self._bytes -= size
        if self._bytes < MAX_BUFFERED_S * self.sample_rate:
            self._room.set()
        words, phonemes = tuple(self._words), tuple(self._phonemes)
        self._words.clear()
        self._phonemes.clear()
        return WorkerSound(b"".join(taken), self.sample_rate, words, phonemes)
