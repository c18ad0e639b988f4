"""What goes along with a call: companions, watchers, further actions, rights."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.base import SalonError
from salon.gateway import CallOption, CallQuery, Command, Event, Session, SessionServices
from salon.gateway.commands import BridgeCommand, HangupReason
from salon.gateway.companions import Companion
from salon.gateway.events import CustomEvent
from salon.gateway.rights import CallRights
from salon.testing import CallPair, scripted_gateway
from salon.voice.engine import VoiceEngine
from salon.voice.events import Failed, MediaEvent


class RefusedError(SalonError):
    code = "refused"


class Diary(Companion):
    """Writes down what it is told; raises or waits where the test says."""

    name = "diary"

    def __init__(self, **fail: Exception) -> None:
        self.log: list[str] = []
        self.fail = fail
        self.wait = 0.0

    def _note(self, what: str, entry: str) -> None:
        self.log.append(entry)
        if what in self.fail:
            raise self.fail[what]

    async def begin(self, session: Session, option: CallOption) -> None:
        await asyncio.sleep(self.wait)
        self._note("begin", f"begin {option.codec}")

    def answered(self) -> None:
        self._note("answered", "answered")

    def command(self, command: Command) -> None:
        self._note("command", f"command {command.command}")

    def event(self, event: Event) -> None:
        self._note("event", f"event {event.event}")

    def media(self, event: MediaEvent) -> None:
        self._note("media", f"media {type(event).__name__}")

    async def end(self, reason: HangupReason | str) -> None:
        self._note("end", f"end {reason}")

    def parted(self) -> None:
        self._note("parted", "parted")


async def test_a_companion_sees_the_whole_call(engine: VoiceEngine) -> None:
    diary = Diary()
    async with scripted_gateway(engine, companions=lambda _s: (diary,)) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?ping=1000")
        await call.invite()
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        call.send({"command": "hangup"})
        await call.closed()
    assert diary.log == [
        "event ping",
        "command invite",
        "begin pcm",
        "event trackStart",
        "event answer",
        "answered",
        "command tts",
        "event trackStart",
        "media TrackStarted",
        "event metrics",
        "media Synthesized",
        "event trackEnd",
        "media TrackEnded",
        "command hangup",
        "end system",
        "event trackEnd",
        "event hangup",
        "parted",
    ]


@pytest.mark.parametrize(
    ("error", "told"),
    [(RefusedError("the disk is full"), "the disk is full"), (ValueError(), "internal failure")],
)
async def test_a_companion_that_cannot_begin_is_told_and_the_call_goes_on(
    engine: VoiceEngine, error: Exception, told: str
) -> None:
    others = Diary()
    async with scripted_gateway(
        engine, companions=lambda _s: (Diary(begin=error), others)
    ) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        (event,) = call.of("error")
        assert (event["sender"], event["error"]) == ("diary", told)
        assert "begin pcm" in others.log


async def test_a_companion_that_takes_too_long_is_not_waited_for(engine: VoiceEngine) -> None:
    slow = Diary()
    slow.wait = 60
    async with scripted_gateway(engine, companions=lambda _s: (slow,)) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite(timeout=6)
        assert call.of("error", sender="diary", error="not ready within 5 s")


async def test_a_companion_that_raises_disturbs_nobody(
    engine: VoiceEngine, caplog: pytest.LogCaptureFixture
) -> None:
    whats = ("answered", "command", "event", "media", "end", "parted")
    broken = Diary(**{what: ValueError(what) for what in whats})
    async with scripted_gateway(engine, companions=lambda _s: (broken,)) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        call.send({"command": "hangup"})
        assert await call.closed() == 1000
        assert call.names[-1] == "hangup"
    assert broken.log[-1] == "parted"
    assert "diary of call" in caplog.text


async def test_a_call_that_never_began_ends_for_its_companions_too(engine: VoiceEngine) -> None:
    diary = Diary()
    async with scripted_gateway(engine, companions=lambda _s: (diary,)) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?ping=0")
        call.close()
        await call.closed()
        await asyncio.sleep(1)
    assert diary.log == ["end caller", "event hangup", "parted"]


async def test_settle_waits_for_what_was_posted(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        session = gateway.get("a")
        assert session is not None
        await session.settle()  # nothing there yet
        await call.invite()
        for number in range(3):
            session.media.events.post(Failed("x", str(number)))
        assert not call.of("error")
        await asyncio.gather(session.settle(), session.settle())
        assert [event["error"] for event in call.of("error")] == ["0", "1", "2"]
        await session.settle()
        session.hangup("enough")
        await call.closed()
        session.media.events.post(Failed("x", "late"))
        await session.settle()


class Watcher:
    def __init__(self) -> None:
        self.log: list[Any] = []
        self.packets = 0

    def event(self, data: dict[str, Any]) -> None:
        self.log.append(data["event"])

    def command(self, data: dict[str, Any]) -> None:
        self.log.append(data)

    def binary(self, data: bytes) -> None:
        assert len(data) == 640
        self.packets += 1

    def ended(self) -> None:
        self.log.append("over")


async def test_G203_a_watcher_follows_one_call(engine: VoiceEngine) -> None:
    watcher, late = Watcher(), Watcher()
    async with scripted_gateway(engine) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a&ping=1")
        other = CallPair.connect(gateway.acceptor, "/ws?id=b")
        bus = gateway.services.bus
        bus.watch("a", watcher)
        stop = bus.watch("a", late)
        await call.invite(asr={"apiKey": "s3cret"})
        await other.invite()
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        await asyncio.sleep(1)
        assert watcher.packets == len(call.audio) == late.packets
        stop()
        stop()
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        assert watcher.packets == len(call.audio) == 2 * late.packets
        call.send({"command": "hangup"})
        await call.closed()
        assert bus.watchers("a") == ()
    assert watcher.log[:4] == [
        {"command": "invite", "option": {"asr": {"secretKey": "***"}}},
        "trackStart",
        "answer",
        {"command": "tts", "text": "hello"},
    ]
    assert watcher.log[-4:] == [{"command": "hangup"}, "trackEnd", "hangup", "over"]
    assert "ping" in watcher.log
    assert "over" not in late.log


async def test_a_watcher_that_comes_before_the_socket_hears_too(engine: VoiceEngine) -> None:
    watcher = Watcher()
    async with scripted_gateway(engine) as gateway:
        stop = gateway.services.bus.watch("a", watcher)
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        await call.invite()
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        assert watcher.packets == len(call.audio)
        stop()
        session = gateway.get("a")
        assert session is not None
        assert session.transport is not None
        assert session.transport.on_sound is None


async def test_secrets_are_kept_from_watchers(engine: VoiceEngine) -> None:
    seen: list[dict[str, Any]] = []
    watcher = Watcher()
    watcher.event = seen.append  # type: ignore[assignment,method-assign]
    async with scripted_gateway(engine) as gateway:
        CallPair.connect(gateway.acceptor, "/ws?id=a&ping=0")
        gateway.services.bus.watch("a", watcher)
        session = gateway.get("a")
        assert session is not None
        session.emit(CustomEvent(timestamp=1, data={"token": "t", "url": "https://a/?token=x"}))
    assert seen[0] == {
        "event": "custom",
        "timestamp": 1,
        "data": {"token": "***", "url": "https://a/?token=***"},
    }


async def test_a_watcher_that_raises_is_logged(
    engine: VoiceEngine, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Watcher):
        def event(self, data: dict[str, Any]) -> None:
            raise ValueError(data)

    async with scripted_gateway(engine) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        gateway.services.bus.watch("a", Broken())
        await call.invite()
    assert "a watcher failed" in caplog.text


async def test_further_actions_carry_out_commands(engine: VoiceEngine) -> None:
    asked: list[str] = []

    async def bridge(session: Session, command: BridgeCommand) -> None:
        asked.append(f"{session.id} {command.target_session_id}")
        if session.services.find(command.target_session_id) is None:
            raise RefusedError("bridge target session not found")

    async with scripted_gateway(engine, actions={BridgeCommand: bridge}) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        CallPair.connect(gateway.acceptor, "/ws?id=b")
        await call.invite()
        for target in ("b", "c"):
            call.send({"command": "bridge", "targetSessionId": target})
        assert (await call.expect("error"))["error"] == "bridge target session not found"
    assert asked == ["a b", "a c"]


async def test_the_rights_of_a_call_come_with_its_connection(engine: VoiceEngine) -> None:
    def rights_for(query: CallQuery) -> CallRights:
        return CallRights(files=query.id == "trusted")

    async with scripted_gateway(engine, rights_for=rights_for) as gateway:
        for name in ("trusted", "other"):
            CallPair.connect(gateway.acceptor, f"/ws?id={name}")
            session = gateway.get(name)
            assert session is not None
            assert session.rights.files is (name == "trusted")
            assert session.rights.bridge


async def test_voices_and_ears_are_those_of_the_engine_unless_given(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine) as gateway:
        services: SessionServices = gateway.services
        assert services.ears.recognizer(None) is engine.recognizer()
        assert services.ears.knows("mock-recognizer") is ("mock-recognizer" in engine.recognizers)
    async with scripted_gateway(engine, voices=services.voices, ears=services.ears) as second:
        assert second.services.voices is services.voices
        assert second.services.ears is services.ears


async def test_G321_a_companion_that_does_not_end_is_left_behind(engine: VoiceEngine) -> None:
    class Stuck(Diary):
        async def end(self, reason: HangupReason | str) -> None:
            await asyncio.Event().wait()

    other = Diary()
    async with scripted_gateway(engine, companions=lambda _s: (Stuck(), other)) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send({"command": "hangup"})
        assert await call.closed(timeout=2.0) == 1000
    assert other.log[-3:] == ["event trackEnd", "event hangup", "parted"]


async def test_a_call_that_is_replaced_leaves_its_watchers_to_the_next(
    engine: VoiceEngine,
) -> None:
    watcher = Watcher()
    async with scripted_gateway(engine) as gateway:
        gateway._unique_ids = False
        first = CallPair.connect(gateway.acceptor, "/ws?id=a")
        gateway.services.bus.watch("a", watcher)
        second = CallPair.connect(gateway.acceptor, "/ws?id=a")
        await first.closed()
        assert "over" not in watcher.log
        second.send({"command": "hangup"})
        await second.closed()
        assert watcher.log[-1] == "over"
