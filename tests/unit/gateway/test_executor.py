"""The queue of commands on its own (G34, G35)."""

from __future__ import annotations

import asyncio

import pytest

from salon.base import LocalProtocolError
from salon.gateway.commands import (
    Command,
    CustomCommand,
    HangupCommand,
    RejectCommand,
    RingingCommand,
)
from salon.gateway.executor import QUEUE_BYTES, CommandExecutor, ends_call
from salon.gateway.state import TRANSITIONS, SessionState, Signal, advance


class Work:
    """Commands that take a second each; the numbers of those begun and done."""

    def __init__(self, bound: int = 256) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.executor = CommandExecutor(self._run, bound=bound)
        self.loop = asyncio.ensure_future(self.executor.work())

    async def _run(self, command: Command) -> None:
        assert isinstance(command, CustomCommand)
        self.begun.append(command.data)
        await asyncio.sleep(1)
        if command.data < 0:
            raise LookupError("a defect")
        self.done.append(command.data)

    def submit(self, *numbers: int) -> list[bool]:
        return [self.executor.submit(CustomCommand(data=number)) for number in numbers]

    async def end(self) -> None:
        self.loop.cancel()
        await asyncio.wait([self.loop])


async def test_G34_one_after_another_in_order() -> None:
    work = Work()
    work.submit(1, 2, 3)
    await asyncio.sleep(1.5)
    assert (work.begun, work.done) == ([1, 2], [1])
    await asyncio.sleep(2)
    assert work.done == [1, 2, 3]
    assert work.executor.running is None
    await work.end()


async def test_G35_the_queue_is_bounded_and_counts() -> None:
    work = Work(bound=2)
    assert work.submit(1, 2, 3) == [True, True, False]
    assert work.executor.refused == 1
    await work.end()


async def test_skip_cancels_one_abort_all() -> None:
    work = Work()
    work.submit(1, 2, 3, 4)
    await asyncio.sleep(0.5)
    work.executor.skip()
    await asyncio.sleep(0.5)
    assert (work.begun, work.done) == ([1, 2], [])
    work.executor.abort()
    await asyncio.sleep(5)
    assert (work.begun, work.done) == ([1, 2], [])
    work.submit(5)
    await asyncio.sleep(5)
    assert work.done == [5]
    work.executor.skip()  # nothing runs: nothing happens
    await work.end()


async def test_the_running_command_ends_with_the_loop() -> None:
    work = Work()
    work.submit(1)
    await asyncio.sleep(0.5)
    await work.end()
    await asyncio.sleep(5)
    assert work.done == []


async def test_a_command_that_raises_is_logged_and_the_next_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()
    work.submit(-1, 2)
    await asyncio.sleep(3)
    assert work.done == [2]
    assert "custom" in caplog.text
    await work.end()


@pytest.mark.parametrize("state", list(SessionState))
@pytest.mark.parametrize("signal", list(Signal))
def test_G285_every_transition_is_in_the_table(state: SessionState, signal: Signal) -> None:
    after = TRANSITIONS[state].get(signal)
    if after is None:
        with pytest.raises(LocalProtocolError, match=state.value):
            advance(state, signal)
    else:
        assert advance(state, signal) is after


def test_G112_a_call_ends_once() -> None:
    for state in SessionState:
        assert (Signal.HANGUP in TRANSITIONS[state]) == (state is not SessionState.HUNGUP)


async def test_G35_what_waits_is_bounded_in_bytes_too() -> None:
    async def run(_command: Command) -> None:
        """Nothing."""

    executor = CommandExecutor(run)
    half = QUEUE_BYTES // 2
    assert executor.submit(RingingCommand(), half)
    assert executor.submit(RingingCommand(), half)
    assert not executor.submit(RingingCommand(), 1)
    assert executor.refused == 1
    executor.abort()  # nothing runs; what waits is forgotten
    assert executor.submit(RingingCommand(), 2 * half)


@pytest.mark.parametrize(
    ("command", "ends"),
    [
        (HangupCommand(), True),
        (HangupCommand(refer=True), False),
        (RejectCommand(reason="busy"), True),
        (RingingCommand(), False),
    ],
)
def test_G34_what_ends_a_call(command: Command, ends: bool) -> None:
    assert ends_call(command) is ends
