"""Sound beside and behind a call: G48, G63, G67, G68, G77, G120, G130, G135, G140, G170-G173,
G257, G271; T45, T46."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gateway.house import House, house
from tests.integration.sound_server import SoundServer, sound_server

from salon.base import SYSTEM_CLOCK, UrlPolicy
from salon.clients.call.offerer import Offerer
from salon.gateway import SOCKET_ENDPOINTS, Gateway, Session
from salon.gateway.ambiance import Ambiance, AmbianceStore
from salon.gateway.cleaning import Cleaning
from salon.gateway.companions import Companion
from salon.gateway.media_pass import MediaPass
from salon.gateway.media_pass_link import WebSocketLinks
from salon.gateway.options import MediaPassOption
from salon.gateway.sounds import SoundLoader
from salon.gateway.subscription import Subscription
from salon.gateway.webrtc import WebRtcCalls
from salon.media import write_wav
from salon.media.frame import Samples
from salon.media.level import peak_dbfs
from salon.media.packet_codecs import make_packet_encoder
from salon.testing import CallPair, silence, tone, virtual_time
from salon.transport.carriers import choose_carrier
from salon.transport.packets import PayloadFormat, PeerOptions
from salon.transport.ticker import Ticker

OPUS = PayloadFormat(111, "opus", 48_000, 2)
HUM: Samples = np.full(8000, 10_000, dtype=np.int16)
HERE = UrlPolicy(schemes=frozenset({"ws", "wss"}), allowed_hosts=frozenset({"127.0.0.1"}))
SERVER = "server-side-track"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    write_wav(tmp_path / "hum.wav", HUM, 16_000)
    return tmp_path


@asynccontextmanager
async def sounding(folder: Path | None = None, **parts: Any) -> AsyncIterator[House]:
    """Calls with everything there is for their sound."""
    store = AmbianceStore(SoundLoader(() if folder is None else (folder,)))
    links = WebSocketLinks(HERE)

    def companions(_session: Session) -> tuple[Companion, ...]:
        return MediaPass(links), Cleaning(), Ambiance(store), Subscription()

    async with house(companions=companions, **parts) as made:
        yield made
    await store.close()


@pytest.fixture
async def server() -> AsyncIterator[SoundServer]:
    async with sound_server() as made:
        yield made


def passing(server: SoundServer, **more: int) -> dict[str, Any]:
    rates = {"inputSampleRate": 16_000, "outputSampleRate": 16_000}
    return {"mediaPass": {"url": server.url, **rates, **more}}


# -- subscribe ------------------------------------------------------------------------------------


@asynccontextmanager
async def webrtc() -> AsyncIterator[Gateway]:
    """A gateway in memory whose peers are real."""
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        calls = WebRtcCalls(await choose_carrier("auto", Ticker()), PeerOptions())
        at.gateway.endpoints = {**SOCKET_ENDPOINTS, **calls.paths()}
        yield at.gateway


async def say(offerer: Offerer, samples: Samples) -> None:
    encoder = make_packet_encoder("opus")
    for at, frame in enumerate(samples.reshape(-1, 320)):
        offerer.send(encoder.encode(frame), OPUS.payload_type, at * 960)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("subscribe", [True, False])
async def test_T45_G48_G316_both_sides_are_pushed_if_asked_for(subscribe: bool) -> None:
    offerer = Offerer((), clock=SYSTEM_CLOCK)
    try:
        async with webrtc() as gateway:
            call = CallPair.connect(gateway.acceptor, "/webrtc")
            offer = await offerer.offer((OPUS,))
            answer = await call.invite(offer=offer, subscribe=subscribe, timeout=10)
            offerer.accept(answer["sdp"], "opus")
            async with asyncio.timeout(10):
                await offerer.connected()
            await say(offerer, tone(600))
            await asyncio.sleep(0.2)
            said = [bytes(frame.data) for frame in call.audio]  # type: ignore[arg-type]
            call.send({"command": "tts", "text": "hello"})
            await call.expect("trackEnd", trackId=SERVER, timeout=10)
            heard = [bytes(frame.data) for frame in call.audio[len(said) :]]  # type: ignore[arg-type]
            call.close()
    finally:
        await offerer.close()
    if not subscribe:
        assert not said
        assert not heard
        return
    assert {frame[0] for frame in said} == {1}
    assert {len(frame) for frame in said} == {641}
    assert len(said) >= 25
    assert int(np.abs(np.frombuffer(said[15][1:], dtype="<i2")).max()) > 3000
    agent = [frame for frame in heard if frame[0] == 0]
    assert {len(frame) for frame in agent} == {641}
    assert len(agent) == 300 // 20


@virtual_time
async def test_G48_on_call_it_has_no_effect() -> None:
    async with sounding() as at:
        call = await at.call("/call?id=call-1", subscribe=True)
        await call.send_audio(tone(200))
        assert not call.audio
        assert not call.of("error")


# -- media pass -----------------------------------------------------------------------------------


async def test_T46_G170_G171_G172_another_server_hears_and_is_heard(server: SoundServer) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        call = await at.call(**passing(server, packetSize=640, outputSampleRate=8000))
        assert server.queries == [{"room": ["7"], "sample_rate": ["8000"], "packet_size": ["640"]}]
        await call.send_audio(tone(400))
        await server.until(lambda: len(server.frames) == 20)
        assert {len(frame) for frame in server.frames} == {320}
        await server.say("not sound")
        await server.say(tone(400).tobytes())
        await asyncio.sleep(0.8)
        assert np.array_equal(call.sound, tone(400))
        assert not call.of("error")


async def test_G120_its_track_starts_first(server: SoundServer) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        call = await at.call(**passing(server))
        assert [(event["event"], event["trackId"]) for event in call.events] == [
            ("trackStart", SERVER),
            ("trackStart", "call-1"),
            ("answer", "call-1"),
        ]


@pytest.mark.parametrize("rate", [8000, 24_000])
async def test_G172_its_rate_is_its_own(server: SoundServer, rate: int) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        call = await at.call(**passing(server, inputSampleRate=rate, ptime=20))
        await server.say(bytes(rate))  # half a second
        await asyncio.sleep(0.9)
        assert len(call.sound) == 8000


async def test_G170_tts_takes_the_server_track(server: SoundServer) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        call = await at.call(**passing(server))
        call.send({"command": "tts", "text": "me", "playId": "p"})
        await call.expect("trackEnd", playId="p")
        await server.until(lambda: server.ended == [1000])
        ends = [event.get("playId") for event in call.of("trackEnd", trackId=SERVER)]
        assert ends == [None, "p"]


async def test_G77_G170_it_cannot_be_paused(server: SoundServer) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        call = await at.call(**passing(server))
        call.send({"command": "pause"})
        error = await call.expect("error")
        assert error["error"].startswith("track does not support pausing")


async def test_G173_a_clean_close_is_only_the_end_of_the_track(server: SoundServer) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        call = await at.call(**passing(server))
        await server.connections[0].close()
        await call.expect("trackEnd", trackId=SERVER)
        assert not call.of("error")


async def test_G37_G173_an_error_is_told_before_the_end_of_the_track(server: SoundServer) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        call = await at.call(**passing(server))
        server.connections[0].transport.abort()
        await call.expect("trackEnd", trackId=SERVER)
        assert [event["event"] for event in call.events[-2:]] == ["error", "trackEnd"]
        assert call.events[-2]["sender"] == f"media_pass: {server.url}"


async def test_G173_no_connection_no_track(server: SoundServer) -> None:
    async with sounding(parts={"clock": SYSTEM_CLOCK}) as at:
        option = passing(server)
        option["mediaPass"]["url"] = "ws://127.0.0.1:1/"
        call = await at.call(**option)
        (error,) = call.of("error")
        assert error["sender"] == "media_pass: ws://127.0.0.1:1/"
        assert not call.of("trackStart", trackId=SERVER)
        call.send({"command": "tts", "text": "on we go"})
        await call.expect("trackEnd", trackId=SERVER)


@virtual_time
async def test_G67_a_packet_size_that_makes_no_sense_is_told() -> None:
    async with sounding() as at:
        option = {"url": "ws://127.0.0.1:1/", "inputSampleRate": 16_000, "outputSampleRate": 7}
        call = await at.call(mediaPass=option)
        (error,) = call.of("error")
        assert error["error"].startswith("outputSampleRate 7 is not one of")


def test_G67_G257_packets_are_100_ms_unless_said_otherwise() -> None:
    option = MediaPassOption.model_validate(
        {"url": "ws://h/", "inputSampleRate": 8000, "outputSampleRate": 8000}
    )
    assert option.packet_size == 3200


# -- ambiance -------------------------------------------------------------------------------------


@virtual_time
async def test_G68_G135_a_background_is_heard_and_gives_way(media: Path) -> None:
    async with sounding(media) as at:
        call = await at.call(ambiance={"path": "hum.wav"})
        await asyncio.sleep(1)
        assert abs(int(call.sound[-1]) - 3000) <= 1
        assert np.allclose(np.diff([packet.at for packet in call.audio]), 0.02)
        call.send({"command": "tts", "text": "a sentence that takes more than a second"})
        await asyncio.sleep(1)
        frame = call.sound[-320:].astype(int)
        assert abs(frame.mean() - 1000) < 700
        session = at.session()
        assert session.media.player.current is not None
        call.send({"command": "interrupt"})
        await asyncio.sleep(0.02 * 25)
        assert abs(int(call.sound[-1]) - 3000) <= 1


@virtual_time
async def test_G135_the_level_moves_a_step_per_packet(media: Path) -> None:
    async with sounding(media) as at:
        call = await at.call(ambiance={"path": "hum.wav", "transitionSpeed": 0.05})
        await asyncio.sleep(0.5)
        at.session().media.sources.append(lambda: silence(20))
        start = len(call.audio)
        await asyncio.sleep(0.2)
        packets = [np.frombuffer(packet.data, dtype="<i2") for packet in call.audio[start:]]  # type: ignore[arg-type]
        ends = [round(int(packet[-1]) / 10_000, 2) for packet in packets[:6]]
        assert ends == [0.25, 0.2, 0.15, 0.1, 0.1, 0.1]


@virtual_time
async def test_G45_G135_switched_off_nothing_is_sent(media: Path) -> None:
    async with sounding(media) as at:
        call = await at.call(ambiance={"path": "hum.wav", "enabled": False})
        await asyncio.sleep(1)
        assert not call.audio


# -- noise and gain -------------------------------------------------------------------------------


@virtual_time
async def test_G140_G130_noise_is_taken_out_before_anything_listens() -> None:
    noise = np.random.default_rng(1).normal(0, 800, 32_000).astype(np.int16)
    async with sounding() as at:
        call = await at.call(denoise=True)
        heard: list[Samples] = []
        at.session().media.taps.append(heard.append)
        await call.send_audio(noise)
        out = np.concatenate(heard)
        assert len(out) == len(noise)
        assert np.abs(out[16_000:].astype(int)).mean() < 0.5 * np.abs(noise.astype(int)).mean()
        assert not call.of("error")


@virtual_time
async def test_G63_a_soft_voice_is_raised_to_the_headroom() -> None:
    async with sounding() as at:
        call = await at.call(agc={"headroomDb": 10, "maxGainChangeDbPerSecond": 20}, vad={})
        heard: list[Samples] = []
        at.session().media.taps.append(heard.append)
        await call.send_audio(tone(3000, level=0.03))
        assert peak_dbfs(heard[-1]) == pytest.approx(-10, abs=0.5)


@virtual_time
async def test_G271_gain_needs_a_detector() -> None:
    async with sounding() as at:
        call = await at.call(agc={})
        (error,) = call.of("error")
        assert (error["sender"], error["error"].startswith("agc needs vad")) == ("agc", True)
