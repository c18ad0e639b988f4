"""The call client against a real server in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.clients.server import Peer, SteppedClock, serving

from salon.base import MissingExtraError
from salon.clients.call import (
    AudioPacket,
    CallClient,
    CallClosed,
    CallFailed,
    ClientError,
    ConnectFailed,
    Forbidden,
    Refused,
    ServerBusy,
    Unauthorized,
)
from salon.clients.call.client import MAX_EVENTS
from salon.media import make_codec, sine, write_wav
from salon.transport.sockets import Refusal


async def test_G14_the_query_carries_handler_room_and_names() -> None:
    async with (
        serving() as server,
        CallClient.connect(
            server.url,
            handler="room",
            room="a b",
            participant="p&1",
            name="Zoë",
            session_id="s.1",
            params={"dump": "false"},
        ),
    ):
        request = server.peer.request
    assert request.path == "/ws"
    assert request.query == {
        "dump": "false",
        "id": "s.1",
        "handler": "room",
        "room": "a b",
        "participant": "p&1",
        "name": "Zoë",
    }


async def test_the_api_key_goes_in_a_header_and_never_into_the_url() -> None:
    async with serving() as server, CallClient.connect(server.url, api_key="k" * 20):
        request = server.peer.request
    assert request.headers["authorization"] == "Bearer " + "k" * 20
    assert request.query == {}


async def test_G51_invite_waits_for_the_answer_and_names_only_what_was_given() -> None:
    async with serving() as server, CallClient.connect(server.url) as call:
        answer = await call.invite(
            codec="pcmu", asr={}, tts={"speaker": "x"}, inactivity_timeout=5, eou=None
        )
        sent = server.peer.texts
    assert answer is not None
    assert (answer.name, answer.data["sdp"]) == ("answer", "")
    assert sent == [
        {
            "command": "invite",
            "option": {"codec": "pcmu", "asr": {}, "tts": {"speaker": "x"}, "inactivityTimeout": 5},
        }
    ]


async def test_invite_without_timeout_returns_at_once_and_the_answer_is_not_lost() -> None:
    async with serving() as server, CallClient.connect(server.url) as call:
        assert await call.invite(timeout=None) is None
        event = await call.wait_for("answer")
    assert event is not None


async def test_every_command_is_camel_case_without_nulls() -> None:
    async with serving() as server, CallClient.connect(server.url) as call:
        await call.tts("hello", play_id="p1", end_of_stream=True, speaker=None)
        await call.play("http://x/y.wav", offset_ms=20)
        await call.interrupt()
        await call.interrupt(graceful=True, fade_out_ms=40)
        await call.chat("hi")
        await call.send({"command": "custom", "data": None})
        await call.hangup("done")
        assert await call.wait_closed(5)
        sent = server.peer.texts
    assert sent == [
        {"command": "tts", "text": "hello", "playId": "p1", "endOfStream": True},
        {"command": "play", "url": "http://x/y.wav", "offsetMs": 20},
        {"command": "interrupt"},
        {"command": "interrupt", "graceful": True, "fadeOutMs": 40},
        {"command": "chat", "text": "hi"},
        {"command": "custom", "data": None},
        {"command": "hangup", "reason": "done"},
    ]


async def test_events_come_in_order_from_the_beginning_for_every_reader() -> None:
    async with serving() as server, CallClient.connect(server.url) as call:
        await call.invite()
        await call.tts("one")
        await call.hangup()
        first = [event.name async for event in call.events()]
        second = [event.name async for event in call.events()]
    assert first == second == ["answer", "trackStart", "trackEnd", "hangup"]
    assert call.close_code == 1000


async def test_wait_for_goes_on_after_the_event_it_gave_last_and_matches_data() -> None:
    async with serving() as server, CallClient.connect(server.url) as call:
        await call.tts("one")
        await call.tts("two")
        await call.tts("three")
        first = await call.wait_for("trackEnd")
        third = await call.wait_for("trackEnd", playId="three")
        assert await call.wait_for("trackEnd", timeout=0.01) is None
        await call.tts("four")
        fourth = await call.wait_for()
    assert [e.data["playId"] for e in (first, third, fourth) if e] == ["one", "three", "four"]


async def test_received_sound_is_kept_with_its_times_and_handed_on() -> None:
    heard: list[AudioPacket] = []
    async with serving() as server, CallClient.connect(server.url) as call:
        call.on_audio(heard.append)
        await call.invite()
        await call.tts("x")
        await call.hangup()
        packets = [packet async for packet in call.audio()]
    assert [packet.data for packet in packets] == [bytes([n]) * 640 for n in range(3)]
    assert packets == heard == list(call.received.packets)
    assert packets[0].at <= packets[1].at <= packets[2].at
    assert call.received.samples().tobytes() == b"".join(packet.data for packet in packets)


async def test_a_callback_that_raises_ends_the_call_and_tells_the_reader() -> None:
    def bad(_packet: AudioPacket) -> None:
        raise ZeroDivisionError("mine")

    async with serving() as server, CallClient.connect(server.url) as call:
        call.on_audio(bad)
        await call.tts("x")
        with pytest.raises(ClientError, match="mine") as caught:
            async for _ in call.events():
                pass
        await asyncio.wait_for(server.peer.gone.wait(), 5)
        assert server.peer.end is not None
        assert server.peer.end[0] == 1011
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def _frames_of(peer: Peer) -> bytes:
    return b"".join(peer.frames)


@pytest.mark.parametrize("codec", ["pcm", "pcmu", "pcma"])
async def test_G42_a_wav_of_any_rate_goes_out_as_20_ms_frames(tmp_path: Path, codec: str) -> None:
    file = tmp_path / "a.wav"
    write_wav(file, sine(440, 0.09, sample_rate=8000), 8000)
    clock = SteppedClock()
    async with serving() as server, CallClient.connect(server.url, clock=clock) as call:
        await call.invite(codec)
        spoken = await call.stream_wav(file)
        await call.hangup()
        await call.wait_closed(5)
        frames = server.peer.frames
    assert spoken.frames == 5
    assert [len(frame) for frame in frames] == [640 if codec == "pcm" else 160] * 5
    assert sum(clock.naps) == pytest.approx(0.08)
    assert spoken.end - spoken.start == pytest.approx(0.1)
    assert spoken.at(1600) == pytest.approx(spoken.end)


async def test_without_pace_nothing_waits() -> None:
    clock = SteppedClock()
    async with serving() as server, CallClient.connect(server.url, clock=clock) as call:
        await call.invite()
        samples = sine(440, 1.0)
        await call.stream_wav(samples, pace=False)
        await call.hangup()
        await call.wait_closed(5)
        assert _frames_of(server.peer) == make_codec("pcm").encode(samples)
    assert clock.naps == []


async def test_no_sound_is_an_error() -> None:
    async with serving() as server, CallClient.connect(server.url) as call:
        with pytest.raises(ValueError, match="no sound"):
            await call.stream_wav(np.zeros(0, dtype=np.int16))


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, Unauthorized, "HTTP 401, nope (give the server's API key)"),
        (403, Forbidden, "HTTP 403, nope (this host name or origin"),
        (409, Refused, "HTTP 409, nope"),
    ],
)
async def test_a_refusal_is_said_in_its_own_type(
    status: int, kind: type[Refused], words: str
) -> None:
    async with serving() as server:
        server.refusal = Refusal(status, "nope")
        with pytest.raises(kind) as caught:
            async with CallClient.connect(server.url):
                pass
    assert words in str(caught.value)
    assert caught.value.status == status
    assert caught.value.retry_after is None


async def test_a_full_server_says_when_to_come_again() -> None:
    async with serving() as server:
        server.refusal = Refusal(503, '{"error": "full"}', {"Retry-After": "7"})
        with pytest.raises(ServerBusy, match=r"503, full \(try again in 7 s\)") as caught:
            async with CallClient.connect(server.url):
                pass
    assert caught.value.retry_after == 7.0


async def test_nobody_there_is_ConnectFailed() -> None:
    async with serving() as server:
        url = server.url
    with pytest.raises(ConnectFailed, match="no connection to"):
        async with CallClient.connect(url):
            pass


@pytest.mark.parametrize("url", ["ftp://x", "ws://", "ws://x:99999", "ws://[x", "ws://x:0"])
async def test_a_wrong_url_is_ConnectFailed(url: str) -> None:
    with pytest.raises(ConnectFailed, match="URL"):
        async with CallClient.connect(url):
            pass


async def test_a_server_that_never_speaks_is_ConnectFailed() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        with pytest.raises(ConnectFailed, match=r"no answer .* within 0.05 s"):
            async with CallClient.connect(f"ws://127.0.0.1:{port}", open_timeout=0.05):
                pass


async def test_what_is_no_websocket_is_ConnectFailed() -> None:
    async def mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    listening = await asyncio.start_server(mail, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        with pytest.raises(ConnectFailed, match="no connection"):
            async with CallClient.connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_G33_an_invite_that_fails_says_why() -> None:
    def refuse(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("error", sender="command", error="about something else")
        peer.event("error", sender="invite", error="no such codec")

    async with serving(refuse) as server, CallClient.connect(server.url) as call:
        with pytest.raises(CallFailed, match="no such codec") as caught:
            await call.invite()
    assert caught.value.event is not None


async def test_an_invite_without_answer_fails_in_time() -> None:
    async with serving(lambda _peer, _message: None) as server, CallClient.connect(server.url) as c:
        with pytest.raises(CallFailed, match=r"within 0.02 s"):
            await c.invite(timeout=0.02)


async def test_a_broken_call_is_CallClosed_for_readers_and_senders() -> None:
    def full(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("speaking")
        peer.socket.close(1008, "too slow")

    async with serving(full) as server, CallClient.connect(server.url) as call:
        await call.send({"command": "pause"})
        events = call.events()
        first = await anext(events)
        with pytest.raises(CallClosed, match=r"code 1008: too slow") as caught:
            await anext(events)
        with pytest.raises(CallClosed):
            await call.send_audio(bytes(640))
        with pytest.raises(CallClosed):
            await call.wait_for("hangup")
    assert first.name == "speaking"
    assert (caught.value.close_code, caught.value.reason) == (1008, "too slow")


async def test_G21_after_hangup_any_close_code_is_a_normal_end() -> None:
    def end(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("hangup", reason="system")
        peer.socket.close(1001)

    async with serving(end) as server, CallClient.connect(server.url) as call:
        await call.hangup()
        assert [event.name async for event in call.events()] == ["hangup"]
        assert await call.wait_for("answer") is None


async def test_leaving_closes_with_1000_and_readers_end() -> None:
    async with serving() as server:
        async with CallClient.connect(server.url) as call:
            await call.invite()
            assert not await call.wait_closed(0.01)
        assert [event.name async for event in call.events()] == ["answer"]
        await asyncio.wait_for(server.peer.gone.wait(), 5)
        assert server.peer.end is not None
        assert server.peer.end[0] == 1000


async def test_text_that_is_no_event_is_counted_and_skipped() -> None:
    def odd(peer: Peer, message: dict[str, Any]) -> None:
        for text in ("{", "[]", '{"event": 1}', '{"type": "x"}'):
            peer.socket.send_text(text)
        peer.event("answer")

    async with serving(odd) as server, CallClient.connect(server.url) as call:
        await call.invite()
        assert call.bad_frames == 4


async def test_events_are_bounded_and_a_late_reader_knows_what_it_missed() -> None:
    def many(peer: Peer, message: dict[str, Any]) -> None:
        for number in range(500):
            peer.event("metrics", key=str(message["data"] * 500 + number))

    rounds = MAX_EVENTS // 500 + 1
    async with serving(many) as server, CallClient.connect(server.url) as call:
        for number in range(rounds):
            await call.send({"command": "custom", "data": number})
            assert await call.wait_for("metrics", key=str(number * 500 + 499))
        late = call.events()
        event = await anext(late)
    assert late.missed == rounds * 500 - MAX_EVENTS
    assert event.data["key"] == str(late.missed)


async def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "websockets.asyncio.client", None)
    with pytest.raises(MissingExtraError, match=r"salon\[client\]"):
        async with CallClient.connect("ws://127.0.0.1:1"):
            pass
