"""Command frames and what goes wrong with them: G30-G37, G50-G56, G283-G285."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.gateway import CallHandler, CallOption, Gateway, Session
from salon.gateway.executor import QUEUE_BOUND
from salon.testing import CallPair, scripted_gateway
from salon.voice.engine import VoiceEngine
from salon.voice.events import MediaEvent
from salon.voice.hearing import HearingConfig


@pytest.mark.parametrize(
    "frame",
    [
        "{not json",
        "[]",
        "17",
        '{"command": "dance"}',
        '{"command": 5}',
        '{"text": "no command"}',
        '{"command": "tts"}',
        '{"command": "tts", "text": 5}',
        '{"command": "invite", "option": {"vad": {"speechPadding": "long"}}}',
        "\ud800",
        '{"command": "tts", "text": "' + "[" * 5000,
    ],
)
async def test_G31_a_bad_frame_is_told_and_the_call_goes_on(call: CallPair, frame: str) -> None:
    call.send(frame)
    (error,) = call.events
    assert (error["event"], error["sender"], error["code"]) == ("error", "command", 400)
    assert error["trackId"] == "call-1"
    await call.invite()
    assert call.socket.code is None


async def test_G32_a_command_that_fails_is_told_without_a_code(call: CallPair) -> None:
    await call.invite()
    call.send({"command": "pause"})
    error = await call.expect("error")
    assert error["sender"] == "command"
    assert "track not found" in error["error"]
    assert "code" not in error


async def test_G34_commands_run_in_the_order_in_which_they_came(call: CallPair) -> None:
    for number in range(20):
        call.send({"command": "history", "speaker": "x", "text": str(number)})
    await asyncio.sleep(0.1)
    assert [event["text"] for event in call.of("addHistory")] == [str(n) for n in range(20)]


class _Slow(CallHandler):
    """Its `begin` takes ten seconds."""

    def __init__(self) -> None:
        self.cancelled = False

    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return HearingConfig()


@pytest.mark.parametrize("command", ["hangup", "reject"])
async def test_G34_hangup_and_reject_overtake_a_waiting_invite(
    engine: VoiceEngine, command: str
) -> None:
    handler = _Slow()
    async with scripted_gateway(engine, handler_for=lambda _query: handler) as gateway:
        call = CallPair.connect(gateway.acceptor)
        call.send({"command": "invite", "option": {}})
        await asyncio.sleep(1)
        call.send({"command": "tts", "text": "never"})
        call.send({"command": command, "reason": "enough"})
        await call.closed(timeout=2)
        assert handler.cancelled
        assert "answer" not in call.names
        assert "trackStart" not in call.names


async def test_G34_an_interrupt_does_not_abort_a_waiting_invite(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, handler_for=lambda _query: _Slow()) as gateway:
        call = CallPair.connect(gateway.acceptor)
        call.send({"command": "invite", "option": {}})
        await asyncio.sleep(1)
        call.send({"command": "interrupt"})
        await call.expect("answer", timeout=12)


async def test_G35_a_full_queue_is_told(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, handler_for=lambda _query: _Slow()) as gateway:
        call = CallPair.connect(gateway.acceptor)
        call.send({"command": "invite", "option": {}})
        await asyncio.sleep(1)
        for _ in range(QUEUE_BOUND + 3):
            call.send({"command": "history", "speaker": "x", "text": "y"})
        assert [error["code"] for error in call.of("error")] == [429] * 3
        await call.expect("answer")
        await asyncio.sleep(1)
        assert len(call.of("addHistory")) == QUEUE_BOUND
        assert call.socket.code is None


async def test_G36_tts_before_invite_needs_an_option(call: CallPair) -> None:
    call.send({"command": "tts", "text": "hello"})
    assert (await call.expect("error"))["error"] == "no tts option available"
    call.send({"command": "tts", "text": "hello", "option": {}})
    await call.expect("trackEnd")
    assert call.audio
    await call.invite()


async def test_G52_a_second_invite_ends_the_call(call: CallPair) -> None:
    await call.invite()
    call.send({"command": "invite", "option": {}})
    assert (await call.expect("error"))["sender"] == "invite"
    assert (await call.expect("hangup"))["reason"] == "failed"
    assert await call.closed() == 1011


async def test_G285_accept_is_invite(call: CallPair) -> None:
    call.send({"command": "accept", "option": {}})
    await call.expect("answer")
    call.send({"command": "accept", "option": {}})
    assert (await call.expect("error"))["sender"] == "accept"
    await asyncio.sleep(5)
    assert call.socket.code is None


async def test_G285_reject_ends_the_call_with_an_event(gateway: Gateway, call: CallPair) -> None:
    call.send({"command": "reject", "reason": "busy"})
    reject = await call.expect("reject")
    assert (reject["reason"], reject["code"]) == ("busy", 603)
    assert (await call.expect("hangup"))["reason"] == "rejected"
    assert await call.closed() == 1000


async def test_G285_ringing_changes_only_the_state(gateway: Gateway, call: CallPair) -> None:
    call.send({"command": "ringing"})
    call.send({"command": "ringing"})
    await asyncio.sleep(0.1)
    assert gateway.list_calls()[0]["state"] == "ringing"
    await call.invite()
    call.send({"command": "ringing"})
    assert "not possible" in (await call.expect("error"))["error"]


@pytest.mark.parametrize(
    ("fields", "reason", "initiator"),
    [
        ({}, "system", "system"),
        ({"reason": "Caller"}, "caller", "caller"),
        ({"reason": "NOANSWER"}, "noAnswer", "system"),
        ({"reason": "lunch"}, "lunch", "system"),
        ({"reason": "lunch", "initiator": "callee"}, "callee", "callee"),
        ({"initiator": "system"}, "autohangup", "system"),
    ],
)
async def test_G54_reasons(
    call: CallPair, fields: dict[str, Any], reason: str, initiator: str
) -> None:
    await call.invite()
    await asyncio.sleep(1)
    call.send({"command": "hangup", **fields})
    hangup = await call.expect("hangup")
    assert (hangup["reason"], hangup["initiator"]) == (reason, initiator)
    assert hangup["startTime"] == "2026-01-05T08:00:00.000Z"
    assert hangup["answerTime"] == "2026-01-05T08:00:00.000Z"
    assert hangup["hangupTime"] == "2026-01-05T08:00:01.000Z"


async def test_G54_the_first_reason_stays(gateway: Gateway, call: CallPair) -> None:
    await call.invite()
    await asyncio.sleep(0.01)  # `invite` is done, no longer only answered
    call.send({"command": "hangup", "reason": "first"})
    call.send({"command": "hangup", "reason": "second"})
    await asyncio.sleep(0.01)  # the commands are taken from their queue
    await gateway.kill("call-1")
    await call.closed()
    assert [event["reason"] for event in call.of("hangup")] == ["first"]


async def test_G54_the_first_reason_stays_while_an_invite_waits(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, handler_for=lambda _query: _Slow()) as gateway:
        call = CallPair.connect(gateway.acceptor)
        call.send({"command": "invite", "option": {}})
        await asyncio.sleep(1)
        call.send({"command": "hangup", "reason": "first"})
        call.send({"command": "hangup", "reason": "second"})
        await call.closed()
        assert [event["reason"] for event in call.of("hangup")] == ["first"]


async def test_G55_a_reject_is_told_although_a_hangup_follows_it(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, handler_for=lambda _query: _Slow()) as gateway:
        call = CallPair.connect(gateway.acceptor)
        call.send({"command": "invite", "option": {}})
        await asyncio.sleep(1)
        call.send({"command": "reject", "reason": "busy"})
        call.send({"command": "hangup"})
        await call.closed()
        assert call.of("reject", reason="busy")


async def test_G55_a_reject_behind_a_hangup_is_not_told(call: CallPair) -> None:
    await call.invite()
    call.send({"command": "hangup", "reason": "done"})
    call.send({"command": "reject", "reason": "late"})
    await call.closed()
    assert not call.of("reject")
    assert [event["reason"] for event in call.of("hangup")] == ["done"]


async def test_G112_hangup_before_invite_has_no_answer_time(call: CallPair) -> None:
    call.send({"command": "hangup"})
    assert "answerTime" not in await call.expect("hangup")
    assert call.names == ["hangup"]


async def test_G283_chat_without_a_handler_is_an_error(call: CallPair) -> None:
    await call.invite()
    call.send({"command": "chat", "text": "hello"})
    assert "chat" in (await call.expect("error"))["error"]


@pytest.mark.parametrize(
    "command",
    [
        {"command": "refer", "caller": "", "callee": "sip:x@y"},
        {"command": "message", "body": "x"},
        {"command": "bridge", "targetSessionId": "other"},
    ],
)
async def test_G84_what_a_websocket_call_cannot_do_is_an_error(
    call: CallPair, command: dict[str, Any]
) -> None:
    await call.invite()
    call.send(command)
    error = await call.expect("error")
    assert command["command"] in error["error"]


async def test_G88_candidates_have_no_effect_on_a_websocket_call(call: CallPair) -> None:
    await call.invite()
    call.send({"command": "addIceCandidate", "candidate": "nonsense"})
    call.send({"command": "candidate", "candidates": ["", {"candidate": "more"}]})
    await asyncio.sleep(1)
    assert call.names == ["trackStart", "answer"]


async def test_custom_and_history_come_back(call: CallPair) -> None:
    call.send({"command": "custom", "data": None, "sender": "me"})
    call.send({"command": "custom", "data": {"a": [1]}})
    call.send({"command": "history", "speaker": "ann", "text": "hi"})
    first = await call.expect("custom")
    assert first["sender"] == "me"
    assert (await call.expect("custom"))["data"] == {"a": [1]}
    history = await call.expect("addHistory")
    assert (history["speaker"], history["text"], history["sender"]) == ("ann", "hi", "call-1")


class _Failing(CallHandler):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        raise self._error


@pytest.mark.parametrize("error", [ConfigurationError("no room"), LookupError("a defect")])
async def test_G33_a_failing_invite_ends_the_call(engine: VoiceEngine, error: Exception) -> None:
    async with scripted_gateway(engine, handler_for=lambda _query: _Failing(error)) as gateway:
        call = CallPair.connect(gateway.acceptor)
        call.send({"command": "invite", "option": {}})
        assert (await call.expect("error"))["sender"] == "invite"
        assert await call.closed() == 1011
        assert call.names == ["error", "hangup"]


class _Odd(CallHandler):
    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        return HearingConfig()

    def media(self, event: MediaEvent) -> None:
        raise KeyError(event) if self.known else ConfigurationError("not today")

    known = False

    async def chat(self, text: str) -> bool:
        raise LookupError(text)


@pytest.mark.parametrize("known", [True, False])
async def test_a_handler_that_fails_does_not_end_the_call(engine: VoiceEngine, known: bool) -> None:
    handler = _Odd()
    handler.known = known
    async with scripted_gateway(engine, handler_for=lambda _query: handler) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send({"command": "chat", "text": "secret words"})
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("command", 500)
        assert "secret" not in error["error"]
        call.send({"command": "tts", "text": "go on"})
        assert (await call.expect("error"))["sender"] == "server"
        await call.expect("trackEnd")


async def test_commands_after_the_end_are_ignored(gateway: Gateway, call: CallPair) -> None:
    await call.invite()
    session = gateway.get("call-1")
    assert session is not None
    session.hangup("over")
    call.send({"command": "tts", "text": "too late"})
    await call.closed()
    session.text('{"command": "tts", "text": "far too late"}')
    assert call.names == ["trackStart", "answer", "trackEnd", "hangup"]
