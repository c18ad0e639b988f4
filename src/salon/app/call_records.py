"""Call records on their way out: one JSON document per call that ended (G218).

Calls put them into a bounded queue; one task hands them to the sink, with retries. What the sink
does not take in the end goes to a local folder, so that nothing is lost that the disk can hold, and
is sent again from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from salon.app.call_record_sinks import LocalSink, RecordSink, SinkError
from salon.app.call_record_spool import Resender
from salon.base import SYSTEM_CLOCK, Clock, TaskScope
from salon.gateway import Session
from salon.gateway.call_record import EndedCall, ended_call

_log = logging.getLogger("salon.app.call_records")

QUEUE_BOUND: Final = 1000
RETRY_AFTER_S: Final = (1.0, 5.0, 25.0)
ENOUGH_WAIT: Final = QUEUE_BOUND // 2
"""With so many waiting for a goal that is not there, they go to the spool untried."""
CLOSE_TIMEOUT_S: Final = 5.0


async def _at_once() -> None:
    """Nothing is to be waited for."""


class CallRecordQueue:
    """Takes the records of calls (`put`, an `on_ended`) and hands them to `sink` in order, each at
    least once. Close it after the calls.

    `settled` is awaited before a record with files goes out: they are written then. `spool` takes
    what the sink refuses for good, or could not take until `close`; `resender` sends from there.
    """

    def __init__(
        self,
        sink: RecordSink,
        *,
        spool: LocalSink | None = None,
        resender: Resender | None = None,
        settled: Callable[[], Awaitable[object]] = _at_once,
        clock: Clock = SYSTEM_CLOCK,
        bound: int = QUEUE_BOUND,
    ) -> None:
        self.written = 0
        """Records the sink took."""
        self.spooled = 0
        """Records that lie in the spool instead."""
        self.dropped = 0
        """Records that are lost: the queue was full, or neither sink nor spool took them."""
        self._sink = sink
        self._spool = spool
        self._resender = resender
        self._settled = settled
        self._clock = clock
        self._bound = bound
        self._queue: deque[EndedCall] = deque()
        self._changed = asyncio.Event()
        self._scope = TaskScope("call records")
        self._again = TaskScope("call records again")
        self._closing = False
        self._closed = False
        self._down = False
        """The record before this one was put aside: the next is tried once, so that a goal that is
        not there for long does not let the queue run over."""

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, session: Session) -> None:
        """A call is over; returns at once."""
        call = ended_call(session)
        if call is None:
            return
        if self._closed or len(self._queue) >= self._bound:
            self._lost(call, "the server stops" if self._closed else "too many wait")
            return
        self._queue.append(call)
        self._changed.set()

    async def start(self) -> None:
        """Begin to hand out records."""
        self._scope.spawn(self._work(), name="out")
        if self._resender is not None:
            self._again.spawn(self._resender.run(), name="rounds")

    @property
    def resent(self) -> int:
        """Records that the sink took from the spool."""
        return 0 if self._resender is None else self._resender.resent

    async def close(self) -> None:
        """Hand out what waits, within `CLOSE_TIMEOUT_S`; what is left goes to the spool."""
        self._closing = True
        self._changed.set()
        await self._again.close()
        await self._scope.drain(CLOSE_TIMEOUT_S)
        await self._scope.close()
        while self._queue:
            await self._put_aside(self._queue.popleft(), "the server stops")
        self._closed = True
        await self._sink.close()

    async def _work(self) -> None:
        while True:
            while self._queue:
                await self._hand_out(self._queue[0])
                self._queue.popleft()
            if self._closing:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _hand_out(self, call: EndedCall) -> None:
        if self._down and len(self._queue) > ENOUGH_WAIT:
            await self._put_aside(call, "the goal is not there")
            return
        if call.media or call.events is not None:
            await self._settled()
        for wait in (*RETRY_AFTER_S, None):
            try:
                await self._sink.put(call)
            except SinkError as error:
                hurry = self._down or self._closing
                if wait is None or not error.retryable or hurry:
                    self._down = error.retryable and self._spool is not None
                    await self._put_aside(call, str(error))
                    return
                _log.warning("record of call %s: %s; again in %g s", call.id, error, wait)
                await self._clock.sleep(wait)
            except Exception:  # noqa: BLE001 - sinks are plugged in; the records after it go on
                _log.exception("the sink of call records failed")
                await self._put_aside(call, "internal failure")
                return
            else:
                self._down = False
                self.written += 1
                return

    async def _put_aside(self, call: EndedCall, why: str) -> None:
        if self._spool is None:
            self._lost(call, why)
            return
        try:
            await self._spool.put(call)
        except SinkError as error:
            self._lost(call, f"{why}; {error}")
        else:
            self.spooled += 1
            _log.warning("record of call %s lies in %s: %s", call.id, self._spool.root, why)

    def _lost(self, call: EndedCall, why: str) -> None:
        self.dropped += 1
        _log.error("the record of call %s is lost: %s", call.id, why)
