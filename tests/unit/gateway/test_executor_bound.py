"""What the queue of commands has to give back: G35."""

from __future__ import annotations

import asyncio

from salon.gateway.commands import Command, HangupCommand, RingingCommand
from salon.gateway.executor import QUEUE_BYTES, CommandExecutor


async def _nothing(_command: Command) -> None:
    """Done at once."""


async def test_G35_what_is_carried_out_waits_no_more() -> None:
    executor = CommandExecutor(_nothing)
    loop = asyncio.ensure_future(executor.work())
    for _ in range(3):
        assert executor.submit(RingingCommand(), QUEUE_BYTES)
        await asyncio.sleep(0.01)
    assert executor.refused == 0
    loop.cancel()
    await asyncio.wait([loop])


async def test_G35_an_ending_that_stays_counts_alone() -> None:
    executor = CommandExecutor(_nothing)
    half = QUEUE_BYTES // 2
    assert executor.submit(HangupCommand(), half)
    assert executor.submit(RingingCommand(), half)
    executor.abort()
    assert executor.takes(half)
    assert not executor.takes(half + 1)
