"""Supervised sources (R68, R69), in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.ports.source import (
    BaseSourceProvider,
    EmitCallback,
    SourceHealth,
    SourceProvider,
)
from salon.core.sources import (
    SourceAlreadyAttachedError,
    SourceNotFoundError,
    SourceSupervisor,
)
from salon.models import InboundMessage, InboundResult, SourceStatus
from salon.testing import VirtualClock

from .helpers import message

Life = Callable[["Scripted"], Awaitable[None]]


class Scripted(BaseSourceProvider):
    """Lives its lives one after the other, the last one again and again."""

    def __init__(self, *lives: Life, clock: VirtualClock | None = None) -> None:
        super().__init__(clock=clock or VirtualClock())
        self.lives = list(lives)
        self.started_at: list[float] = []
        self.stops = 0
        self.emit: EmitCallback | None = None

    @property
    def name(self) -> str:
        return "scripted"

    async def start(self, emit: EmitCallback) -> None:
        self._reset_stop()
        self.emit = emit
        self.started_at.append(self._clock.monotonic())
        life = self.lives.pop(0) if len(self.lives) > 1 else self.lives[0]
        await life(self)

    async def stop(self) -> None:
        self.stops += 1
        await super().stop()

    def connect(self) -> None:
        self._set_status(SourceStatus.CONNECTED)

    async def say(self, body: str = "hi", channel_id: str = "feed") -> InboundResult:
        assert self.emit is not None
        self._record_message()
        return await self.emit(message(channel_id, body))

    async def until_stopped(self) -> None:
        await self._stop_event.wait()


async def serve(source: Scripted) -> None:
    source.connect()
    await source.until_stopped()


async def refuse(source: Scripted) -> None:
    raise ConnectionError("refused, api_key=sk-abcdefghijklmnop")


async def leave(source: Scripted) -> None:
    return


class Bench:
    """A supervisor with everything it says and passes on."""

    def __init__(self, stop_timeout: float = 5.0) -> None:
        self.clock = VirtualClock()
        self.framework = FrameworkEvents()
        self.events: list[FrameworkEvent] = []
        self.framework.on("*", self.events.append)
        self.got: list[InboundMessage] = []
        self.hold: asyncio.Event | None = None
        self.failure: Exception | None = None
        self.running = 0
        self.most = 0
        self.supervisor = SourceSupervisor(
            self.emit, self.framework, self.clock, stop_timeout=stop_timeout
        )

    async def emit(self, message: InboundMessage) -> InboundResult:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.hold is not None:
                await self.hold.wait()
            if self.failure is not None:
                raise self.failure
            self.got.append(message)
            return InboundResult(None)
        finally:
            self.running -= 1

    @property
    def names(self) -> list[str]:
        return [event.type.removeprefix("source_") for event in self.events]

    def of(self, name: str) -> list[FrameworkEvent]:
        return [event for event in self.events if event.type == name]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_R68_R69_a_sources_life(bench: Bench) -> None:
    source = Scripted(serve)
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(1)
    assert bench.supervisor.statuses() == {"feed": SourceStatus.CONNECTED}
    result = await source.say("hello")
    assert result == InboundResult(None)
    assert [one.channel_id for one in bench.got] == ["feed"]
    health = await bench.supervisor.health("feed")
    assert health is not None
    assert (health.status, health.messages_received) == (SourceStatus.CONNECTED, 1)
    assert health.last_message_at == source._clock.now()
    await bench.supervisor.detach("feed")
    assert source.stops == 1
    assert bench.supervisor.statuses() == {}
    assert bench.names == ["attached", "connected", "disconnected", "detached"]
    assert {event.channel_id for event in bench.events} == {"feed"}
    assert {event.data["source_id"] for event in bench.events} == {"scripted"}
    assert await bench.supervisor.health("feed") is None


async def test_R68_a_message_is_of_the_channel_of_its_source(bench: Bench) -> None:
    source = Scripted(serve)
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(0)
    await source.say(channel_id="another")
    assert [one.channel_id for one in bench.got] == ["feed"]


async def test_R69_one_source_per_channel_and_one_channel_per_source(bench: Bench) -> None:
    source = Scripted(serve)
    await bench.supervisor.attach("feed", source)
    with pytest.raises(SourceAlreadyAttachedError, match="feed"):
        await bench.supervisor.attach("feed", Scripted(serve))
    with pytest.raises(SourceAlreadyAttachedError, match="feed"):
        await bench.supervisor.attach("other", source)
    await bench.supervisor.attach("other", Scripted(serve))
    await bench.supervisor.detach("feed")
    with pytest.raises(SourceNotFoundError):
        await bench.supervisor.detach("feed")
    with pytest.raises(SourceNotFoundError):
        bench.supervisor.status("feed")
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(0)
    assert bench.supervisor.status("feed") is SourceStatus.CONNECTED
    await bench.supervisor.close()


@pytest.mark.parametrize(
    "numbers",
    [
        {"max_concurrent_emits": 0},
        {"restart_delay": -1},
        {"max_restart_delay": -1},
        {"max_restart_attempts": -1},
    ],
)
async def test_numbers_that_make_no_sense_are_refused(
    bench: Bench, numbers: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="must"):
        await bench.supervisor.attach("feed", Scripted(serve), **numbers)  # type: ignore[arg-type]
    assert bench.supervisor.statuses() == {}


async def test_R69_restarts_wait_5_s_doubling_to_300(bench: Bench) -> None:
    source = Scripted(refuse)
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(1000)
    gaps = [b - a for a, b in zip(source.started_at, source.started_at[1:], strict=False)]
    assert gaps == [5, 10, 20, 40, 80, 160, 300, 300]
    assert bench.supervisor.status("feed") is SourceStatus.RECONNECTING
    health = await bench.supervisor.health("feed")
    assert health is not None
    assert health.status is SourceStatus.RECONNECTING
    errors = bench.of("source_error")
    assert len(errors) == len(source.started_at)
    assert "refused" in errors[0].data["error"]
    assert "sk-abc" not in errors[0].data["error"]
    assert [event.data["attempt"] for event in errors[:3]] == [0, 1, 2]
    await bench.supervisor.detach("feed")
    assert source.stops == 1
    assert "connected" not in bench.names


@pytest.mark.parametrize("life", [refuse, leave])
async def test_R69_attempts_run_out(bench: Bench, life: Life) -> None:
    source = Scripted(life)
    await bench.supervisor.attach("feed", source, max_restart_attempts=2)
    await asyncio.sleep(1000)
    assert len(source.started_at) == 3
    assert bench.names[-1] == "exhausted"
    assert bench.events[-1].data["attempts"] == 2
    assert len(bench.of("source_error")) == (3 if life is refuse else 0)
    assert bench.supervisor.status("feed") is SourceStatus.ERROR
    await bench.supervisor.detach("feed")
    assert bench.names[-1] == "detached"


@pytest.mark.parametrize(
    ("life", "status"), [(refuse, SourceStatus.ERROR), (leave, SourceStatus.STOPPED)]
)
async def test_R69_without_restart_the_end_is_the_end(
    bench: Bench, life: Life, status: SourceStatus
) -> None:
    source = Scripted(life)
    await bench.supervisor.attach("feed", source, auto_restart=False)
    await asyncio.sleep(1000)
    assert len(source.started_at) == 1
    assert bench.supervisor.status("feed") is status
    assert "exhausted" not in bench.names


async def test_R69_a_source_that_worked_begins_again_with_the_first_delay(bench: Bench) -> None:
    async def lasting(source: Scripted) -> None:
        source.connect()
        await asyncio.sleep(30)

    async def talking(source: Scripted) -> None:
        await source.say()

    source = Scripted(refuse, refuse, lasting, refuse, talking, refuse)
    await bench.supervisor.attach("feed", source, max_restart_attempts=3)
    await asyncio.sleep(1000)
    gaps = [b - a for a, b in zip(source.started_at, source.started_at[1:], strict=False)]
    assert gaps == [5, 10, 30 + 5, 10, 5, 10, 20]
    assert bench.names[-1] == "exhausted"


async def test_R69_a_connection_that_breaks_at_once_did_not_work(bench: Bench) -> None:
    async def short(source: Scripted) -> None:
        source.connect()
        raise ConnectionError

    source = Scripted(short)
    await bench.supervisor.attach("feed", source, max_restart_attempts=1)
    await asyncio.sleep(100)
    assert bench.names == [
        "attached",
        *("connected", "disconnected", "error"),
        *("connected", "disconnected", "error", "exhausted"),
    ]
    assert bench.of("source_error")[0].data["error"] == "ConnectionError"


async def test_a_source_that_reconnects_itself_is_seen_to(bench: Bench) -> None:
    async def flapping(source: Scripted) -> None:
        for status in (SourceStatus.CONNECTING, SourceStatus.CONNECTED, SourceStatus.RECONNECTING):
            source._set_status(status)
        source._set_status(SourceStatus.CONNECTED)
        await source.until_stopped()

    await bench.supervisor.attach("feed", Scripted(flapping))
    await asyncio.sleep(0)
    assert bench.names == ["attached", "connected", "disconnected", "connected"]
    await bench.supervisor.close()


async def test_a_source_that_cancels_itself_has_failed(bench: Bench) -> None:
    async def odd(source: Scripted) -> None:
        raise asyncio.CancelledError

    await bench.supervisor.attach("feed", Scripted(odd, serve))
    await asyncio.sleep(6)
    assert bench.names == ["attached", "error", "connected"]
    await bench.supervisor.close()


async def test_R69_at_most_so_many_messages_at_once(bench: Bench) -> None:
    bench.hold = asyncio.Event()

    async def flood(source: Scripted) -> None:
        await asyncio.gather(*(source.say(str(n)) for n in range(25)))
        await source.until_stopped()

    await bench.supervisor.attach("feed", Scripted(flood))
    await asyncio.sleep(1)
    assert bench.running == 10
    bench.hold.set()
    await asyncio.sleep(1)
    assert (bench.most, len(bench.got)) == (10, 25)
    assert [one.content.body for one in bench.got] == [str(n) for n in range(25)]  # type: ignore[union-attr]
    await bench.supervisor.close()


async def test_R69_the_limit_may_be_lifted(bench: Bench) -> None:
    bench.hold = asyncio.Event()

    async def flood(source: Scripted) -> None:
        await asyncio.gather(*(source.say() for _ in range(25)))

    await bench.supervisor.attach("feed", Scripted(flood), max_concurrent_emits=None)
    await asyncio.sleep(1)
    assert bench.running == 25
    await bench.supervisor.close()


async def test_a_message_the_pipeline_breaks_on_does_not_end_the_source(bench: Bench) -> None:
    source = Scripted(serve)
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(0)
    bench.failure = LookupError("no such thing")
    result = await source.say()
    assert (result.blocked, result.reason) == (True, "source_emit_failed")
    assert result.error is bench.failure
    bench.failure = None
    await source.say("after")
    assert len(bench.got) == 1
    assert bench.names == ["attached", "connected", "error"]
    await bench.supervisor.close()


async def test_detaching_lets_messages_being_processed_finish(bench: Bench) -> None:
    bench.hold = asyncio.Event()

    async def talk(source: Scripted) -> None:
        await source.say("last")

    await bench.supervisor.attach("feed", Scripted(talk))
    await asyncio.sleep(0)
    detached = asyncio.create_task(bench.supervisor.detach("feed"))
    await asyncio.sleep(1)
    assert not detached.done()
    bench.hold.set()
    await detached
    assert len(bench.got) == 1


async def test_after_the_end_nothing_is_accepted(bench: Bench) -> None:
    source = Scripted(serve)
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(0)
    await bench.supervisor.detach("feed")
    with pytest.raises(SourceNotFoundError):
        await source.say()
    assert bench.got == []
    await bench.supervisor.close()
    await bench.supervisor.close()
    with pytest.raises(RuntimeError):
        await bench.supervisor.attach("feed", source)


async def test_a_source_may_be_detached_by_its_own_message(bench: Bench) -> None:
    ended: list[str] = []

    async def emit(message: InboundMessage) -> InboundResult:
        await supervisor.detach("feed")
        ended.append("emit")
        return InboundResult(None)

    supervisor = SourceSupervisor(emit, bench.framework, bench.clock)

    async def talk(source: Scripted) -> None:
        await source.say()

    began = bench.clock.monotonic()
    await supervisor.attach("feed", Scripted(talk))
    await asyncio.sleep(20)
    assert ended == ["emit"]
    assert bench.clock.monotonic() - began == 20
    assert supervisor.abandoned == 0
    assert bench.names == ["attached", "detached"]


async def test_who_detaches_may_be_cancelled_and_the_source_ends_all_the_same(
    bench: Bench,
) -> None:
    source = Scripted(deaf)
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await bench.supervisor.detach("feed")
    await asyncio.sleep(10)
    assert bench.names[-1] == "detached"


async def deaf(source: Scripted) -> None:
    """Does not hear `stop`."""
    source.connect()
    await asyncio.Event().wait()


async def stubborn(source: Scripted) -> None:
    """Does not even hear that it is cancelled, for an hour."""
    end = source._clock.monotonic() + 3600
    while (left := end - source._clock.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            assert current is not None
            current.uncancel()


@pytest.mark.parametrize(("life", "abandoned"), [(serve, 0), (deaf, 0), (stubborn, 1)])
async def test_closing_is_bounded(life: Life, abandoned: int, bench: Bench) -> None:
    for name in "abc":
        await bench.supervisor.attach(name, Scripted(life))
    await asyncio.sleep(1)
    began = bench.clock.monotonic()
    await bench.supervisor.close()
    assert bench.clock.monotonic() - began <= 10
    assert bench.supervisor.abandoned == 3 * abandoned
    assert bench.names.count("detached") == 3
    await asyncio.sleep(4000)


async def test_a_message_that_never_ends_does_not_hold_up_the_close(bench: Bench) -> None:
    bench.hold = asyncio.Event()
    source = Scripted(serve)
    await bench.supervisor.attach("feed", source)
    await asyncio.sleep(0)
    saying = asyncio.create_task(source.say())
    await asyncio.sleep(0)
    await bench.supervisor.close()
    await asyncio.wait({saying})
    assert saying.cancelled()
    assert bench.running == 0


class Broken(Scripted):
    """Everything about it fails."""

    async def stop(self) -> None:
        await super().stop()
        raise OSError("stop")

    async def healthcheck(self) -> SourceHealth:
        raise OSError("health")


async def test_what_a_source_raises_at_its_end_is_reported(bench: Bench) -> None:
    await bench.supervisor.attach("feed", Broken(serve))
    await asyncio.sleep(0)
    health = await bench.supervisor.health("feed")
    assert health == SourceHealth(status=SourceStatus.ERROR, error="health")
    await bench.supervisor.detach("feed")
    assert sorted(bench.names[-3:-1]) == ["disconnected", "error"]
    assert bench.names[-1] == "detached"


class Plain(SourceProvider):
    """Knows only the contract."""

    def __init__(self) -> None:
        self.connected = False
        self.running = True

    @property
    def name(self) -> str:
        return "plain"

    @property
    def status(self) -> SourceStatus:
        return SourceStatus.CONNECTED if self.connected else SourceStatus.CONNECTING

    async def start(self, emit: EmitCallback) -> None:
        await asyncio.sleep(10)
        self.connected = True
        await emit(message("feed"))
        await asyncio.sleep(10)
        self.connected = False
        while self.running:
            await asyncio.sleep(1)

    async def stop(self) -> None:
        self.running = False


async def test_a_source_that_tells_nothing_is_looked_at(bench: Bench) -> None:
    await bench.supervisor.attach("feed", Plain())
    await asyncio.sleep(9)
    assert bench.names == ["attached"]
    await asyncio.sleep(2)
    assert bench.names == ["attached", "connected"]
    health = await bench.supervisor.health("feed")
    assert health == SourceHealth(status=SourceStatus.CONNECTED)
    await asyncio.sleep(12)
    assert bench.names == ["attached", "connected", "disconnected"]
    await bench.supervisor.close()
    assert bench.names[-1] == "detached"


async def test_a_source_knows_nothing_of_itself_by_default() -> None:
    class Least(SourceProvider):
        name = "least"

        async def start(self, emit: EmitCallback) -> None: ...
        async def stop(self) -> None: ...

    assert Least().status is SourceStatus.STOPPED
    assert await Least().healthcheck() == SourceHealth()


async def test_the_last_error_stays_until_the_next_connection() -> None:
    source = Scripted(serve)
    source._set_status(SourceStatus.ERROR, "lost")
    assert (await source.healthcheck()).error == "lost"
    source._set_status(SourceStatus.CONNECTING)
    assert (await source.healthcheck()).error == "lost"
    source._set_status(SourceStatus.CONNECTED)
    assert (await source.healthcheck()).error is None
    assert not source._should_stop()
    await source.stop()
    assert source._should_stop()
