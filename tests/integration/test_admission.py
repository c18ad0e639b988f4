"""A limit of calls is exact, whoever comes at the same time."""

from __future__ import annotations

import asyncio

from tests.integration.conftest import emptied, until
from tests.integration.wire import placed
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from salon.testing.server import running_server

ALLOWED = 10
ASKED = 100
TEXT = "One sentence follows another, and nobody who comes later disturbs them. " * 60
"""More than is said while the others come and go."""


async def attempt(url: str) -> ClientConnection | InvalidStatus:
    try:
        return await connect(url, open_timeout=60)
    except InvalidStatus as refused:
        return refused


async def crowd(url: str, calls: int) -> list[ClientConnection]:
    """Everybody comes at once; those that got one of the `calls` free places."""
    answers = await asyncio.gather(*(attempt(url) for _ in range(ASKED)))
    let_in = [answer for answer in answers if isinstance(answer, ClientConnection)]
    refused = [answer for answer in answers if isinstance(answer, InvalidStatus)]
    assert len(let_in) == calls
    assert {answer.response.status_code for answer in refused} == {503}
    assert all(int(answer.response.headers["Retry-After"]) > 0 for answer in refused)
    return let_in


async def test_100_parallel_upgrades_give_exactly_10_calls() -> None:
    with running_server("--stt", "none", environment={"SALON_MAX_CALLS": str(ALLOWED)}) as server:
        url = f"{server.ws_url}/ws"
        assert (await asyncio.to_thread(server.get, "/health"))["max_calls"] == ALLOWED
        for _ in range(2):  # afterwards the places are free again
            calls = await crowd(url, ALLOWED)
            health = await asyncio.to_thread(server.get, "/health")
            assert (health["calls"], health["max_calls"]) == (ALLOWED, ALLOWED)
            assert len((await asyncio.to_thread(server.get, "/list"))["active_calls"]) == ALLOWED
            ready = await asyncio.to_thread(server.get, "/ready")
            assert (ready["status"], ready["free_calls"]) == ("full", 0)
            await asyncio.gather(*(call.close() for call in calls))
            await emptied(server)
            await until(lambda: server.get("/health")["calls"] == 0, "calls counted as used")

        async with placed(server.ws_url) as running:
            await running.invite(tts={}, vad={})
            await running.send("tts", text=TEXT, playId="running")
            await running.expect("trackStart", playId="running")
            await running.heard(50)
            async with running.quiet():
                for _ in range(2):
                    calls = await crowd(url, ALLOWED - 1)
                    await asyncio.gather(*(call.close() for call in calls))
                    await until(lambda: server.get("/health")["calls"] == 1, "the other calls")
                await running.heard(len(running.audio) + 50)
            running.assert_paced(jitter=0.5)
            assert not running.of("error")
            assert not running.of("trackEnd")
            await running.send("hangup")
            assert await running.closed() == 1000
        metrics = await asyncio.to_thread(server.get, "/metrics")
        refused = next(line for line in metrics.splitlines() if 'status="503"' in line)
        assert float(refused.split()[-1]) == 2 * (ASKED - ALLOWED) + 2 * (ASKED - ALLOWED + 1)
        assert "Traceback" not in server.log_text()
