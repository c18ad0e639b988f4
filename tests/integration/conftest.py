"""One server process for the tests that need nothing special."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from salon.testing.server import ServerProcess, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """``salon serve`` with the embedded engines; its log must hold no traceback at the end."""
    with running_server() as process:
        yield process
        log = process.log_text()
        assert "Traceback" not in log, log[-4000:]


async def until(condition: Callable[[], object], what: str, *, timeout: float = 45.0) -> None:
    """Wait until `condition` holds, asked every 50 ms in a thread."""
    deadline = time.monotonic() + timeout
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
        await asyncio.sleep(0.05)


async def emptied(server: ServerProcess) -> None:
    """Wait until no call is left behind."""
    await until(lambda: not server.get("/list")["active_calls"], "calls left in /list")
