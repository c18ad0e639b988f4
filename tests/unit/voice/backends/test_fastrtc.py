"""FastRTC's messages, without a web framework."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import numpy as np
import pytest
from tests.unit.voice.backends.hearing import chunk, frequency, of_frames
from tests.unit.voice.backends.parts import PaperPeer, PaperSocket

from salon.media import AudioFrame, decode_ulaw, encode_ulaw
from salon.testing import VirtualClock, virtual_time
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import PeerState
from salon.voice.backends import (
    DTMFEvent,
    FastRTCVoiceBackend,
    VoiceSession,
    VoiceSessionState,
    auth_context,
)
from salon.voice.backends.fastrtc_desk import FastRTCDesk, SessionFactory, failed
from salon.voice.backends.socket_connection import MAX_PAYLOAD, MAX_WAITING, SEND_TIMEOUT_S


class Counter:
    """A backend with a desk, and everything they tell."""

    def __init__(
        self,
        *,
        limit: int | None = 1,
        factory: SessionFactory | Literal["own"] | None = "own",
        audio_format: str = "mulaw",
    ) -> None:
        self.peers: list[PaperPeer] = []
        self.backend = FastRTCVoiceBackend(
            carrier=WebRtcCarrier("paper", self._peer),
            clock=VirtualClock(),
            audio_format=audio_format,
        )
        self.desk = FastRTCDesk(self.backend, self.make if factory == "own" else factory, limit)
        self.sessions: list[VoiceSession] = []
        self.frames: list[AudioFrame] = []
        self.keys: list[DTMFEvent] = []
        self.gone: list[VoiceSession] = []
        self.known: list[Any] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        self.backend.on_dtmf_received(lambda _session, event: self.keys.append(event))
        self.backend.on_client_disconnected(self.gone.append)

    def _peer(self, _options: object) -> PaperPeer:
        self.peers.append(PaperPeer())
        return self.peers[-1]

    async def make(self, name: str) -> VoiceSession | None:
        self.known.append(auth_context.get())
        await asyncio.sleep(0.1)
        if name == "unwelcome":
            return None
        if name == "broken":
            raise ZeroDivisionError
        session = await self.backend.connect("room", name, "voice")
        self.sessions.append(session)
        return session

    @asynccontextmanager
    async def socket(
        self, kind: Literal["page", "telephone"] = "page"
    ) -> AsyncIterator[PaperSocket]:
        socket = PaperSocket()
        serving = asyncio.create_task(self.desk.serve(socket, kind, {"user": "ann"}))
        try:
            yield socket
            socket.leave()
            await serving
        finally:
            serving.cancel()


def offer(name: str, sdp: str = "an offer", **more: Any) -> dict[str, Any]:
    return {"sdp": sdp, "type": "offer", "webrtc_id": name, **more}


def candidate(name: str, text: object = "candidate:1") -> dict[str, Any]:
    return {"type": "ice-candidate", "candidate": {"candidate": text}, "webrtc_id": name}


def start(name: str) -> dict[str, Any]:
    return {"event": "start", "websocket_id": name}


def media(samples: Any) -> dict[str, Any]:
    payload = base64.b64encode(encode_ulaw(np.asarray(samples, np.int16))).decode()
    return {"event": "media", "media": {"payload": payload}}


def sound(messages: list[dict[str, Any]]) -> Any:
    parts = [base64.b64decode(m["media"]["payload"]) for m in messages if m["event"] == "media"]
    return decode_ulaw(b"".join(parts))


def test_the_constructor_is_the_known_one() -> None:
    backend = FastRTCVoiceBackend(
        input_sample_rate=16_000,
        output_sample_rate=8_000,
        audio_format="pcm",
        audio_queue_maxsize=10,
    )
    assert backend.name == "FastRTC"
    assert (backend.input_sample_rate, backend.output_sample_rate) == (16_000, 8_000)
    standard = FastRTCVoiceBackend()
    assert (standard.input_sample_rate, standard.output_sample_rate) == (48_000, 24_000)
    assert FastRTCVoiceBackend.DEFAULT_QUEUE_MAXSIZE == 1000
    assert not standard.auto_connect
    with pytest.raises(ValueError, match="opus"):
        FastRTCVoiceBackend(audio_format="opus")


@virtual_time
async def test_an_offer_is_answered_once_its_session_is_there() -> None:
    counter = Counter()
    reply = await counter.desk.offer(offer("ann"), {"user": "ann"})
    assert reply == {"sdp": "answer to an offer", "type": "answer"}
    (session,) = counter.sessions
    assert session.metadata == {
        "input_sample_rate": 48_000,
        "output_sample_rate": 24_000,
        "websocket_id": "ann",
        "transport": "webrtc",
    }
    assert counter.known == [{"user": "ann"}]
    assert auth_context.get() is None
    assert await counter.desk.offer(offer("ann")) == failed("connection_already_exists")
    assert await counter.desk.offer(offer("bob")) == failed("concurrency_limit_reached", limit=1)
    counter.peers[0].reach(PeerState.CONNECTED)
    assert session.state is VoiceSessionState.ACTIVE
    counter.peers[0].reach(PeerState.FAILED)
    await asyncio.sleep(0.1)
    assert counter.gone == [session]
    assert "sdp" in await counter.desk.offer(offer("bob"))
    await counter.backend.send_transcription(counter.sessions[1], "nowhere to be seen")
    await counter.backend.close()


@virtual_time
async def test_any_number_of_clients_without_a_limit() -> None:
    counter = Counter(limit=None)
    for name in "abcdefgh":
        assert "sdp" in await counter.desk.offer(offer(name))
    await counter.backend.close()


@virtual_time
async def test_candidates_wait_for_their_offer() -> None:
    counter = Counter()
    assert await counter.desk.offer(candidate("ann")) == failed("unknown_connection")
    offering = asyncio.create_task(counter.desk.offer(offer("ann")))
    await asyncio.sleep(0.01)
    assert await counter.desk.offer(candidate("ann", "x of no use")) == {"status": "success"}
    assert await counter.desk.offer(candidate("ann", "early")) == {"status": "success"}
    assert "sdp" in await offering
    assert await counter.desk.offer(candidate("ann", "late")) == {"status": "success"}
    assert counter.peers[0].candidates == ["early", "late"]
    for text in (None, "x"):
        assert await counter.desk.offer(candidate("ann", text)) == failed(
            "invalid_candidate_format"
        )
    assert await counter.desk.offer({**candidate("ann"), "candidate": "text"}) == failed(
        "invalid_candidate_format"
    )
    await counter.backend.disconnect(counter.sessions[0])
    assert await counter.desk.offer(candidate("ann")) == failed("unknown_connection")
    await counter.backend.close()


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"sdp": "an offer", "type": "offer"},
        offer(""),
        offer("n" * 129),
        offer("ann", sdp=""),
        {"type": "offer", "webrtc_id": "ann"},
        {"type": "answer", "sdp": "v=0", "webrtc_id": "ann"},
        offer("unwelcome"),
        offer("broken"),
    ],
)
@virtual_time
async def test_what_cannot_be_done_leaves_nothing_behind(body: Any) -> None:
    counter = Counter()
    reply = await counter.desk.offer(body)
    assert reply["status"] == "failed"
    assert reply["meta"]["error"]
    assert all(peer.closed for peer in counter.peers)
    assert "sdp" in await counter.desk.offer(offer("ann"))
    await counter.backend.close()


@virtual_time
async def test_without_a_factory_the_session_is_made_in_advance() -> None:
    counter = Counter(factory=None)
    await counter.backend.connect("room", "bob", "voice")
    session = await counter.backend.connect(
        "room", "ann", "voice", metadata={"websocket_id": "ann"}
    )
    assert await counter.desk.offer(offer("carol")) == failed("no_session")
    assert "sdp" in await counter.desk.offer(offer("ann"))
    assert session.metadata["transport"] == "webrtc"
    assert counter.backend.waiting_session("ann") is None
    await counter.backend.close()


@virtual_time
async def test_a_factory_that_gives_a_session_twice_is_caught() -> None:
    counter = Counter(factory=None)
    session = await counter.backend.connect("room", "ann", "voice")

    async def same(_name: str) -> VoiceSession:
        return session

    desk = FastRTCDesk(counter.backend, same, None)
    assert "sdp" in await desk.offer(offer("ann"))
    with pytest.raises(Exception, match="already"):
        await desk.offer(offer("bob"))
    assert [peer.closed for peer in counter.peers] == [False, True]
    await counter.backend.disconnect(session)
    assert await desk.offer(offer("carol")) == failed("no_session")
    await counter.backend.close()


@virtual_time
async def test_a_page_talks_in_json() -> None:
    counter = Counter()
    async with counter.socket() as socket:
        socket.say({"event": "hello"})
        socket.say(start("ann"))
        await asyncio.sleep(0.5)
        (session,) = counter.sessions
        assert str(session.state) == "active"
        assert session.metadata["transport"] == "websocket"
        assert counter.known == [{"user": "ann"}]
        speech = _tone(440, 48_000)
        for at in range(0, 48_000, 4096):
            socket.say(media(speech[at : at + 4096]))
        socket.say({"event": "ping"})
        await asyncio.sleep(0.1)
        assert {"event": "pong"} in socket.texts
        assert len(counter.frames) >= 48
        assert frequency(*of_frames(counter.frames)) == pytest.approx(440, abs=5)
        assert counter.frames[0].sample_rate == 48_000

        socket.texts.clear()
        await counter.backend.send_audio(session, chunk(1000, 1000, 24_000).data)
        await asyncio.sleep(0.021)
        assert len(socket.texts) == 10  # 200 ms ahead
        await asyncio.sleep(0.2)
        assert len(socket.texts) == 20
        await asyncio.sleep(1)
        heard = sound(socket.texts)
        assert len(heard) == 24_000
        assert frequency(heard, 24_000) == pytest.approx(1000, abs=5)

        await counter.backend.send_audio(session, chunk(1000, 1000, 24_000).data)
        await asyncio.sleep(0.1)
        counter.backend.interrupt(session)
        before = len(socket.texts)
        await asyncio.sleep(1)
        assert len(socket.texts) == before + 1

        await counter.backend.send_transcription(session, "hello", "assistant")
        await asyncio.sleep(0.1)
        assert socket.texts[-1] == {
            "type": "transcription",
            "data": {"text": "hello", "role": "assistant"},
        }
    await asyncio.sleep(0.1)
    assert counter.gone == [session]
    assert session.state is VoiceSessionState.ENDED
    assert socket.closed is None
    await counter.backend.close()


def _tone(hertz: float, rate: int) -> Any:
    return np.frombuffer(chunk(hertz, 1000, rate).data, "<i2")


@virtual_time
async def test_a_page_may_speak_and_hear_plain_samples() -> None:
    counter = Counter(audio_format="pcm")
    async with counter.socket() as socket:
        socket.say_bytes(b"\0\0")  # before it said who it is
        socket.say(start("ann"))
        await asyncio.sleep(0.5)
        socket.say_bytes(chunk(440, 200, 48_000).data)
        await counter.backend.send_audio(counter.sessions[0], chunk(440, 200, 24_000).data)
        await asyncio.sleep(0.5)
        assert len(counter.frames) == 10
        assert {len(data) for data in socket.binary} == {960}
        socket.say({"event": "stop"})
        await asyncio.sleep(0.1)
        assert socket.closed == (1000, None)
    await counter.backend.close()


@virtual_time
async def test_a_telephone_call_has_8_khz_and_takes_back_what_was_sent_ahead() -> None:
    counter = Counter()
    async with counter.socket("telephone") as socket:
        socket.say({"event": "connected", "protocol": "Call"})
        socket.say({"event": "start", "streamSid": "MZ1", "start": {}})
        await asyncio.sleep(0.5)
        (session,) = counter.sessions
        for _ in range(10):
            socket.say({**media(_tone(440, 8_000)[:160]), "streamSid": "MZ1"})
        socket.say({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"digit": "9"}})
        socket.say({"event": "mark", "streamSid": "MZ1"})
        await asyncio.sleep(0.1)
        assert counter.keys == [DTMFEvent("9")]
        assert len(counter.frames) == 10
        socket.texts.clear()
        await counter.backend.send_audio(session, chunk(440, 1000, 24_000).data)
        await asyncio.sleep(0.1)
        assert {message["streamSid"] for message in socket.texts} == {"MZ1"}
        assert len(sound(socket.texts[:1])) == 160
        counter.backend.interrupt(session)
        await asyncio.sleep(0.1)
        assert {"event": "clear", "streamSid": "MZ1"} in socket.texts
        with pytest.raises(NotImplementedError):
            counter.backend.send_dtmf(session, "1")
        await counter.backend.disconnect(session)
        await asyncio.sleep(0.1)
        assert socket.closed == (1000, None)
    assert counter.gone == []
    await counter.backend.close()


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        "[" * 50_000,
        {"event": "media", "media": {"payload": "no base64!"}},
        {"event": "media", "media": {"payload": "A" * (MAX_PAYLOAD + 1)}},
        b"\0" * (MAX_PAYLOAD + 2),
    ],
)
@virtual_time
async def test_a_client_that_makes_no_sense_is_sent_away(message: Any) -> None:
    counter = Counter()
    async with counter.socket() as socket:
        socket.say(start("ann"))
        await asyncio.sleep(0.5)
        if isinstance(message, bytes):
            socket.say_bytes(message)
        else:
            socket.say(message)
        await asyncio.sleep(0.1)
        assert socket.closed is not None
        assert socket.closed[0] == 1007
    assert counter.gone == counter.sessions
    await counter.backend.close()


@virtual_time
async def test_a_client_that_does_not_say_who_it_is_is_sent_away() -> None:
    counter = Counter()
    async with counter.socket() as socket:
        socket.say({"event": "start"})
        await asyncio.sleep(0.1)
        assert socket.closed is not None
        assert socket.closed[0] == 1007
    async with counter.socket() as socket:
        await asyncio.sleep(11)
        assert socket.closed == (1008, "no start message")
    async with counter.socket() as socket:
        pass
    assert socket.closed is None
    assert counter.sessions == []
    await counter.backend.close()


@virtual_time
async def test_a_client_that_is_one_too_many_or_unwelcome_is_told_so() -> None:
    counter = Counter()
    async with counter.socket() as first, counter.socket() as second:
        first.say(start("ann"))
        await asyncio.sleep(0.5)
        second.say(start("bob"))
        await asyncio.sleep(0.5)
        assert second.texts == [failed("concurrency_limit_reached", limit=1)]
        assert second.closed == (1008, None)
    async with counter.socket() as socket:
        socket.say(start("unwelcome"))
        await asyncio.sleep(0.5)
        assert socket.texts == [failed("no_session")]
    async with counter.socket() as socket:
        socket.say(start("bob"))
        await asyncio.sleep(0.5)
        assert len(counter.sessions) == 2
    await counter.backend.close()


@virtual_time
async def test_a_client_that_does_not_read_loses_the_oldest_and_is_given_up() -> None:
    counter = Counter()
    async with counter.socket() as socket:
        socket.say(start("ann"))
        await asyncio.sleep(0.5)
        socket.stuck = True
        (session,) = counter.sessions
        for _ in range(MAX_WAITING + 50):
            await counter.backend.send_transcription(session, "more")
        await asyncio.sleep(SEND_TIMEOUT_S + 1)
        assert session.state is VoiceSessionState.ENDED
        assert counter.gone == [session]
    await counter.backend.close()
