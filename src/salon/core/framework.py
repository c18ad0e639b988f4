"""Framework events: notifications about the work itself, never stored (chapter 15)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from salon.core.lanes import Lanes
from salon.models.base import utc_now

_log = logging.getLogger("salon.core.framework")

MAX_WAITING = 1024
"""Events that may wait for one asynchronous listener; beyond, it misses the newest."""


@dataclass(frozen=True, slots=True)
class FrameworkEvent:
    """One notification."""

    type: str
    room_id: str | None = None
    channel_id: str | None = None
    event_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime = field(default_factory=utc_now)


Listener = Callable[[FrameworkEvent], Awaitable[None] | None]


class FrameworkEvents:
    """Subscribe by name, or to everything with ``"*"``.

    A plain function runs at once and must be quick; a coroutine function runs in a lane of its own,
    its events one after the other, and so does what any other listener returns to be awaited. What
    listeners raise is logged (R169).
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._lanes = Lanes("framework listeners")
        self.dropped = 0
        """Notifications that a slow asynchronous listener missed."""

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """Listen; the result stops it."""
        self._listeners.setdefault(name, []).append(listener)

        def forget() -> None:
            if listener in self._listeners.get(name, ()):
                self._listeners[name].remove(listener)

        return forget

    def emit(
        self,
        name: str,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
        event_id: str | None = None,
        facts: Mapping[str, Any] | None = None,
        **data: Any,
    ) -> None:
        """Tell the listeners. `facts` are further data, under names that are parameters here."""
        if not self._listeners:
            return
        listeners = (*self._listeners.get(name, ()), *self._listeners.get("*", ()))
        if not listeners:
            return
        event = FrameworkEvent(name, room_id, channel_id, event_id, {**(facts or {}), **data})
        for listener in listeners:
            if inspect.iscoroutinefunction(listener):
                self._hand_over(listener, partial(listener, event))
                continue
            try:
                result = listener(event)
            except Exception:  # noqa: BLE001 - the host's code
                _log.exception("a listener of %s failed", name)
            else:
                if inspect.isawaitable(result):
                    self._await(listener, result)

    def _await(self, listener: Listener, result: Awaitable[None]) -> None:
        """Have what a listener returned awaited; what is not awaited leaves no warning behind."""

        async def job() -> None:
            await result

        handed = self._hand_over(listener, job)
        if inspect.iscoroutine(result):
            if handed is None:
                result.close()
            else:
                handed.add_done_callback(lambda _: result.close())

    def _hand_over(
        self, listener: Listener, job: Callable[[], Awaitable[None]]
    ) -> asyncio.Future[None] | None:
        """Put a job into the lane of a listener; None if it was dropped."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a channel registered before anything runs
            self.dropped += 1
            return None
        key = (getattr(listener, "__qualname__", type(listener).__qualname__), id(listener))
        if self._lanes.waiting(key) >= MAX_WAITING:
            self.dropped += 1
            return None
        return self._lanes.put(key, job)

    async def close(self, timeout: float) -> None:
        """Let the listeners finish for a bounded time, then abort."""
        await self._lanes.close(timeout)


_ELSEWHERE = {"RoomKit": "salon.core.kit"} | dict.fromkeys(
    (
        "ChannelAlreadyRegisteredError",
        "ChannelNotFoundError",
        "ChannelNotRegisteredError",
        "IdentityNotFoundError",
        "ParticipantNotFoundError",
        "RoomClosedError",
        "RoomKitError",
        "RoomNotFoundError",
        "SourceAlreadyAttachedError",
        "SourceNotFoundError",
    ),
    "salon.core.errors",
)
"""What RoomKit has here."""


def __getattr__(name: str) -> Any:
    where = _ELSEWHERE.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(where), name)
