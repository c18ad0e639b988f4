"""The one clock that paces all media of the process: 20 ms, absolute deadlines, no task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from salon.base import RAISED
from salon.media.pacing import PERIOD_NS, Pacer
from salon.transport.lateness import LatenessHistogram

logger = logging.getLogger("salon.transport")

TickCallback = Callable[[int], None]
"""Called with the number of the tick. Numbers grow by one, and by more where ticks were skipped, so
that ``number * 20 ms`` is media time."""

_EARLY_NS: Final = 500_000  # event loops round timers to milliseconds
_LOG_INTERVAL_S: Final = 10.0


class Phase(IntEnum):
    """Order within one tick: every callback of a phase runs before any of the next."""

    RECEIVE = 0
    """What packets brought is taken out of the jitter buffers."""
    INBOUND = 1
    """What came in is evaluated for all calls at once: voice activity."""
    MIX = 2
    """What people of a room say to each other is mixed for each of them."""
    OUTBOUND = 3
    """What goes out is encoded and sent, in the light of that."""
    AFTER = 4
    """Meters and housekeeping."""


@dataclass(frozen=True, slots=True)
class TickerStatistics:
    """Figures since the ticker was made. `late` ticks ran more than 5 ms after their deadline,
    `skipped` ones never; `failures` are callbacks that raised; `busy_seconds` is wall time spent
    in callbacks."""

    callbacks: int
    ticks: int
    late: int
    skipped: int
    failures: int
    max_lateness_ms: float
    p99_lateness_ms: float
    busy_seconds: float


def _nothing(tick: int) -> None:
    """What a cancelled handle would call."""


class TickHandle:
    """One registered callback; `cancel` takes it out, at once and for good."""

    __slots__ = ("_ticker", "active", "callback", "phase")

    def __init__(self, ticker: Ticker, callback: TickCallback, phase: Phase) -> None:
        self._ticker = ticker
        self.callback = callback
        self.phase = phase
        self.active = True

    def cancel(self) -> None:
        """No call after this returns, not even in the tick that is running. Idempotent."""
        if self.active:
            self.active = False
            self._ticker._remove(self)
            self.callback = _nothing  # frees whoever it belonged to


class Ticker:
    """Calls every callback once per period, from the event loop, in the order of `Phase`.

    It runs while it has callbacks. A tick that comes a whole period late or more is not made up:
    the missed ones are skipped and counted (G132). A callback that raises is counted and logged (at
    most once in ten seconds) and stays; the others are not disturbed. Not thread-safe.
    """

    late_after_ms: float = 5.0

    def __init__(
        self, period_ns: int = PERIOD_NS, *, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._pacer = Pacer(period_ns)
        self._loop = loop
        self._phases: dict[Phase, list[TickHandle]] = {phase: [] for phase in Phase}
        self._order: tuple[TickHandle, ...] | None = ()
        self._timer: asyncio.TimerHandle | None = None
        self._in_tick = False
        self._lateness = LatenessHistogram()
        self._late = 0
        self._failures = 0
        self._busy = 0.0
        self._logged_at = float("-inf")
        self._unlogged = 0

    def add(self, callback: TickCallback, phase: Phase = Phase.OUTBOUND) -> TickHandle:
        """Call `callback` from the next tick on, after those of its phase that are there already.

        Within a running tick a new callback waits for the next one.
        """
        handle = TickHandle(self, callback, phase)
        self._phases[phase].append(handle)
        self._order = None
        if self._timer is None:
            self._start()
        return handle

    @property
    def running(self) -> bool:
        """Whether a tick is due."""
        return self._timer is not None

    @property
    def tick(self) -> int:
        """Number of the last tick."""
        return self._pacer.ticks

    def statistics(self) -> TickerStatistics:
        """Figures since the ticker was made."""
        return TickerStatistics(
            callbacks=sum(len(handles) for handles in self._phases.values()),
            ticks=self._lateness.total,
            late=self._late,
            skipped=self._pacer.skipped,
            failures=self._failures,
            max_lateness_ms=self._lateness.max_ms,
            p99_lateness_ms=self._lateness.quantile(0.99),
            busy_seconds=self._busy,
        )

    def _remove(self, handle: TickHandle) -> None:
        self._phases[handle.phase].remove(handle)
        self._order = None
        if self._in_tick:
            return  # the end of the tick decides whether there is a next one
        if self._timer is not None and not any(self._phases.values()):
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._pacer.restart(int(self._loop.time() * 1e9) + self._pacer.period_ns)
        self._schedule(self._loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_at((self._pacer.next_deadline or 0) / 1e9, self._run)

    def _run(self) -> None:
        loop, pacer = self._loop, self._pacer
        if loop is None or pacer.next_deadline is None:  # never: _start sets both
            return
        now = int(loop.time() * 1e9)
        lateness_ms = (now - pacer.next_deadline) / 1e6
        if pacer.due(now + _EARLY_NS):
            self._lateness.add(lateness_ms)
            if lateness_ms > self.late_after_ms:
                self._late += 1
            self._in_tick = True
            self._call_all(pacer.ticks)
            self._in_tick = False
        if any(self._phases.values()):
            self._schedule(loop)
        else:
            self._timer = None

    def _call_all(self, tick: int) -> None:
        order = self._order
        if order is None:
            order = self._order = tuple(handle for phase in Phase for handle in self._phases[phase])
        started = time.perf_counter()
        for handle in order:
            if handle.active:
                try:
                    handle.callback(tick)
                except RAISED:  # the outer edge of the media plane; logged there
                    self._failed(handle)
        self._busy += time.perf_counter() - started

    def _failed(self, handle: TickHandle) -> None:
        self._failures += 1
        self._unlogged += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            logger.exception(
                "a tick callback failed (%d failures since the last report): %r",
                self._unlogged,
                handle.callback,
            )
            self._unlogged = 0
