"""Several processes of one worker program, lent out per piece.

A process speaks one piece at a time. One that dies takes only its piece with it and is started
again; one that does not answer, or answers nonsense, is killed first.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.base.errors import ConfigurationError, SalonError
from salon.base.tasks import TaskScope
from salon.voice.errors import SpeechError
from salon.voice.workers import frames
from salon.voice.workers.frames import Fields, FrameError
from salon.voice.workers.piece import WorkerPiece, WorkerSound
from salon.voice.workers.process import START_TIMEOUT_S, WorkerHello, WorkerProcess

MAX_WAITING: Final = 64
"""Pieces that may wait for a free process."""
WAIT_TIMEOUT_S: Final = 5.0
STALL_TIMEOUT_S: Final = 8.0
"""A process silent for this long in mid-piece is killed (below the listener's own patience)."""
CANCEL_TIMEOUT_S: Final = 0.5
"""A process that goes on with a cancelled piece for this long is killed."""
FIRST_BACKOFF_S: Final = 0.1
MAX_BACKOFF_S: Final = 5.0

_log = logging.getLogger("salon.voice.workers")


@dataclass(slots=True)
class WorkerPoolStatistics:
    """Counts since the start, but for the first three, which are of now."""

    processes: int = 0
    busy: int = 0
    waiting: int = 0
    pieces: int = 0
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    """Pieces that found the queue full or waited too long."""
    held: int = 0
    """Times a process had to wait for a slow listener."""
    crashes: int = 0
    """Processes that ended or were killed, other than by `close`."""
    wait_total_ms: float = 0.0
    wait_max_ms: float = 0.0


class WorkerEndedError(SpeechError):
    """The process of a piece ended before the piece did."""


class WorkerPool:
    """`start` before use, `close` once at the end; both idempotent. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        processes: int | None = None,
        max_waiting: int = MAX_WAITING,
        wait_timeout: float = WAIT_TIMEOUT_S,
        start_timeout: float = START_TIMEOUT_S,
        stall_timeout: float = STALL_TIMEOUT_S,
        cancel_timeout: float = CANCEL_TIMEOUT_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.size = processes or min(2, os.cpu_count() or 1)
        self._command = command
        self._max_waiting = max_waiting
        self._wait_timeout = wait_timeout
        self._start_timeout = start_timeout
        self._stall_timeout = stall_timeout
        self._cancel_timeout = cancel_timeout
        self._clock = clock
        self._hello: WorkerHello | None = None
        self._supervisors: TaskScope | None = None
        self._speaking: TaskScope | None = None
        self._running: set[WorkerProcess] = set()
        self._idle: deque[WorkerProcess] = deque()
        self._waiters: deque[asyncio.Future[WorkerProcess]] = deque()
        self._pieces: set[WorkerPiece] = set()
        self._counts = WorkerPoolStatistics()
        self._next_id = 0
        self._starting = asyncio.Lock()

    @property
    def hello(self) -> WorkerHello | None:
        """What the program says of itself; None before `start`."""
        return self._hello

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the running workers."""
        return tuple(sorted(worker.pid for worker in self._running if worker.pid is not None))

    def statistics(self) -> WorkerPoolStatistics:
        """The counts, live."""
        counts = self._counts
        counts.processes = len(self._running)
        counts.busy = len(self._running) - len(self._idle)
        counts.waiting = sum(not waiter.done() for waiter in self._waiters)
        return counts

    async def start(self) -> WorkerHello:
        """Start all processes; returns when each has started or failed once.

        `ConfigurationError` or `SpeechError` if not one of them starts.
        """
        async with self._starting:
            if self._supervisors is not None and self._hello is not None:
                return self._hello
            return await self._start()

    async def _start(self) -> WorkerHello:
        self._supervisors = TaskScope(f"{self.name} workers")
        self._speaking = TaskScope(f"{self.name} pieces")
        loop = asyncio.get_running_loop()
        firsts: list[asyncio.Future[WorkerHello]] = [loop.create_future() for _ in range(self.size)]
        for first in firsts:
            self._supervisors.spawn(self._supervise(first), name="worker")
        try:
            outcomes = await asyncio.gather(*firsts, return_exceptions=True)
        except asyncio.CancelledError:
            await self.close()
            raise
        hellos = [outcome for outcome in outcomes if isinstance(outcome, WorkerHello)]
        if not hellos:
            await self.close()
            raise next(outcome for outcome in outcomes if isinstance(outcome, BaseException))
        self._hello = hellos[0]
        return self._hello

    async def close(self) -> None:
        """End all pieces with `SpeechError` and all processes, by force if need be."""
        speaking, supervisors = self._speaking, self._supervisors
        self._speaking = self._supervisors = None
        for piece in self._pieces:
            piece.finish(SpeechError(self.name, "the engine is closing"))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(SpeechError(self.name, "the engine is closing"))
        # The readers of the pipes first: closing a process reads them to their end.
        if speaking is not None:
            await speaking.close()
        if supervisors is not None:
            await supervisors.close()
        self._hello = None

    async def speak(self, fields: Fields, sample_rate: int) -> AsyncGenerator[WorkerSound, None]:
        """Speak one piece; `fields` are those of the speak frame but for the id.

        Closing the generator cancels the piece at once, without waiting for the process. A process
        that ends before the first sound is replaced once. `SpeechError` if the pool is closed or
        overloaded or the process fails.
        """
        for last in (False, True):
            heard = False
            async with aclosing(self._speak_once(fields, sample_rate)) as sounds:
                try:
                    async for sound in sounds:
                        heard = True
                        yield sound
                    return
                except WorkerEndedError:
                    if heard or last:
                        raise

    async def _speak_once(
        self, fields: Fields, sample_rate: int
    ) -> AsyncGenerator[WorkerSound, None]:
        worker = await self._borrow()
        if self._speaking is None:
            raise SpeechError(self.name, "the engine is closed")
        self._next_id += 1
        piece = WorkerPiece(str(self._next_id), sample_rate)
        self._pieces.add(piece)
        worker.write(frames.SPEAK, {"id": piece.id, **fields})
        self._speaking.spawn(self._fill(worker, piece), name=f"piece {piece.id}")
        try:
            while (sound := await piece.take()) is not None:
                yield sound
                await asyncio.sleep(0)  # what is buffered must not keep the loop from others
        finally:
            piece.abandon()

    async def _borrow(self) -> WorkerProcess:
        if self._supervisors is None:
            raise SpeechError(self.name, "the engine is not started")
        while self._idle:
            worker = self._idle.popleft()
            if worker.alive:
                worker.lent = True
                return worker
        if sum(not waiter.done() for waiter in self._waiters) >= self._max_waiting:
            self._counts.refused += 1
            raise SpeechError(self.name, f"{self._max_waiting} pieces wait already")
        waiter: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._wait_timeout):
                return await waiter
        except TimeoutError as error:
            self._counts.refused += 1
            self._hand_back(waiter)
            message = f"no process was free within {self._wait_timeout:g} s"
            raise SpeechError(self.name, message) from error
        except asyncio.CancelledError:
            self._hand_back(waiter)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            waited = (self._clock.monotonic() - began) * 1000
            self._counts.wait_total_ms += waited
            self._counts.wait_max_ms = max(self._counts.wait_max_ms, waited)

    def _hand_back(self, waiter: asyncio.Future[WorkerProcess]) -> None:
        """The borrower leaves in the very moment a process was given to it."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self._give(waiter.result())

    def _give(self, worker: WorkerProcess) -> None:
        """The process is free: to the first in the queue, or idle."""
        worker.lent = False
        if not worker.alive:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                worker.lent = True
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    async def _fill(self, worker: WorkerProcess, piece: WorkerPiece) -> None:
        """Read the process's answer into the piece, then give the process back."""
        loop = asyncio.get_running_loop()
        killing: list[asyncio.TimerHandle] = []

        def cancel() -> None:
            worker.write(frames.CANCEL, {"id": piece.id})
            killing.append(loop.call_later(self._cancel_timeout, worker.kill))

        piece.on_abandoned = cancel
        if piece.abandoned:
            cancel()
        self._counts.pieces += 1
        error: SpeechError | None = SpeechError(self.name, "the piece was broken off")
        try:
            error = await self._read_piece(worker, piece)
        except EOFError:
            message = f"the worker ended in mid-piece. {worker.last_words}"
            error = WorkerEndedError(self.name, message)
        except TimeoutError:
            error = SpeechError(self.name, f"no answer for {self._stall_timeout:g} s")
            await worker.kill_and_drain()
        except FrameError as problem:
            error = SpeechError(self.name, f"the worker broke the protocol: {problem}")
            await worker.kill_and_drain()
        except asyncio.CancelledError:
            worker.lent = False  # the pool is closing: its supervisor reads the rest
            raise
        else:
            worker.pieces += 1
            self._give(worker)
        finally:
            self._counts.failed += error is not None and not piece.abandoned
            self._counts.cancelled += piece.abandoned
            piece.on_abandoned = None
            for timer in killing:
                timer.cancel()
            piece.finish(error)
            self._pieces.discard(piece)

    async def _read_piece(self, worker: WorkerProcess, piece: WorkerPiece) -> SpeechError | None:
        """Until done or error; an error the process survives is returned."""
        while True:
            async with asyncio.timeout(self._stall_timeout):
                kind, payload = await worker.read()
            if kind in (frames.AUDIO, frames.WORD, frames.PHONEME):
                piece.put(kind, payload)
                if piece.full:
                    self._counts.held += 1
                    await piece.wait_for_room()
                continue
            fields = frames.decode_fields(payload)
            if kind == frames.HELLO or fields.get("id") != piece.id:
                raise FrameError(f"frame {bytes((kind,))!r} for {fields.get('id')!r}")
            if kind == frames.ERROR:
                return SpeechError(self.name, str(fields.get("message"))[:300])
            return None

    async def _supervise(self, first: asyncio.Future[WorkerHello]) -> None:
        """Keep one process running."""
        backoff = FIRST_BACKOFF_S
        while True:
            worker = WorkerProcess(self.name, self._command, start_timeout=self._start_timeout)
            try:
                await self._run(worker, first)
            except SalonError as error:
                _log.warning("%s: worker does not start: %s", self.name, error)
                if not first.done():
                    first.set_exception(error)
                    if isinstance(error, ConfigurationError):
                        return
                worker.kill()
            finally:
                self._running.discard(worker)
                if worker in self._idle:
                    self._idle.remove(worker)
                await worker.close()
            self._counts.crashes += 1
            if worker.pieces:
                backoff = FIRST_BACKOFF_S
            await self._clock.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_S)

    async def _run(self, worker: WorkerProcess, first: asyncio.Future[WorkerHello]) -> None:
        """From start to end of one process."""
        hello = await worker.start()
        self._running.add(worker)
        self._hello = self._hello or hello
        if not first.done():
            first.set_result(hello)
        self._give(worker)
        status = await worker.wait()
        _log.warning("%s: worker %s ended (%s)", self.name, worker.pid, status)
