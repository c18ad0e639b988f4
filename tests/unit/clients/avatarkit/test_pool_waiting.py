"""Who waits for a connection of the pool: in which order, and what giving up costs (A109)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conformance.avatarkit.scripted_server import LIMIT, ScriptedServer, scripted_server

from salon.clients.avatarkit import AnimationCollector, AvatarConnectionPool
from salon.clients.avatarkit.pool import ConfigFactory, PooledConnection


def settings_of(server: ScriptedServer) -> ConfigFactory:
    """What a session of the pool is told."""

    def settings(collector: AnimationCollector) -> dict[str, Any]:
        return {
            "api_key": "k",
            "app_id": "p",
            "avatar_id": "a",
            "console_endpoint_url": server.console_url,
            "ingress_endpoint_url": server.ingress_url,
            "transport_frames": collector.transport_frame,
            "on_error": collector.on_error,
            "on_close": collector.on_close,
        }

    return settings


@asynccontextmanager
async def pool_of_one() -> AsyncIterator[AvatarConnectionPool]:
    """A pool with one connection."""
    async with scripted_server() as server, asyncio.timeout(LIMIT):
        pool = AvatarConnectionPool(1, settings_of(server))
        await pool.initialize()
        try:
            yield pool
        finally:
            await pool.close()


async def test_A109_who_waits_longest_is_next() -> None:
    served: list[int] = []
    async with pool_of_one() as pool:

        async def take(number: int) -> None:
            async with pool.borrow():
                served.append(number)

        async with pool.borrow():
            waiting = []
            for number in range(4):
                waiting.append(asyncio.ensure_future(take(number)))
                await asyncio.sleep(0)
            assert served == []
        await asyncio.gather(*waiting)
    assert served == [0, 1, 2, 3]


async def test_A109_a_connection_that_comes_in_the_moment_of_giving_up_is_not_lost() -> None:
    async with pool_of_one() as pool:

        async def take() -> None:
            async with pool.borrow():
                pytest.fail("it had given up")

        async with pool.borrow() as first:
            giving_up = asyncio.ensure_future(take())
            await asyncio.sleep(0)
        assert pool.available_count == 0  # it is on its way
        giving_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await giving_up
        assert pool.available_count == 1
        async with pool.borrow(timeout=1) as again:
            assert again is first


async def test_A109_a_close_that_is_cancelled_at_once_leaves_nothing_open() -> None:
    async with pool_of_one() as pool:
        async with pool.borrow() as one:
            session = one.session
        closing = asyncio.ensure_future(pool.close())
        await asyncio.sleep(0)  # it has begun, the closing of the session has not
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert not session.connected


async def test_A109_an_initialize_that_is_cancelled_over_and_over_leaves_nothing_open() -> None:
    opened: list[PooledConnection] = []
    cancelling: list[asyncio.Task[None]] = []

    async def cancel() -> None:
        for _ in range(10):
            initializing.cancel()
            await asyncio.sleep(0)

    class Watched(AvatarConnectionPool):
        async def _open(self) -> PooledConnection:
            opened.append(await super()._open())
            cancelling.append(asyncio.create_task(cancel()))  # in the moment of success
            return opened[-1]

    async with scripted_server() as server, asyncio.timeout(LIMIT):
        pool = Watched(1, settings_of(server))
        initializing = asyncio.create_task(pool.initialize())
        with pytest.raises(asyncio.CancelledError):
            await initializing
        await cancelling[0]
        assert not opened[0].session.connected
        assert pool.total_count == 0
