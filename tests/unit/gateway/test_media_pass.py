"""The media pass of a call in virtual time, its link in the test's hands (G67, G170-G173)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from salon.gateway import Gateway
from salon.gateway.media_pass import BACK_OFF_S, STEADY_S, MediaPass, MediaPassTotals
from salon.gateway.media_pass_link import Link, LinkError, with_query
from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import CallPair, scripted_gateway, tone
from salon.voice.engine import VoiceEngine
from salon.voice.playback import Playback, SoundTrack

URL = "ws://voice.test/pass?room=1"
OPTION = {"url": URL, "inputSampleRate": 16_000, "outputSampleRate": 16_000}


class FakeLink:
    """A link to nowhere: `say` and `fail`/`hang_up` are the other side."""

    def __init__(self) -> None:
        self.dropped = 0
        self.sent: list[bytes] = []
        self.closed = False
        self.receive: Callable[[bytes], bool] | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, chunk: bytes) -> None:
        self.sent.append(chunk)

    async def run(self, receive: Callable[[bytes], bool]) -> None:
        self.receive = receive
        await self._over

    async def close(self) -> None:
        self.closed = True

    def say(self, samples: Samples | bytes) -> bool:
        assert self.receive is not None
        return self.receive(samples if isinstance(samples, bytes) else samples.tobytes())

    def fail(self, why: str = "the connection broke") -> None:
        self._over.set_exception(LinkError(why))

    def hang_up(self) -> None:
        self._over.set_result(None)


class FakeServer:
    """Gives a link to whoever connects, unless it is down."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.links: list[FakeLink] = []
        self.down = ""
        self.delay = 0.0
        self.meanwhile: Callable[[], object] = lambda: None
        """Happens in the instant at which the connection is there."""

    async def __call__(self, url: str) -> Link:
        self.asked.append(url)
        await asyncio.sleep(self.delay)
        self.meanwhile()
        if self.down:
            raise LinkError(self.down)
        self.links.append(FakeLink())
        return self.links[-1]


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def passes() -> list[MediaPass]:
    return []


@pytest.fixture
async def house(
    engine: VoiceEngine, server: FakeServer, passes: list[MediaPass]
) -> AsyncIterator[Gateway]:
    """The gateway whose calls may pass their media on."""

    def companions(_session: object) -> tuple[MediaPass, ...]:
        passes.append(MediaPass(server))
        return (passes[-1],)

    async with scripted_gateway(engine, companions=companions) as gateway:
        yield gateway


async def passing(gateway: Gateway, **option: object) -> CallPair:
    call = CallPair.connect(gateway.acceptor, "/ws?id=a")
    await call.invite(mediaPass={**OPTION, **option})
    return call


def told(call: CallPair) -> list[tuple[str, str]]:
    return [(e["event"], e.get("trackId", "")) for e in call.events]


async def test_G120_its_track_starts_before_the_main_track(
    house: Gateway, server: FakeServer
) -> None:
    call = await passing(house)
    assert told(call) == [
        ("trackStart", "server-side-track"),
        ("trackStart", "a"),
        ("answer", "a"),
    ]
    assert "playId" not in call.events[0]
    assert server.asked == ["ws://voice.test/pass?room=1&sample_rate=16000&packet_size=3200"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h/p", "ws://h/p?sample_rate=8000&packet_size=320"),
        ("wss://h:1/p?a=b#f", "wss://h:1/p?a=b&sample_rate=8000&packet_size=320"),
    ],
)
def test_G170_the_query_says_what_is_sent(url: str, expected: str) -> None:
    assert with_query(url, sample_rate=8000, packet_size=320) == expected


@pytest.mark.parametrize(
    ("rate", "size", "expected"),
    [(16_000, 3200, 3200), (8000, 3200, 1600), (24_000, 640, 960), (44_100, 3200, 8820)],
)
async def test_G171_the_chunks_are_of_one_size_at_16_khz(
    house: Gateway, server: FakeServer, rate: int, size: int, expected: int
) -> None:
    call = await passing(house, outputSampleRate=rate, packetSize=size)
    await call.send_audio(tone(1000))
    (link,) = server.links
    assert {len(chunk) for chunk in link.sent} == {expected}
    assert len(link.sent) == 32_000 // size
    heard = np.frombuffer(b"".join(link.sent), dtype="<i2")
    assert int(np.abs(heard).max()) > 3000


async def test_G171_a_muted_caller_is_silence(house: Gateway, server: FakeServer) -> None:
    call = await passing(house)
    call.send({"command": "mute", "trackId": "a"})
    await asyncio.sleep(0.1)
    await call.send_audio(tone(400))
    assert server.links[0].sent
    assert not any(b"".join(server.links[0].sent))


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
async def test_G172_what_the_server_says_is_heard(
    house: Gateway, server: FakeServer, rate: int
) -> None:
    call = await passing(house, inputSampleRate=rate)
    (link,) = server.links
    await asyncio.sleep(0)
    for _ in range(50):
        link.say(tone(20) if rate == 16_000 else np.tile(tone(20), 3)[: rate // 50])
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert len(call.sound) == pytest.approx(16_000, abs=2 * FRAME_SAMPLES)
    assert int(np.abs(call.sound).max()) > 3000
    steps = np.diff([packet.at for packet in call.audio])
    assert np.allclose(steps, 0.02)


async def test_G172_what_comes_at_once_is_played_at_its_pace(
    house: Gateway, server: FakeServer
) -> None:
    call = await passing(house)
    await asyncio.sleep(0)
    server.links[0].say(tone(2000))
    await asyncio.sleep(1)
    assert len(call.sound) == pytest.approx(16_000, abs=640)


async def test_G172_with_ptime_a_block_is_filled_up(house: Gateway, server: FakeServer) -> None:
    call = await passing(house, ptime=100)
    await asyncio.sleep(0)
    server.links[0].say(tone(30).tobytes()[:-1])  # half a sample waits for the next frame
    server.links[0].say(tone(30).tobytes()[-1:])
    await asyncio.sleep(0.5)
    assert len(call.sound) == 1600
    assert np.array_equal(call.sound[:480], tone(30))
    assert not np.any(call.sound[480:])


async def test_G172_without_ptime_half_a_sample_is_nothing(
    house: Gateway, server: FakeServer
) -> None:
    call = await passing(house)
    await asyncio.sleep(0)
    server.links[0].say(b"\x01")
    server.links[0].say(tone(40).tobytes() + b"\x01")
    server.links[0].say(tone(40).tobytes())
    await asyncio.sleep(0.5)
    assert np.array_equal(call.sound, np.concatenate((tone(40), tone(40))))


async def test_a_server_that_is_far_ahead_has_to_wait(house: Gateway, server: FakeServer) -> None:
    call = await passing(house)
    await asyncio.sleep(0)
    (link,) = server.links
    assert [link.say(tone(1000)) for _ in range(30)] == [True] * 25 + [False] * 5
    await asyncio.sleep(1.1)
    assert [link.say(tone(1000)) for _ in range(3)] == [True, True, False]
    await asyncio.sleep(27)
    assert len(call.sound) == 27 * 16_000
    assert not call.of("error")


async def test_what_comes_after_its_track_is_nothing(house: Gateway, server: FakeServer) -> None:
    call = await passing(house)
    await asyncio.sleep(0)
    call.send({"command": "interrupt"})
    await call.expect("trackEnd")
    assert server.links[0].say(tone(100))
    await asyncio.sleep(0.2)
    assert not call.audio


@pytest.mark.parametrize(
    "command",
    [
        {"command": "tts", "text": "hello"},
        {"command": "interrupt"},
        {"command": "hangup"},
    ],
)
async def test_G170_another_playback_takes_its_place(
    house: Gateway, server: FakeServer, command: dict[str, str]
) -> None:
    call = await passing(house)
    (link,) = server.links
    call.send(command)
    await call.expect("trackEnd", trackId="server-side-track")
    await asyncio.sleep(0.1)
    assert link.closed
    sent = len(link.sent)
    if command["command"] != "hangup":
        await call.send_audio(tone(500))
    assert len(link.sent) == sent
    assert not call.of("error")
    await asyncio.sleep(60)
    assert len(server.links) == 1


async def test_G77_it_cannot_be_paused(house: Gateway, server: FakeServer) -> None:
    call = await passing(house)
    call.send({"command": "pause"})
    error = await call.expect("error")
    assert error["error"].startswith("track does not support pausing")
    assert not server.links[0].closed


async def test_G173_a_clean_close_ends_the_track_when_all_is_played(
    house: Gateway, server: FakeServer
) -> None:
    call = await passing(house)
    await asyncio.sleep(0)
    server.links[0].say(tone(1000))
    server.links[0].hang_up()
    end = await call.expect("trackEnd", trackId="server-side-track")
    assert len(call.sound) == 16_000
    assert end["duration"] == pytest.approx(1000, abs=60)
    assert not call.of("error")
    await asyncio.sleep(60)
    assert len(server.asked) == 1


async def test_G173_a_broken_connection_is_told_and_tried_again(
    house: Gateway, server: FakeServer
) -> None:
    call = await passing(house)
    await asyncio.sleep(0)
    server.links[0].say(tone(1000))
    server.links[0].fail("no Close frame")
    await call.expect("trackEnd", trackId="server-side-track")
    assert [e["event"] for e in call.events[-2:]] == ["error", "trackEnd"]
    error = call.events[-2]
    assert (error["sender"], error["error"]) == (f"media_pass: {URL}", "no Close frame")
    assert error["trackId"] == "server-side-track"
    await call.expect("trackStart", trackId="server-side-track")
    await call.send_audio(tone(500))
    assert server.links[1].sent
    server.links[1].say(tone(200))
    before = len(call.audio)
    await asyncio.sleep(0.5)
    assert len(call.audio) == before + 10


async def test_after_five_attempts_it_is_given_up(
    house: Gateway,
    server: FakeServer,
    passes: list[MediaPass],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    call = await passing(house)
    await asyncio.sleep(0)
    server.down = "not connected"
    server.links[0].fail()
    await call.send_audio(tone(400))
    assert passes[0].chunks_dropped == 4
    await asyncio.sleep(sum(BACK_OFF_S) + 1)
    assert len(server.asked) == 1 + len(BACK_OFF_S)
    assert [e["error"] for e in call.of("error")] == [
        "the connection broke",
        "given up after 5 attempts to connect again",
    ]
    await asyncio.sleep(60)
    assert len(server.asked) == 1 + len(BACK_OFF_S)
    call.send({"command": "tts", "text": "still here"})
    await call.expect("trackEnd", trackId="server-side-track")
    call.send({"command": "hangup"})
    await call.closed()
    assert "4 chunks were not sent" in caplog.text


async def test_a_server_that_always_hangs_is_not_tried_for_ever(
    house: Gateway, server: FakeServer
) -> None:
    call = await passing(house)
    for _ in range(6):
        await asyncio.sleep(0.1)
        server.links[-1].fail()
        await asyncio.sleep(9)
    assert len(server.asked) == 1 + len(BACK_OFF_S)
    assert call.of("error")[-1]["error"].startswith("given up")


async def test_a_connection_that_lasted_begins_anew(house: Gateway, server: FakeServer) -> None:
    await passing(house)
    for _ in range(8):
        await asyncio.sleep(STEADY_S + 1)
        server.links[-1].fail()
        await asyncio.sleep(BACK_OFF_S[0] + 0.1)
    assert len(server.links) == 9


@pytest.mark.parametrize("command", [{"command": "interrupt"}, {"command": "tts", "text": "so"}])
async def test_it_does_not_come_back_over_something_else(
    house: Gateway, server: FakeServer, command: dict[str, str]
) -> None:
    call = await passing(house)
    await asyncio.sleep(0)
    server.links[0].fail()
    await call.expect("trackEnd", trackId="server-side-track")
    call.send(command)
    await asyncio.sleep(60)
    assert len(server.links) == 1


async def test_what_began_while_it_connected_is_not_replaced(
    house: Gateway, server: FakeServer
) -> None:
    call = await passing(house)
    session = house.get("a")
    assert session is not None
    await asyncio.sleep(0)
    server.meanwhile = lambda: session.media.play(Playback(SoundTrack(tone(500)), "p"))
    server.links[0].fail()
    await call.expect("trackEnd", playId="p")
    assert [event.get("playId") for event in call.of("trackStart")] == [None, None, "p"]
    assert len(server.links) == 2
    assert all(link.closed for link in server.links)


async def test_a_call_that_ends_as_the_connection_is_there_closes_it(
    house: Gateway, server: FakeServer
) -> None:
    call = CallPair.connect(house.acceptor, "/ws?id=a")
    session = house.get("a")
    assert session is not None
    server.meanwhile = lambda: session.hangup("enough")
    call.send({"command": "invite", "option": {"mediaPass": OPTION}})
    await call.closed()
    assert not call.of("trackStart", trackId="server-side-track")
    assert all(link.closed for link in server.links)


async def test_G173_no_connection_is_told_and_the_call_goes_on(
    house: Gateway, server: FakeServer
) -> None:
    server.down = "not connected: refused"
    call = await passing(house)
    assert told(call)[0] == ("error", "server-side-track")
    (error,) = call.of("error")
    assert (error["sender"], error["error"]) == (f"media_pass: {URL}", "not connected: refused")
    assert not call.of("trackStart", trackId="server-side-track")
    call.send({"command": "tts", "text": "hello"})
    await call.expect("trackEnd", trackId="server-side-track")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"inputSampleRate": 0}, "inputSampleRate 0 is not one of 8000"),
        ({"outputSampleRate": 44_099}, "outputSampleRate 44099"),
        ({"packetSize": 0}, "packetSize 0 is not even"),
        ({"packetSize": 158}, "packetSize 158"),
        ({"packetSize": 321}, "packetSize 321"),
        ({"packetSize": 1 << 20}, "packetSize 1048576"),
        ({"ptime": 60_000}, "ptime 60000"),
    ],
)
async def test_G67_what_makes_no_sense_is_told_and_the_call_goes_on(
    house: Gateway, server: FakeServer, option: dict[str, int], told: str
) -> None:
    call = await passing(house, **option)
    (error,) = call.of("error")
    assert error["error"].startswith(told)
    assert not server.asked


async def test_secrets_in_the_url_are_not_told(house: Gateway, server: FakeServer) -> None:
    server.down = "no"
    call = await passing(house, url="ws://ann:pw@voice.test/?token=s3cret")
    (error,) = call.of("error")
    assert error["sender"] == "media_pass: ws://***@voice.test/?token=***"
    assert "s3cret" in server.asked[0]


async def test_a_call_that_ends_while_it_connects_leaves_nothing(
    house: Gateway, server: FakeServer
) -> None:
    server.delay = 3
    call = CallPair.connect(house.acceptor, "/ws?id=a")
    call.send({"command": "invite", "option": {"mediaPass": OPTION}})
    await asyncio.sleep(1)
    call.send({"command": "hangup"})
    await call.closed()
    await asyncio.sleep(5)
    assert not server.links


async def test_without_the_option_nothing_is_connected(house: Gateway, server: FakeServer) -> None:
    call = CallPair.connect(house.acceptor)
    await call.invite()
    call.send({"command": "interrupt"})
    call.send({"command": "tts", "text": "hello"})
    await call.expect("trackEnd")
    assert not server.asked


async def test_the_figures_of_all_passes_stand_in_one_place(
    engine: VoiceEngine, server: FakeServer
) -> None:
    totals = MediaPassTotals()
    async with scripted_gateway(
        engine, companions=lambda _session: (MediaPass(server, totals),)
    ) as gateway:
        call = await passing(gateway)
        assert totals == MediaPassTotals(live=1, begun=1)
        await call.send_audio(tone(500))
        assert totals.sent == 5
        server.links[0].dropped = 2
        server.links[0].fail()
        await asyncio.sleep(0.1)
        assert totals == MediaPassTotals(begun=1, failed=1, sent=5, dropped=2)
        await call.send_audio(tone(300))  # not sent: there is no connection
        assert totals.dropped == 5
        server.down = "gone"
        await asyncio.sleep(0.5)
        assert totals.failed == 2
        server.down = ""
        await asyncio.sleep(1.0)
        assert (totals.live, totals.begun) == (1, 2)
        call.close()
        await asyncio.sleep(1)
        assert totals.live == 0
        server.down = "gone"
        await passing(gateway)
        assert (totals.live, totals.begun, totals.failed) == (0, 2, 3)
