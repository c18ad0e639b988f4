"""SIGTERM lets calls end, a second one does not; the program ends with 0."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from tests.integration.conftest import until
from tests.integration.wire import placed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from salon.testing.server import ServerProcess


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    (log,) = tmp_path.glob("*.log")
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]


def started(folder: Path, timeout: str, *arguments: str) -> ServerProcess:
    arguments = arguments or ("--stt", "none")  # starts faster
    server = ServerProcess(folder, "--shutdown-timeout", timeout, *arguments)
    server.start()
    return server


async def ended(pid: int, timeout: float = 60.0) -> int | None:
    """Wait for the end of a child of ours; its exit code."""
    return await asyncio.to_thread(psutil.Process(pid).wait, timeout)


async def test_without_calls_sigterm_ends_at_once(folder: Path) -> None:
    server = await asyncio.to_thread(started, folder, "600", "--stt", "embedded")
    workers = psutil.Process(server.pid).children(recursive=True)
    assert await asyncio.to_thread(server.stop) == 0
    _, left = await asyncio.to_thread(psutil.wait_procs, workers, 30)
    assert not left, "no worker outlives its server"


async def test_G21_sigterm_lets_a_call_end_by_itself(folder: Path) -> None:
    server = await asyncio.to_thread(started, folder, "600")
    try:
        async with placed(server.ws_url) as call:
            await call.invite(tts={})
            os.kill(server.pid, signal.SIGTERM)
            async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
                async with asyncio.timeout(20):
                    while (await client.get("/ready")).status_code != 503:
                        await asyncio.sleep(0.05)
                health = (await client.get("/health")).json()
                assert (health["status"], health["calls"]) == ("draining", 1)
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{server.ws_url}/ws")
            assert refused.value.response.status_code == 503
            assert int(refused.value.response.headers["Retry-After"]) > 0
            # the running call has all it had before
            await call.send("tts", text="Still here.", playId="late")
            await call.expect("trackStart", playId="late")
            await call.expect("trackEnd", playId="late")
            call.assert_paced()
            await call.send("hangup", reason="caller")
            assert (await call.expect("hangup"))["reason"] == "caller"
            assert await call.closed() == 1000
        assert await ended(server.pid) == 0
    finally:
        server.kill()


async def test_G21_after_the_timeout_calls_are_closed_with_1001(folder: Path) -> None:
    server = await asyncio.to_thread(started, folder, "1")
    try:
        async with placed(server.ws_url) as call, connect(f"{server.ws_url}/ws/lobby") as page:
            await call.invite(tts={})
            await page.recv()
            os.kill(server.pid, signal.SIGTERM)
            assert (await call.expect("hangup"))["reason"] == "serverUnavailable"
            assert await call.closed() == 1001
            async with asyncio.timeout(20):
                await page.wait_closed()
            assert page.close_code in (1001, 1012)
        assert await ended(server.pid) == 0
        assert "still live" in server.log_text()
    finally:
        server.kill()


@pytest.mark.parametrize(
    "second",
    [
        signal.SIGINT,
        signal.SIGTERM,
    ],
)
async def test_a_second_signal_ends_calls_at_once(folder: Path, second: signal.Signals) -> None:
    server = await asyncio.to_thread(started, folder, "600")
    try:
        async with placed(server.ws_url) as call:
            await call.invite(tts={})
            os.kill(server.pid, signal.SIGTERM)
            await until(lambda: server.get("/health")["status"] == "draining", "the first signal")
            assert not call.of("hangup")
            os.kill(server.pid, second)
            await call.expect("hangup", reason="serverUnavailable")
            assert await call.closed() == 1001
        assert await ended(server.pid) == 0
    finally:
        server.kill()


async def test_ctrl_c_ends_it_as_well(folder: Path) -> None:
    server = await asyncio.to_thread(started, folder, "1")
    try:
        os.kill(server.pid, signal.SIGINT)
        assert await ended(server.pid) in (0, 130)
    finally:
        server.kill()
