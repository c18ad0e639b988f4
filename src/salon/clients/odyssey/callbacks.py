"""Calling a program's callbacks: functions at once, coroutines in order, failures reported."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from salon.base import RAISED, TaskScope
from salon.clients.odyssey.handlers import OdysseyEventHandlers
from salon.clients.odyssey.lanes import (
    Failed,
    Lane,
    close_unrun,
    end_lanes,
    itself,
    unless_cancelled,
)
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.types import AudioFrame, VideoFrame

MAX_WAITING: Final = 256
"""Coroutines of events that may wait for their turn."""
MAX_SOUND: Final = 50
"""Pieces of sound that may wait for a coroutine, about a second; then the oldest go."""
GRACE_S: Final = 5.0
"""How long coroutines may go on after the connection."""


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
        self._events = Lane(self._scope, "event", MAX_WAITING, self._report, newest=False)
        self._pictures = Lane(self._scope, "video_frame", 1, self._report, newest=True)
        self._sound = Lane(self._scope, "audio_frame", MAX_SOUND, self._report, newest=True)
        self.lanes: Final = (self._events, self._pictures, self._sound)

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
        return not any(lane.busy for lane in self.lanes)

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
        if not self._events.put(name, functools.partial(itself, result)):
            close_unrun(result)
            self._log.warning("on_%s is not run: too many callbacks wait", name)

    def video_frame(self, frame: VideoFrame) -> None:
        """Call `on_video_frame` with the picture, or with a newer one when it has time again."""
        self._media("video_frame", self._handlers.on_video_frame, frame, self._pictures)

    def audio_frame(self, frame: AudioFrame) -> None:
        """Call `on_audio_frame`."""
        self._media("audio_frame", self._handlers.on_audio_frame, frame, self._sound)

    async def close(self, grace_s: float = GRACE_S) -> None:
        """`end_callbacks` of these."""
        await end_callbacks((self,), grace_s)

    def _media(
        self, name: str, callback: Callable[[Any], Any] | None, frame: Any, lane: Lane
    ) -> None:
        if callback is None:
            return
        if lane.busy:
            lane.put(name, functools.partial(_called, callback, frame))
            return
        result = self._call(name, callback, (frame,), self._report)
        if result is not None and not lane.put(name, functools.partial(itself, result)):
            close_unrun(result)

    def _call(
        self, name: str, callback: Callable[..., Any], arguments: tuple[Any, ...], failed: Failed
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
            unless_cancelled(error)
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


async def end_callbacks(several: Iterable[Callbacks], grace_s: float = GRACE_S) -> None:
    """Give coroutines that run or wait `grace_s` seconds all together, then cancel them; as
    `end_lanes` does."""
    await end_lanes([lane for callbacks in several for lane in callbacks.lanes], grace_s)


async def _called(callback: Callable[[Any], Any], frame: Any) -> None:
    result = callback(frame)
    if inspect.isawaitable(result):
        await result


__all__ = ["GRACE_S", "Callbacks", "end_callbacks"]
