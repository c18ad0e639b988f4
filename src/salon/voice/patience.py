"""How long others are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LEAST_S = 0.001
"""Loops keep time in milliseconds: a timer may come that much too early."""


class Patience:
    """Calls `late` once something was waited for without a break for `limit_s` seconds.

    `wait` and `came` are cheap enough for every frame: there is one timer, and it is set anew when
    it is over, not with each call. `late` is called once per wait, in the loop that `wait` was
    called in; after `close` no more.
    """

    __slots__ = ("_closed", "_late", "_limit_s", "_since", "_timer")

    def __init__(self, limit_s: float, late: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._late = late
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> bool:
        """Whether something is waited for, in time or late."""
        return self._since is not None

    def wait(self) -> None:
        """It is waited for from now on; without effect while it is."""
        if self._since is not None or self._closed:
            return
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._limit_s, self._look)

    def came(self) -> None:
        """What was waited for is there; idempotent."""
        self._since = None

    def close(self) -> None:
        """Nothing is waited for any more; idempotent."""
        self._closed = True
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return
        loop = asyncio.get_running_loop()
        left = self._since + self._limit_s - loop.time()
        if left > 0:
            self._timer = loop.call_later(max(left, _LEAST_S), self._look)
        else:
            self._late()
