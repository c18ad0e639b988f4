"""A limit of calls is exact, whoever comes at the same time."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.integration.conftest import emptied, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from salon.testing.server import running_server

ALLOWED = 10
ASKED = 100


async def attempt(url: str) -> ClientConnection | InvalidStatus:
    try:
        return await connect(url, open_timeout=30)
    except InvalidStatus as refused:
        return refused


@pytest.mark.slow
async def test_100_parallel_upgrades_give_exactly_10_calls() -> None:
    with running_server(environment={"SALON_MAX_CALLS": str(ALLOWED)}) as server:
        assert server.get("/health")["max_calls"] == ALLOWED
        for _ in range(2):  # afterwards the slots are free again
            url = f"{server.ws_url}/ws"
            began = time.monotonic()
            answers = await asyncio.gather(*(attempt(url) for _ in range(ASKED)))
            took = time.monotonic() - began
            calls = [answer for answer in answers if isinstance(answer, ClientConnection)]
            refused = [answer for answer in answers if isinstance(answer, InvalidStatus)]
            assert len(calls) == ALLOWED
            assert {answer.response.status_code for answer in refused} == {503}
            assert all(int(answer.response.headers["Retry-After"]) > 0 for answer in refused)
            assert took < 10
            health = await asyncio.to_thread(server.get, "/health")
            assert (health["calls"], health["max_calls"]) == (ALLOWED, ALLOWED)
            assert len((await asyncio.to_thread(server.get, "/list"))["active_calls"]) == ALLOWED
            await asyncio.gather(*(call.close() for call in calls))
            await emptied(server)
            await until(lambda: server.get("/health")["calls"] == 0, "calls counted as used")
        metrics = server.get("/metrics")
        assert "salon_" in metrics
        assert "Traceback" not in server.log_text()
