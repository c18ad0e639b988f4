"""Calling a program's callbacks: functions at once, coroutines in order, failures reported."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from salon.base import RAISED, TaskScope
from salon.clients.odyssey.handlers import OdysseyEventHandlers
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.types import AudioFrame, VideoFrame

MAX_WAITING: Final = 256
"""Coroutines of events that may wait for their turn."""
MAX_SOUND: Final = 50
"""Pieces of sound that may wait for a coroutine, about a second; then the oldest go."""
GRACE_S: Final = 5.0
"""How long coroutines may go on after the connection."""

_Work = Callable[[], Awaitable[Any]]
_Failed = Callable[[str, BaseException], None]


class _Lane:
    """Awaits one thing after another, in a task that is there only while there is something.

    More than `limit` waiting are too many: with `newest` the oldest goes, else the one that came.
    """

    def __init__(
        self, scope: TaskScope, name: str, limit: int, failed: _Failed, *, newest: bool
    ) -> None:
        self._scope = scope
        self._name = name
        self._limit = limit
        self._failed = failed
        self._newest = newest
        self._waiting: deque[_Work] = deque()
        self._closed = False
        self.busy = False
        self.dropped = 0

    def put(self, work: _Work) -> bool:
        """False if it will not be done."""
        if self._closed and not self.busy:
            return False
        if self.busy and len(self._waiting) >= self._limit:
            self.dropped += 1
            if not self._newest:
                return False
            self._waiting.popleft()
        self._waiting.append(work)
        if not self.busy:
            self.busy = True
            self._scope.spawn(self._run(), name=self._name)
        return True

    def close(self) -> None:
        """No new task from now on."""
        self._closed = True

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._one(self._waiting.popleft())
        finally:
            self.busy = False
            while self._waiting:
                _discard(self._waiting.popleft())

    async def _one(self, work: _Work) -> None:
        try:
            await work()
        except RAISED as error:  # the program's code: the lane goes on
            _unless_cancelled(error)
            self._failed(self._name, error)


class Callbacks:
    """The callbacks of one connection. Its tasks end with `close`.

    What a callback raises goes to `on_error` as not fatal (D7, O57), and once for each callback to
    the log; what `on_error` raises only there. `frames_dropped` counts pictures that a coroutine
    was too slow for (D8).
    """

    def __init__(self, handlers: OdysseyEventHandlers, log: Log) -> None:
        self._handlers = handlers
        self._log = log
        self._complained: set[str] = set()
        self._scope = TaskScope("odyssey callbacks")
        self._events = _Lane(self._scope, "event", MAX_WAITING, self._report, newest=False)
        self._pictures = _Lane(self._scope, "video_frame", 1, self._report, newest=True)
        self._sound = _Lane(self._scope, "audio_frame", MAX_SOUND, self._report, newest=True)

    @property
    def frames_dropped(self) -> int:
        """Pictures that were overtaken while a coroutine had the one before."""
        return self._pictures.dropped

    @property
    def events_dropped(self) -> int:
        """Coroutines that were not run because too many waited."""
        return self._events.dropped

    @property
    def idle(self) -> bool:
        """Whether no coroutine runs or waits."""
        return len(self._scope) == 0

    def event(self, name: str, *arguments: Any) -> None:
        """Call `on_<name>`."""
        callback = getattr(self._handlers, f"on_{name}")
        if callback is None:
            return
        failed = self._log_failure if name == "error" else self._report
        result = self._call(name, callback, arguments, failed)
        if result is None:
            return
        if name == "error":
            result = self._guarded(result)
        if not self._events.put(functools.partial(_itself, result)):
            _close(result)
            self._log.warning("on_%s is not run: too many callbacks wait", name)

    def video_frame(self, frame: VideoFrame) -> None:
        """Call `on_video_frame` with the picture, or with a newer one when it has time again."""
        self._media("video_frame", self._handlers.on_video_frame, frame, self._pictures)

    def audio_frame(self, frame: AudioFrame) -> None:
        """Call `on_audio_frame`."""
        self._media("audio_frame", self._handlers.on_audio_frame, frame, self._sound)

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Give coroutines that run or wait `grace_s` seconds, then cancel them. From within one of
        them nothing of it is waited for."""
        for lane in (self._events, self._pictures, self._sound):
            lane.close()
        await self._scope.drain(grace_s)
        await self._scope.close()

    def _media(
        self, name: str, callback: Callable[[Any], Any] | None, frame: Any, lane: _Lane
    ) -> None:
        if callback is None:
            return
        if lane.busy:
            lane.put(functools.partial(_called, callback, frame))
            return
        result = self._call(name, callback, (frame,), self._report)
        if result is not None and not lane.put(functools.partial(_itself, result)):
            _close(result)

    def _call(
        self, name: str, callback: Callable[..., Any], arguments: tuple[Any, ...], failed: _Failed
    ) -> Awaitable[Any] | None:
        try:
            result = callback(*arguments)
        except RAISED as error:  # the program's code: the session goes on
            failed(name, error)
            return None
        return result if inspect.isawaitable(result) else None

    async def _guarded(self, work: Awaitable[Any]) -> None:
        try:
            await work
        except RAISED as error:  # the program's code; nobody is left to be told
            _unless_cancelled(error)
            self._log_failure("error", error)

    def _report(self, name: str, error: BaseException) -> None:
        if not isinstance(error, Exception):
            error = RuntimeError(f"a callback of {name} was cancelled")
        if name not in self._complained:  # a picture may fail every time
            self._complained.add(name)
            self._log.error("on_%s failed, the first time: %r", name, error)
        self.event("error", error, False)

    def _log_failure(self, name: str, error: BaseException) -> None:
        self._log.error("on_%s failed: %r", name, error)


def _unless_cancelled(error: BaseException) -> None:
    """Raise the cancellation of this task again; any other is the program's."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
        raise error


async def _itself(work: Awaitable[Any]) -> None:
    await work


async def _called(callback: Callable[[Any], Any], frame: Any) -> None:
    result = callback(frame)
    if inspect.isawaitable(result):
        await result


def _close(work: Awaitable[Any]) -> None:
    """A coroutine that is not going to be run."""
    if inspect.iscoroutine(work):
        work.close()


def _discard(work: _Work) -> None:
    if isinstance(work, functools.partial) and work.func is _itself:
        _close(work.args[0])


__all__ = ["GRACE_S", "Callbacks"]
