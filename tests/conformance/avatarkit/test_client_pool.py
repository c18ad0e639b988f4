"""The pool of connections and its collector: A60, A109."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from tests.conformance.avatarkit.scripted_server import (
    LIMIT,
    ScriptedServer,
    Socket,
    animation,
    parsed,
    scripted_server,
    soon,
)

from salon.base.clock import SystemClock
from salon.clients.avatarkit import (
    AnimationCollector,
    AvatarConnectionPool,
    AvatarSDKError,
    AvatarSDKErrorCode,
)

SOUND = b"\x01\x00"


async def answering(socket: Socket) -> None:
    """Two messages for each request."""
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            audio = parsed(message.data).client_audio_input
            if audio.end:
                await socket.send_bytes(animation(audio.req_id))
                await socket.send_bytes(animation(audio.req_id, end=True))


def pool_of(server: ScriptedServer, size: int, **more: Any) -> AvatarConnectionPool:
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

    return AvatarConnectionPool(size, settings, **more)


@asynccontextmanager
async def running(size: int) -> AsyncIterator[tuple[ScriptedServer, AvatarConnectionPool]]:
    async with scripted_server() as server, asyncio.timeout(LIMIT):
        server.script = answering
        pool = pool_of(server, size)
        await pool.initialize()
        try:
            yield server, pool
        finally:
            await pool.close()
            await soon(lambda: not server.open)


async def ask(pool: AvatarConnectionPool) -> tuple[str, int]:
    async with pool.borrow() as one:
        req_id = await one.session.send_audio(SOUND, end=True)
        await one.collector.wait(LIMIT)
        assert {parsed(data).server_response_animation.req_id for data in one.collector.frames} == {
            req_id
        }
        return one.connection_id, len(one.collector.frames)


async def test_A109_a_pool_connects_all_at_once_and_serves_in_turn() -> None:
    async with running(3) as (server, pool):
        assert (pool.total_count, pool.available_count, server.open) == (3, 3, 3)
        for _ in range(2):
            assert [count for _, count in [await ask(pool) for _ in range(3)]] == [2, 2, 2]
        stats = pool.get_stats()
        assert stats["total_connections"] == stats["available_connections"] == 3
        assert stats["total_requests_served"] == 6
        assert [one["request_count"] for one in stats["connections"]] == [2, 2, 2]
        assert len(server.upgrades) == 3


async def test_A109_A110_many_connections_and_requests() -> None:
    async with running(100) as (server, pool):
        results = await asyncio.gather(*(ask(pool) for _ in range(250)))
        assert [count for _, count in results] == [2] * 250
        assert pool.get_stats()["total_requests_served"] == 250
        assert (pool.available_count, len(server.upgrades)) == (100, 100)


async def test_A109_one_request_per_connection_at_a_time() -> None:
    async with running(1) as (_, pool):
        async with pool.borrow() as one:
            assert pool.available_count == 0
            waiting = asyncio.ensure_future(ask(pool))
            with pytest.raises(TimeoutError):
                async with pool.borrow(timeout=0.01):
                    pass
            assert not waiting.done()
            assert one.session is not None
            assert one.collector is not None
        assert (await waiting)[1] == 2
        assert pool.available_count == 1


async def test_A109_a_pool_lives_with_what_it_got() -> None:
    async with scripted_server() as server:
        server.script = answering
        left = [web.Response(status=503), web.Response(status=404)]
        server.refusal = None

        async def token(_: web.Request) -> web.StreamResponse:
            return left.pop() if left else web.json_response({"sessionToken": "t"})

        server.token = token
        pool = pool_of(server, 4)
        await pool.initialize()
        assert (pool.total_count, pool.available_count) == (2, 2)
        await pool.close()


async def test_A109_a_pool_that_gets_nothing_fails() -> None:
    async with scripted_server() as server:
        server.refusal = lambda: web.Response(status=503)
        pool = pool_of(server, 3)
        with pytest.raises(RuntimeError, match=r"^Failed to create any connections$") as caught:
            await pool.initialize()
        assert isinstance(caught.value.__cause__, AvatarSDKError)
        with pytest.raises(RuntimeError):
            async with pool.borrow():
                pass
        await pool.close()


async def test_A109_a_cancelled_initialization_leaves_nothing_open() -> None:
    async with scripted_server() as server:
        pool = pool_of(server, 5)
        opening = asyncio.ensure_future(pool.initialize())
        await soon(lambda: server.open)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await soon(lambda: not server.open)
        assert pool.total_count == 0


async def test_A109_a_lost_connection_is_replaced_when_it_is_lent() -> None:
    async with running(2) as (server, pool):
        for request in server.upgrades:
            assert request.transport is not None
            request.transport.abort()
        await soon(lambda: not any(one["connected"] for one in pool.get_stats()["connections"]))
        assert [(await ask(pool))[1] for _ in range(3)] == [2, 2, 2]
        assert len(server.upgrades) == 4
        assert pool.get_stats()["total_replaced"] == 2


async def test_A109_a_connection_that_cannot_be_replaced_is_tried_again_later() -> None:
    async with running(1) as (server, pool):
        assert server.upgrades[0].transport is not None
        server.upgrades[0].transport.abort()
        await soon(lambda: not pool.get_stats()["connections"][0]["connected"])
        server.refusal = lambda: web.Response(status=503)
        with pytest.raises(AvatarSDKError):
            await ask(pool)
        assert pool.available_count == 1
        server.refusal = None
        assert (await ask(pool))[1] == 2


async def test_A60_A109_what_is_left_of_a_request_reaches_no_other_borrower() -> None:
    async with running(1) as (server, pool):

        async def give_up() -> None:
            async with pool.borrow() as one:
                await one.session.send_audio(SOUND, end=True)
                raise KeyError("given up")

        with pytest.raises(KeyError):
            await give_up()
        assert (await ask(pool))[1] == 2
        assert len(server.upgrades) == 2


async def test_A109_close_ends_lent_connections_and_who_waits() -> None:
    async with running(1) as (server, pool):
        async with pool.borrow() as one:
            waiting = asyncio.ensure_future(ask(pool))
            await asyncio.sleep(0)
            await pool.close()
            with pytest.raises(RuntimeError, match="closed"):
                await waiting
            with pytest.raises(AvatarSDKError):
                await one.collector.wait(LIMIT)
        assert (pool.total_count, pool.available_count) == (0, 0)
        await pool.close()
        await soon(lambda: not server.open)


class SetClock(SystemClock):
    """Shows the time that the test sets."""

    wall = 1_900_000_000.0

    def time(self) -> float:
        return self.wall


async def test_A109_tokens_live_as_long_as_the_pool_says_and_ages_are_told() -> None:
    clock = SetClock()
    async with scripted_server() as server:
        pool = pool_of(server, 1, session_ttl_minutes=7, clock=clock)
        await pool.initialize()
        assert server.token_requests[0][3] == {"expireAt": 1_900_000_420}
        clock.wall += 300.0
        assert pool.get_stats()["connections"][0]["age_seconds"] == 300.0
        await pool.close()


def test_A109_a_pool_of_nothing() -> None:
    with pytest.raises(ValueError, match="1 connection"):
        AvatarConnectionPool(0, lambda _: {})


async def test_A109_a_collector_waits_for_the_end() -> None:
    collector = AnimationCollector()
    waiting = asyncio.ensure_future(collector.wait(LIMIT))
    await asyncio.sleep(0)
    collector.transport_frame(b"one", False)
    await asyncio.sleep(0)
    assert not waiting.done()
    collector.transport_frame(b"two", True)
    await waiting
    collector.transport_frame(b"three", False)
    assert (collector.frames, collector.last) == ([b"one", b"two"], True)
    collector.reset()
    assert (collector.frames, collector.last, collector.error) == ([], False, None)
    with pytest.raises(TimeoutError):
        await collector.wait(timeout=0.01)


async def test_A109_a_collector_does_not_wait_for_what_will_not_come() -> None:
    collector = AnimationCollector()
    failure = AvatarSDKError(AvatarSDKErrorCode.serverError, "boom")
    collector.on_error(failure)
    collector.on_error(ValueError("later"))
    with pytest.raises(AvatarSDKError) as caught:
        await collector.wait(LIMIT)
    assert caught.value is failure
    collector.reset()
    collector.on_close()
    with pytest.raises(AvatarSDKError) as caught:
        await collector.wait(LIMIT)
    assert caught.value.code == "connectionClosed"


async def test_A60_A103_a_collector_takes_one_request_and_each_end_once() -> None:
    collector = AnimationCollector()
    collector.expect("b")
    for data in (animation("a", end=True), b"\xff", animation("b")):
        collector.transport_frame(data, False)
    collector.transport_frame(animation("b", end=True), True)
    collector.transport_frame(animation("b", end=True), True)
    assert collector.frames == [animation("b"), animation("b", end=True)]
    assert collector.discarded == 2


async def test_A109_a_collector_is_bounded() -> None:
    collector = AnimationCollector(max_bytes=10)
    for _ in range(5):
        collector.transport_frame(b"1234", False)
    assert (len(collector.frames), collector.size) == (2, 8)
    with pytest.raises(BufferError):
        await collector.wait(LIMIT)


async def test_A109_a_pool_is_initialized_once() -> None:
    async with scripted_server() as server, asyncio.timeout(LIMIT):
        server.script = answering
        pool = pool_of(server, 2)
        results = await asyncio.gather(pool.initialize(), pool.initialize(), return_exceptions=True)
        assert [type(one) for one in results] == [type(None), RuntimeError]
        assert server.open == 2
        await pool.close()
        await soon(lambda: not server.open)
