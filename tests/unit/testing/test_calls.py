"""Calls in memory: how to test a program that drives calls, or a server that takes them."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from salon.gateway import Gateway
from salon.gateway.commands import InviteCommand, TtsCommand
from salon.gateway.options import CallOption
from salon.testing import (
    CallPair,
    CallRefusedError,
    scripted_engine,
    scripted_gateway,
    silence,
    tone,
)
from salon.testing.sockets import MAX_AUDIO, MAX_EVENTS


async def test_a_whole_call() -> None:
    """The example of the documentation: somebody speaks, the program answers."""
    async with (
        scripted_engine(["what time is it"]) as engine,
        scripted_gateway(engine) as gateway,
    ):
        call = CallPair.connect(gateway.acceptor, "/ws?id=one")
        await call.invite(vad={}, asr={})
        await call.send_audio(np.concatenate((silence(300), tone(600), silence(600))))
        question = await call.expect("asrFinal")
        assert question["text"] == "what time is it"
        call.send({"command": "tts", "text": "noon", "playId": "answer"})
        await call.expect("trackEnd", playId="answer")
        assert len(call.sound) == 4 * 60 * 16
        call.send({"command": "hangup"})
        assert (await call.expect("hangup"))["reason"] == "system"
        assert await call.closed() == 1000


@pytest.fixture
async def gateway() -> Gateway:  # type: ignore[misc]
    async with scripted_engine() as engine, scripted_gateway(engine, max_calls=1) as made:
        yield made


async def test_commands_may_be_models_data_or_text(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    call.send(InviteCommand(option=CallOption()))
    await call.expect("answer")
    call.send(TtsCommand(text="one", play_id="a"))
    await call.expect("trackEnd", playId="a")
    call.send('{"command": "tts", "text": "two", "playId": "b"}')
    await call.expect("trackEnd", playId="b")


async def test_expect_passes_over_other_events_and_keeps_them(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    await call.invite()
    assert call.names == ["trackStart", "answer"]
    assert call.of("answer", sdp="") == [call.events[1]]
    assert call.of("answer", sdp="x") == []
    assert call.times == [0.0, 0.0]


async def test_expect_says_what_came_instead(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    await call.invite()
    with pytest.raises(AssertionError, match=r"no asrFinal .* after \['trackStart', 'answer'\]"):
        await call.expect("asrFinal", timeout=5, text="hello")


async def test_send_audio_keeps_its_pace_and_fills_the_last_frame(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    await call.invite()
    began = asyncio.get_running_loop().time()
    await call.send_audio(tone(110))
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.12)
    assert call.frames_sent == 6


async def test_refusals_are_raised(gateway: Gateway) -> None:
    with pytest.raises(LookupError):
        CallPair.connect(gateway.acceptor, "/elsewhere")
    CallPair.connect(gateway.acceptor)
    with pytest.raises(CallRefusedError, match="503") as caught:
        CallPair.connect(gateway.acceptor)
    assert caught.value.refusal.headers["Retry-After"] == "5"


@pytest.mark.parametrize("end", ["close", "vanish"])
async def test_after_its_end_a_client_says_nothing(gateway: Gateway, end: str) -> None:
    call = CallPair.connect(gateway.acceptor)
    await call.invite()
    getattr(call, end)()
    assert await call.closed() is None  # the server sent no Close frame
    call.send({"command": "hangup"})
    call.send_bytes(b"\0\0")
    call.vanish()
    await asyncio.sleep(1)
    assert call.frames_sent == 0
    assert gateway.calls == 0


async def test_nothing_heard_is_no_sound(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    assert call.sound.dtype == np.int16
    assert len(call.sound) == 0


async def test_a_client_that_does_not_read(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    socket = call.socket
    socket.reading = False
    for number in range(MAX_AUDIO + 3):
        socket.send_binary(bytes([number, 0]))
    socket.send_text('{"event": "custom"}')
    assert (socket.dropped_audio, call.audio) == (3, [])
    socket.read_again()
    assert [frame.data[0] for frame in call.audio] == list(range(3, MAX_AUDIO + 3))
    assert call.order == ["audio", "custom"]
    socket.reading = False
    for _ in range(MAX_EVENTS + 1):
        socket.send_text('{"event": "custom"}')
    assert await call.closed() == 1008
    assert socket.reason == "the client does not read its events"


async def test_a_closed_socket_takes_nothing(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor, "/ws?ping=0")
    call.socket.close(1000, "over")
    call.socket.close(1011, "again")
    call.socket.send_text("{}")
    call.socket.send_binary(b"x")
    call.socket.ping(b"x")
    assert await call.closed() == 1000
    assert (call.events, call.audio, call.socket.pings) == ([], [], [])
