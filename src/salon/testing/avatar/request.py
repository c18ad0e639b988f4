"""One request: its sound as it came, and its keyframes until they are sent."""

from __future__ import annotations

from collections import deque
from typing import Final

from salon.testing.avatar.animator import FPS, Animator, Keyframe
from salon.testing.avatar.record import RequestRecord
from salon.testing.avatar.sound import OpusSound, PcmSound, Sound
from salon.testing.avatar.wire import OGG_OPUS, PCM

SLICE_BYTES: Final = {PCM: 64 << 10, OGG_OPUS: 8 << 10}
"""Sound worked on in one step: some milliseconds of work, so that others have their turn."""


class Request:
    """Sound in, keyframes out, in order. Nothing is worked on before `work` is called."""

    def __init__(
        self, record: RequestRecord, sample_rate: int, audio_format: int, now: float
    ) -> None:
        self.req_id = record.req_id
        self.record = record
        self.began_at = now
        self.closed = False
        """The client has said `end`, or began another request."""
        self.waiting_bytes = 0
        """Sound that has not been worked on."""
        self.keyframes: deque[Keyframe] = deque()
        """Made and not sent."""
        self._rate = sample_rate
        self._slice = SLICE_BYTES[audio_format]
        self._sound: Sound = OpusSound(sample_rate) if audio_format == OGG_OPUS else PcmSound()
        self._animator = Animator(sample_rate)
        self._waiting: deque[memoryview] = deque()
        self._finished = False

    @property
    def seconds(self) -> float:
        """Length of the sound worked on."""
        return self._animator.samples / self._rate

    @property
    def worked_off(self) -> bool:
        """All sound has become keyframes and none will follow."""
        return self._finished

    def add(self, audio: bytes, *, end: bool) -> None:
        """A piece of sound."""
        if audio:
            self._waiting.append(memoryview(audio))
            self.waiting_bytes += len(audio)
        self.closed = self.closed or end

    def work(self) -> None:
        """Make keyframes of the next slice of sound. `MediaError` if it cannot be read; the rest of
        the request is then dropped."""
        if self._waiting:
            piece = self._waiting.popleft()
            if len(piece) > self._slice:
                self._waiting.appendleft(piece[self._slice :])
                piece = piece[: self._slice]
            self.waiting_bytes -= len(piece)
            self.keyframes += self._animator.feed(self._sound.feed(bytes(piece)))
        if self.closed and not self._waiting and not self._finished:
            self.keyframes += self._animator.feed(self._sound.finish())
            self._finished = True
        self.record.audio_s = self.seconds

    @property
    def has_work(self) -> bool:
        """Whether `work` would do something."""
        return bool(self._waiting) or (self.closed and not self._finished)

    def abandon(self) -> None:
        """Drop the sound and the keyframes that are left (A59)."""
        self._waiting.clear()
        self.waiting_bytes = 0
        self.keyframes.clear()
        self.closed = self._finished = True

    def due_at(self, pace: float | None, delay_s: float) -> float:
        """When the next keyframe may leave; its sound must have ended by then at that pace."""
        index = self.keyframes[0].index if self.keyframes else 0
        ahead = 0.0 if pace is None else (index + 1) / FPS / pace
        return self.began_at + delay_s + ahead

    def take(self, most: int, now: float, pace: float | None, delay_s: float) -> list[Keyframe]:
        """The keyframes that may leave now, at most so many."""
        taken: list[Keyframe] = []
        while self.keyframes and len(taken) < most and self.due_at(pace, delay_s) <= now:
            taken.append(self.keyframes.popleft())
        return taken
