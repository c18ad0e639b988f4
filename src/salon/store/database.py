"""A SQL database: its connections, its threads, its transactions."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from salon.store.errors import DatabaseUnavailableError, OutcomeUnknownError, UnfitTextError

T = TypeVar("T")

_CONFLICTS = ("40001", "40P01")
"""Serialization failure, deadlock."""

Transact = Callable[[Callable[[Connection], Any]], Any]
"""Runs a function in a transaction, in this thread, and returns what it returns."""


@dataclass(frozen=True, slots=True)
class Side:
    """Connections and as many threads: no thread ever waits for a connection."""

    engine: Engine
    threads: ThreadPoolExecutor

    async def run(self, work: Callable[[], T]) -> T:
        """`work()`, in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    def close(self) -> None:
        """Finish what was asked for, then disconnect; blocks."""
        self.threads.shutdown(wait=True)
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class Sides:
    """What writes and what reads."""

    writer: Side
    reader: Side


class Database(ABC):
    """One database, shared by the stores on it.

    Some connections write, others read; each works in a thread of its own, so there is one switch
    of threads per transaction. Cancelling a caller cancels a transaction that has not begun; a
    begun one is finished, and `close` waits for it. Transactions waiting are as many as callers,
    first come first served.
    """

    lanes: int = 1
    """Transactions at a time that `start` is good for: more make smaller groups of commits."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sides: Sides | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @abstractmethod
    def _connect(self) -> Sides:
        """Connections that are made when first used."""

    @abstractmethod
    def _prepare(self, engine: Engine) -> None:
        """Create or migrate the schema; blocks. `ConfigurationError` if that can never be."""

    async def open(self) -> None:
        """Connect, and create or migrate the schema; idempotent.

        `ConfigurationError` if that cannot be, `UnavailableError` if it cannot be now.
        """
        async with self._opening:
            if self._sides is not None:
                return
            sides = self._connect()
            try:
                await sides.writer.run(lambda: self._prepare(sides.writer.engine))
            except BaseException:
                await self._disconnect(sides)
                raise
            self._sides = sides

    async def close(self) -> None:
        """Finish what was asked for, then disconnect; idempotent."""
        async with self._opening:
            sides, self._sides = self._sides, None
            if sides is not None:
                await self._disconnect(sides)

    async def _disconnect(self, sides: Sides) -> None:
        for side in (sides.writer, sides.reader):
            await asyncio.to_thread(side.close)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, in another thread, in a transaction of its own; an exception rolls it back
        and is raised. `work` may run twice, the second time after the first was rolled back.

        Raises `UnavailableError` if the database is closed, busy for too long or gone;
        `OutcomeUnknownError`, one of these, if the connection was lost during the commit itself;
        `ValueError` for values it cannot hold.
        """
        side = self._opened().writer
        return await side.run(lambda: self._transact(side.engine, work))

    def start(self, job: Callable[[Transact], T]) -> asyncio.Future[T]:
        """Run `job` in a thread that writes; it gets a function that runs a transaction as `write`
        does, but blocks. `close` waits for it. `UnavailableError` if closed."""
        side = self._opened().writer

        def transact(work: Callable[[Connection], Any]) -> Any:
            return self._transact(side.engine, work)

        return asyncio.get_running_loop().run_in_executor(side.threads, lambda: job(transact))

    def check_open(self) -> None:
        """`UnavailableError` if closed."""
        self._opened()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, in another thread; each of its statements sees one consistent state. May run
        it twice. Raises what `write` does."""
        side = self._opened().reader
        return await side.run(lambda: self._query(side.engine, work))

    def _opened(self) -> Sides:
        if self._sides is None:
            raise DatabaseUnavailableError(f"the store {self.name} is not open")
        return self._sides

    def _transact(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        committing = False

        def attempt() -> T:
            nonlocal committing
            with engine.connect() as connection:
                transaction = connection.begin()
                value = work(connection)
                committing = True
                transaction.commit()
                return value

        try:
            return _twice(attempt, unless=lambda: committing)
        except DBAPIError as error:
            raise self._refusal(error, "write to", unknown=committing) from error
        except StatementError as error:
            raise _unfit(error) from error

    def _query(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        def attempt() -> T:
            with engine.connect() as connection:
                return work(connection)

        try:
            return _twice(attempt)
        except DBAPIError as error:
            raise self._refusal(error, "read from") from error
        except StatementError as error:
            raise _unfit(error) from error

    def _refusal(self, error: DBAPIError, what: str, *, unknown: bool = False) -> Exception:
        if isinstance(error, IntegrityError):
            return error
        said = " ".join(str(error.orig).split())
        if isinstance(error, DataError):
            return (UnfitTextError if "NUL" in said else ValueError)(
                f"the database does not take these values: {said}"
            )
        if unknown and error.connection_invalidated:
            return OutcomeUnknownError(
                f"lost {self.name} during a commit, which may have happened or not: {said}"
            )
        return DatabaseUnavailableError(f"cannot {what} {self.name}: {said}")


def _unfit(error: StatementError) -> Exception:
    """A value that did not even get to the driver."""
    return ValueError(f"the database does not take these values: {error.orig or error}")


def _twice(attempt: Callable[[], T], unless: Callable[[], bool] = lambda: False) -> T:
    """Again, on a new connection if an old one turns out to be dead, as all are after a restart of
    the server, or if the server chose this transaction to end a deadlock: nothing that was not
    committed has happened."""
    try:
        return attempt()
    except DBAPIError as error:
        conflict = getattr(error.orig, "sqlstate", None) in _CONFLICTS
        if unless() or not (conflict or error.connection_invalidated):
            raise
    return attempt()
