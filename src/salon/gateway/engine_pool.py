"""Speech engines that calls bring keys for: made on first use, shared, closed when nobody uses
them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from salon.base import RAISED, SYSTEM_CLOCK, Clock, SalonError, TaskScope
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_engine, failure, is_ours

MOST_ENGINES = 32
IDLE_S = 300.0


class Startable(Protocol):
    """What every speech engine has."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


E = TypeVar("E", bound=Startable)


async def _allowed() -> None:
    """Nothing is to be checked."""


@dataclass(frozen=True)
class Recipe(Generic[E]):
    """How an engine is made. Recipes are equal if name and `digest` are: the digest stands for
    everything the engine is made of, keys included, and tells nothing of them."""

    name: str
    digest: str
    make: Callable[[], E] = field(repr=False, compare=False)
    check: Callable[[], Awaitable[None]] = field(default=_allowed, repr=False, compare=False)
    """Awaited before the engine is made; what it raises is why there is none."""


@dataclass(eq=False)
class _Entry(Generic[E]):
    ready: asyncio.Lock = field(default_factory=asyncio.Lock)
    engine: E | None = None
    users: int = 0
    since: float = 0.0
    """When the last user left."""


class EnginePool(Generic[E]):
    """At most `most` engines at once; one that is idle for `idle` seconds is closed, and earlier if
    its place is needed."""

    def __init__(
        self, *, most: int = MOST_ENGINES, idle: float = IDLE_S, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.most = most
        self.idle = idle
        self._clock = clock
        self._entries: dict[Recipe[E], _Entry[E]] = {}
        self._scope: TaskScope | None = None
        self._sweeping = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def scope(self) -> TaskScope:
        """For the work done with the engines; closed with the pool."""
        if self._closed:
            raise SpeechError("providers", "the server is closing")
        if self._scope is None:
            self._scope = TaskScope("salon.gateway.providers")
        return self._scope

    @asynccontextmanager
    async def use(self, recipe: Recipe[E]) -> AsyncGenerator[E, None]:
        """The started engine of `recipe`. `SalonError` if it cannot be made or started, or the pool
        is full of engines in use."""
        entry = await self._take(recipe)
        try:
            yield await self._started(recipe, entry)
        finally:
            entry.users -= 1
            entry.since = self._clock.monotonic()
            if entry.engine is None and not entry.users and self._entries.get(recipe) is entry:
                del self._entries[recipe]  # it did not start: the next user tries again
            self._sweep_later()

    async def close(self) -> None:
        """Close all engines; who uses one gets `SpeechError`. Idempotent."""
        self._closed = True
        scope, self._scope = self._scope, None
        entries, self._entries = self._entries, {}
        for recipe, entry in entries.items():
            await self._close(recipe, entry)
        if scope is not None:
            await scope.close()

    async def _take(self, recipe: Recipe[E]) -> _Entry[E]:
        if self._closed:
            raise SpeechError(recipe.name, "the server is closing")
        entry = self._entries.get(recipe)
        if entry is not None:
            entry.users += 1
            return entry
        oldest = None
        if len(self._entries) >= self.most:
            oldest = self._oldest_idle()
            if oldest is None:
                raise SpeechError(recipe.name, f"{self.most} other accounts are in use")
            out = self._entries.pop(oldest)
        entry = self._entries[recipe] = _Entry(users=1)
        if oldest is not None:
            await self._close(oldest, out)
        return entry

    def _oldest_idle(self) -> Recipe[E] | None:
        idle = [(entry.since, r) for r, entry in self._entries.items() if not entry.users]
        return min(idle, key=lambda found: found[0])[1] if idle else None

    async def _started(self, recipe: Recipe[E], entry: _Entry[E]) -> E:
        async with entry.ready:
            if entry.engine is not None:
                return entry.engine
            engine = None
            try:
                await recipe.check()
                engine = recipe.make()
                await engine.start()
                if self._closed:
                    raise SpeechError(recipe.name, "the server is closing")
                entry.engine = engine
            except SalonError:
                raise
            except RAISED as error:
                if is_ours(error):
                    raise
                raise failure(recipe.name, error) from error
            finally:
                if engine is not None and entry.engine is None:
                    await close_engine(engine.close, recipe.name)
            return engine

    @staticmethod
    async def _close(recipe: Recipe[E], entry: _Entry[E]) -> None:
        engine, entry.engine = entry.engine, None
        if engine is not None:
            await close_engine(engine.close, recipe.name)

    def _sweep_later(self) -> None:
        if not self._sweeping and self._entries and not self._closed:
            self._sweeping = True
            self.scope.spawn(self._sweep(), name="idle engines")

    async def _sweep(self) -> None:
        try:
            while self._entries and not self._closed:
                await self._clock.sleep(self.idle)
                now = self._clock.monotonic()
                for recipe, entry in list(self._entries.items()):
                    if not entry.users and now - entry.since >= self.idle:
                        del self._entries[recipe]
                        await self._close(recipe, entry)
        finally:
            self._sweeping = False
