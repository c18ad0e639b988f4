"""Sources: their life as the framework tells of it (chapter 7; R68, R69)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, message

from salon.core.errors import SourceAlreadyAttachedError, SourceNotFoundError
from salon.core.ports.source import BaseSourceProvider, EmitCallback
from salon.models import InboundResult, SourceStatus


class Line(BaseSourceProvider):
    """A connection that a test opens, speaks on and breaks; the next one opens by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.emit: EmitCallback | None = None
        self.broken = asyncio.Event()
        self.starts = 0
        self.stopped = False

    @property
    def name(self) -> str:
        return "line"

    async def start(self, emit: EmitCallback) -> None:
        self.starts += 1
        self.emit = emit
        self.broken.clear()
        self._set_status(SourceStatus.CONNECTED)
        await self.broken.wait()
        raise ConnectionError("lost")

    async def stop(self) -> None:
        self.stopped = True
        await super().stop()
        self.broken.set()

    async def says(self, body: str, channel_id: str = "sms") -> InboundResult:
        assert self.emit is not None
        self._record_message()
        return await self.emit(message(channel_id, body))


async def attached(stage: Stage, **options: Any) -> Line:
    line = Line()
    await stage.room(RecordingTransport("sms"))
    await stage.kit.attach_source("sms", line, **options)
    await stage.settle()
    return line


async def test_R69_the_life_of_a_source_is_told_in_order(stage: Stage) -> None:
    names = "attached connected error disconnected exhausted detached"
    heard = stage.listen(*(f"source_{name}" for name in names.split()))
    line = await attached(stage)
    line.broken.set()
    await stage.settle(20)
    await stage.kit.detach_source("sms")
    await stage.settle()
    assert [event.type.removeprefix("source_") for event in heard] == [
        "attached", "connected", "disconnected", "error", "connected", "disconnected", "detached"
    ]  # fmt: skip
    assert {(event.channel_id, event.data["source_id"]) for event in heard} == {("sms", "line")}
    assert "lost" in str(heard[3].data["error"])
    assert (line.starts, line.stopped) == (2, True)


async def test_R69_the_defaults_are_those_of_the_rule(stage: Stage) -> None:
    import inspect

    given = inspect.signature(stage.kit.attach_source).parameters
    assert {name: item.default for name, item in given.items() if name not in ("self",)} == {
        "channel_id": inspect.Parameter.empty,
        "source": inspect.Parameter.empty,
        "auto_restart": True,
        "restart_delay": 5.0,
        "max_restart_delay": 300.0,
        "max_restart_attempts": None,
        "max_concurrent_emits": 10,
    }


async def test_R69_without_auto_restart_a_lost_source_stays_down(stage: Stage) -> None:
    line = await attached(stage, auto_restart=False)
    line.broken.set()
    await stage.settle(1000)
    assert line.starts == 1
    assert stage.kit.list_sources() == {"sms": SourceStatus.ERROR}


async def test_R69_a_second_source_and_an_unknown_one_are_refused(stage: Stage) -> None:
    line = await attached(stage)
    with pytest.raises(SourceAlreadyAttachedError):
        await stage.kit.attach_source("sms", Line())
    with pytest.raises(SourceNotFoundError):
        await stage.kit.detach_source("mail")
    assert (line.starts, stage.kit.list_sources()) == (1, {"sms": SourceStatus.CONNECTED})


async def test_R68_a_source_speaks_for_its_own_channel_only(stage: Stage) -> None:
    line = await attached(stage)
    stage.register(RecordingTransport("mail"))
    result = await line.says("hello", channel_id="mail")
    assert result.event is not None
    assert result.event.source.channel_id == "sms"


async def test_R68_the_pipelines_gates_hold_for_sources_too(stage: Stage) -> None:
    line = await attached(stage)
    stage.block("no", name="censor")
    result = await line.says("hello")
    assert (result.blocked, result.reason) == (True, "no")
    await stage.kit.close_room(ROOM)
    await line.says("hello")
    assert await stage.said() == [("hello", "censor")]


async def test_R68_a_message_that_fails_does_not_end_the_connection(stage: Stage) -> None:
    heard = stage.listen("source_error")
    line = await attached(stage)
    sms = stage.kit.get_channel("sms")
    assert isinstance(sms, RecordingTransport)

    async def broken(*_: Any) -> None:
        raise ValueError("no such thing")

    sms.parse = broken
    assert (await line.says("one")).blocked
    sms.parse = None
    assert not (await line.says("two")).blocked
    assert (line.starts, len(heard)) == (1, 1)


async def test_R69_a_source_tells_how_it_is(stage: Stage) -> None:
    line = await attached(stage)
    await line.says("hello")
    health = await stage.kit.source_health("sms")
    assert health is not None
    assert (health.status, health.messages_received) == (SourceStatus.CONNECTED, 1)
    assert await stage.kit.source_health("mail") is None
