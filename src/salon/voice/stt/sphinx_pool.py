"""The decoders of the recogniser: worker processes that are lent out, in order of asking."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from salon.base import TaskScope
from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.models.speech import SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.stt.sphinx_process import ENGINE, MODULE, SphinxProcess

_log = logging.getLogger("salon.voice.stt.sphinx_pool")

WAIT_SECONDS: Final = 10.0
PREPARE_SECONDS: Final = 60.0
BACKOFF_SECONDS: Final = (0.1, 0.5, 2.0, 5.0, 15.0)
KEPT_MODELS: Final = 3
GENERIC: Final = "generic"


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """`borrowed` and `waiting` are now; the rest counts from the start."""

    workers: int
    borrowed: int
    waiting: int
    restarts: int
    timeouts: int
    dropped_samples: int


class SphinxPool:
    """Lends workers. A worker that ends is replaced, later each time it ends again unused."""

    def __init__(
        self,
        workers: int,
        *,
        wait_seconds: float = WAIT_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
        module: str = MODULE,
    ) -> None:
        self._workers = workers
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._module = module
        self._scope: TaskScope | None = None
        self._directory: TemporaryDirectory[str] | None = None
        self._alive: set[SphinxProcess] = set()
        self._free: deque[SphinxProcess] = deque()
        self._waiting: deque[asyncio.Future[SphinxProcess]] = deque()
        self._models: OrderedDict[str, None] = OrderedDict()
        self._failures = 0
        self._restarts = 0
        self._timeouts = 0
        self._borrowed = 0
        self.dropped_samples = 0

    @property
    def running(self) -> bool:
        """Between `start` and `close`."""
        return self._scope is not None

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers."""
        return tuple(sorted(process.pid for process in self._alive if process.pid))

    @property
    def directory(self) -> Path | None:
        """Where the models lie while the pool runs."""
        return Path(self._directory.name) if self._directory else None

    def statistics(self) -> PoolStatistics:
        """A snapshot."""
        return PoolStatistics(
            workers=len(self._alive),
            borrowed=self._borrowed,
            waiting=len(self._waiting),
            restarts=self._restarts,
            timeouts=self._timeouts,
            dropped_samples=self.dropped_samples,
        )

    async def start(self) -> None:
        """Start all workers. Raises `SpeechError`; then nothing is left running."""
        self._scope = TaskScope("salon.voice.stt")
        self._directory = TemporaryDirectory(prefix="salon-stt-")
        try:
            for _ in range(self._workers):
                self._hand_out(await self._launch())
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End all workers, refuse who waits, remove the models. Idempotent."""
        scope, self._scope = self._scope, None
        if scope is None:
            return
        for future in self._waiting:
            if not future.done():
                future.set_exception(SpeechError(ENGINE, "the recogniser is closed"))
        self._waiting.clear()
        await scope.close()
        processes = list(self._alive)
        self._alive.clear()
        self._free.clear()
        await asyncio.gather(*(process.stop() for process in processes))
        self._models.clear()
        if self._directory is not None:
            await asyncio.to_thread(self._directory.cleanup)
            self._directory = None

    async def model(self, hints: SpeechHints) -> str:
        """The name under which workers know the model of these hints; writes what they need to
        build it the first time."""
        if not hints.phrases:
            return GENERIC
        # A key comes from outside: it must not become a path.
        name = hashlib.sha256(hints.key.encode()).hexdigest()[:24]
        if name not in self._models:
            if self._directory is None:
                raise SpeechError(ENGINE, "the recogniser is not running")
            path = Path(self._directory.name) / f"{name}.json"
            await asyncio.to_thread(_write_once, path, list(hints.phrases))
        self._models[name] = None
        self._models.move_to_end(name)
        return name

    async def prepare(self, name: str) -> None:
        """Have the workers load the model; one that is at work loads it at its first use. Raises
        `SpeechError`."""
        ready: set[SphinxProcess] = set()
        for _ in range(max(1, len(self._alive))):
            process = await self.borrow(PREPARE_SECONDS)
            try:
                if process not in ready:
                    await _prepare(process, name)
                    ready.add(process)
            finally:
                self.give_back(process)

    async def borrow(self, seconds: float | None = None) -> SphinxProcess:
        """The next free worker, in order of asking. Raises `SpeechError` after 10 s (or
        `seconds`) without one. Cancelling leaves the queue."""
        if self._scope is None:
            raise SpeechError(ENGINE, "the recogniser is not running")
        while self._free and not self._waiting:
            process = self._free.popleft()
            if process.alive:
                self._borrowed += 1
                return process
        future: asyncio.Future[SphinxProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        limit = self._wait_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                return await self._handed(future)
        except TimeoutError:
            self._timeouts += 1
            raise SpeechError(ENGINE, f"no decoder was free within {limit:g} s") from None
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    async def _handed(self, future: asyncio.Future[SphinxProcess]) -> SphinxProcess:
        try:
            return await future
        except asyncio.CancelledError:
            # Handed over and given up in the same moment: it goes to the next.
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())
            raise

    def give_back(self, process: SphinxProcess) -> None:
        """End the loan; the worker has nothing of the borrower's left to do."""
        self._borrowed -= 1
        if process in self._alive and process.alive:
            self._failures = 0
            self._hand_out(process)

    def _hand_out(self, process: SphinxProcess) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                self._borrowed += 1
                future.set_result(process)
                return
        self._free.append(process)

    async def _launch(self) -> SphinxProcess:
        assert self._directory is not None
        process = SphinxProcess(Path(self._directory.name), self._ended, self._module)
        await process.start()
        self._alive.add(process)
        return process

    def _ended(self, process: SphinxProcess) -> None:
        if process not in self._alive:
            return
        self._alive.discard(process)
        if process in self._free:
            self._free.remove(process)
        if self._scope is not None:
            self._scope.spawn(self._replace(), name="restart")

    async def _replace(self) -> None:
        while True:
            delay = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
            self._failures += 1
            await self._clock.sleep(delay)
            self._restarts += 1
            try:
                process = await self._launch()
            except SpeechError as error:
                _log.warning("a recognition worker did not start: %s", error)
                continue
            try:
                for name in list(self._models)[-KEPT_MODELS:]:
                    await _prepare(process, name)
            except SpeechError as error:
                _log.warning("a new recognition worker has no model: %s", error)
            if process.alive:
                self._hand_out(process)
            return


async def _prepare(process: SphinxProcess, name: str) -> None:
    try:
        async with asyncio.timeout(PREPARE_SECONDS):
            await process.prepare(name)
    except TimeoutError:
        raise SpeechError(ENGINE, f"the model took longer than {PREPARE_SECONDS:g} s") from None


def _write_once(path: Path, phrases: list[str]) -> None:
    if not path.exists():
        path.write_text(json.dumps(phrases), "utf-8")
