"""One microphone, several who listen, and the recent past for those who come late (V251)."""

from __future__ import annotations

import itertools
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from salon.base import SYSTEM_CLOCK, Clock
from salon.media.frame import AudioFrame

_log = logging.getLogger("salon.voice")

DEFAULT_BACKLOG_SECONDS: Final = 10.0
_SLOW_PART: Final = 0.5
"""Of a block's length: a callback that takes longer endangers the capture."""
_LOG_EVERY_S: Final = 5.0

CaptureFrameCallback = Callable[[AudioFrame], None]
"""Takes a frame on the thread of the device; must return at once."""

_source_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class CaptureMark:
    """A moment of one source, for `subscribe(since=...)`."""

    sequence: int
    source_id: int


@dataclass(slots=True, eq=False)
class _Subscriber:
    callback: CaptureFrameCallback
    name: str | None
    active: bool = True
    live: bool = False
    pending: deque[AudioFrame] = field(default_factory=deque)
    slow: int = 0
    failures: int = 0
    dropped: int = 0
    logged_at: float = float("-inf")

    @property
    def label(self) -> str:
        return self.name or str(getattr(self.callback, "__qualname__", "a subscriber"))


class CaptureSubscription:
    """Somebody's place among the listeners of a source."""

    def __init__(
        self, source: AudioCaptureSource, subscriber: _Subscriber, name: str | None
    ) -> None:
        self.name = name
        self.replayed_bytes = 0
        """Of the past that was asked for, as far as it was there."""
        self.truncated = False
        """Some of that past had been dropped already."""
        self._source = source
        self._subscriber = subscriber

    @property
    def active(self) -> bool:
        """Whether frames may still come."""
        return self._subscriber.active

    @property
    def slow_callbacks(self) -> int:
        """Calls that took more than half a block."""
        return self._subscriber.slow

    @property
    def failures(self) -> int:
        """Calls that raised."""
        return self._subscriber.failures

    @property
    def dropped_frames(self) -> int:
        """Frames that found no room while the past was replayed too slowly."""
        return self._subscriber.dropped

    def unsubscribe(self) -> None:
        """No frame after this returns, but for one whose call is running. Idempotent."""
        self._source._drop(self._subscriber)


class AudioCaptureSource(ABC):
    """Frames of one microphone in one format, for any number of listeners.

    Only `start` and `stop` take and free the device: listeners come and go without. Frames are raw
    (no echo is cancelled), all of the source's format. The last `backlog_seconds`, and at most
    `max_backlog_bytes`, are kept for those who ask for the past; the oldest give way.
    Thread-safe; whatever implements it calls `publish`, from one thread at a time.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        channels: int = 1,
        sample_width: int = 2,
        block_duration_ms: int = 20,
        backlog_seconds: float = DEFAULT_BACKLOG_SECONDS,
        max_backlog_bytes: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`ValueError` for a block, backlog or format that can't be."""
        AudioFrame(b"", sample_rate, channels, sample_width)
        if block_duration_ms <= 0 or backlog_seconds < 0:
            raise ValueError("a block has some length, a backlog none below zero")
        if max_backlog_bytes is not None and max_backlog_bytes < 0:
            raise ValueError(f"max_backlog_bytes is {max_backlog_bytes}")
        self._rate, self._channels, self._width = sample_rate, channels, sample_width
        self._block_ms = block_duration_ms
        most = int(backlog_seconds * sample_rate) * channels * sample_width
        self._most = most if max_backlog_bytes is None else min(most, max_backlog_bytes)
        self._clock = clock
        self._source_id = next(_source_ids)
        self._lock = threading.Lock()
        self._backlog: deque[AudioFrame] = deque()
        self._backlog_bytes = 0
        self._next = 0
        self._subscribers: tuple[_Subscriber, ...] = ()

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self._rate

    @property
    def channels(self) -> int:
        """1 or 2."""
        return self._channels

    @property
    def sample_width(self) -> int:
        """Bytes per sample."""
        return self._width

    @property
    def block_duration_ms(self) -> int:
        """Of one frame."""
        return self._block_ms

    @property
    def input_latency_ms(self) -> float | None:
        """From the microphone to the frame, where the device tells; None else, or stopped."""
        return None

    @property
    def backlog_bytes(self) -> int:
        """How much of the past is there."""
        return self._backlog_bytes

    # -- the device -------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> None:
        """Take the device and capture; idempotent. `UnavailableError` if there is none."""

    @abstractmethod
    def stop(self) -> None:
        """Free the device; listeners stay. Idempotent."""

    def close(self) -> None:
        """`stop`, and let go of all listeners and of the past."""
        self.stop()
        with self._lock:
            for subscriber in self._subscribers:
                subscriber.active = False
                subscriber.pending.clear()
            self._subscribers = ()
            self._backlog.clear()
            self._backlog_bytes = 0

    # -- listeners --------------------------------------------------------------------------------

    def mark(self) -> CaptureMark:
        """The present moment: the next frame is the first after it."""
        with self._lock:
            return CaptureMark(self._next, self._source_id)

    def subscribe(
        self,
        callback: CaptureFrameCallback,
        *,
        since: CaptureMark | None = None,
        name: str | None = None,
    ) -> CaptureSubscription:
        """Call `callback(frame)` for every frame, on the thread of the device.

        With `since`, all that was captured after that mark comes first, on the calling thread and
        before this returns; frames captured meanwhile follow, then those to come, none twice or out
        of order. `ValueError` for the mark of another source. `name` is for the log.
        """
        if since is not None and since.source_id != self._source_id:
            raise ValueError("the mark was made by another capture source")
        subscriber = _Subscriber(callback, name)
        subscription = CaptureSubscription(self, subscriber, name)
        with self._lock:
            past = self._since(since, subscription)
            subscriber.live = since is None
            self._subscribers = (*self._subscribers, subscriber)
        if since is not None:
            self._replay(subscriber, past)
        return subscription

    def _since(
        self, since: CaptureMark | None, subscription: CaptureSubscription
    ) -> list[AudioFrame]:
        if since is None:
            return []
        first = self._next - len(self._backlog)
        subscription.truncated = since.sequence < first
        past = list(self._backlog)[max(0, since.sequence - first) :]
        subscription.replayed_bytes = sum(len(frame.data) for frame in past)
        return past

    def _replay(self, subscriber: _Subscriber, frames: list[AudioFrame]) -> None:
        """Without the lock; what is captured meanwhile waits in `pending`."""
        while True:
            for frame in frames:
                self._tell(subscriber, frame)
            with self._lock:
                frames = list(subscriber.pending)
                subscriber.pending.clear()
                if not frames:
                    subscriber.live = True
                    return

    def _drop(self, subscriber: _Subscriber) -> None:
        with self._lock:
            subscriber.active = False
            subscriber.pending.clear()
            self._subscribers = tuple(item for item in self._subscribers if item is not subscriber)

    # -- what implementations call ----------------------------------------------------------------

    def publish(self, frame: AudioFrame) -> None:
        """A frame was captured. `ValueError` if it has another format than the source."""
        if (frame.sample_rate, frame.channels, frame.sample_width) != (
            self._rate,
            self._channels,
            self._width,
        ):
            raise ValueError("the frame has another format than its source")
        with self._lock:
            self._keep(frame)
            live = []
            for subscriber in self._subscribers:
                if subscriber.live:
                    live.append(subscriber)
                else:
                    self._wait(subscriber, frame)
        for subscriber in live:
            self._tell(subscriber, frame)

    def _keep(self, frame: AudioFrame) -> None:
        self._next += 1
        self._backlog.append(frame)
        self._backlog_bytes += len(frame.data)
        while self._backlog and self._backlog_bytes > self._most:
            self._backlog_bytes -= len(self._backlog.popleft().data)

    def _wait(self, subscriber: _Subscriber, frame: AudioFrame) -> None:
        """The past is still being replayed; as much may wait as the backlog holds, or a second."""
        subscriber.pending.append(frame)
        most = max(len(self._backlog), 1000 // self._block_ms, 1)
        while len(subscriber.pending) > most:
            subscriber.pending.popleft()
            subscriber.dropped += 1

    def _tell(self, subscriber: _Subscriber, frame: AudioFrame) -> None:
        if not subscriber.active:
            return
        began = self._clock.monotonic()
        try:
            subscriber.callback(frame)
        except Exception:  # noqa: BLE001 - the outer edge to other people's code; logged there
            subscriber.failures += 1
            if subscriber.failures & (subscriber.failures - 1) == 0:
                _log.exception(
                    "%s failed on captured sound (%d so far)", subscriber.label, subscriber.failures
                )
        now = self._clock.monotonic()
        if (now - began) * 1000 > self._block_ms * _SLOW_PART:
            subscriber.slow += 1
            if now - subscriber.logged_at >= _LOG_EVERY_S:
                subscriber.logged_at = now
                _log.warning(
                    "%s took %.0f ms for %d ms of captured sound (slow %d times so far)",
                    subscriber.label,
                    (now - began) * 1000,
                    self._block_ms,
                    subscriber.slow,
                )
