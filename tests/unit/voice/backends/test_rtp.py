"""Plain RTP: loss and order, who is listened to, keys, codecs, ports."""

from __future__ import annotations

import asyncio
import socket
from random import Random
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.backends.hearing import chunk, frequency, of_frames
from tests.unit.voice.backends.rtp_sender import Hearing, Sender

from salon.base import ConfigurationError, LocalProtocolError, UnavailableError
from salon.media import AudioFrame
from salon.testing import VirtualClock, virtual_time
from salon.testing.contracts.voice_backend import until
from salon.transport.packets import PayloadFormat
from salon.voice.backends import RTPVoiceBackend, VoiceSession, VoiceSessionState
from salon.voice.backends.rtp_track import Rtcp, RtpTrack, ports_to_try

# -- loss ------------------------------------------------------------------------------------------


@virtual_time
async def test_V26_what_comes_in_another_order_is_not_lost() -> None:
    hearing = await Hearing().open()
    numbers = [*range(20), 21, 20, 22, 24, 23, *range(25, 60)]
    await hearing.say(*numbers)
    assert hearing.backend.packets_lost(hearing.session) == 0
    assert hearing.backend.concealed_frames(hearing.session) <= 1  # before its jitter was known
    await hearing.close()


@virtual_time
async def test_V27_a_pause_of_the_sender_is_no_loss() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(30))
    await asyncio.sleep(0.6)  # nothing is sent, and time goes on
    for number in range(30, 60):
        hearing.sender.sound(number, at=number + 30)
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert hearing.backend.packets_lost(hearing.session) == 0
    await hearing.close()


@virtual_time
async def test_V28_keys_use_numbers_of_the_stream_and_are_neither_lost_nor_concealed() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(20))
    used = hearing.sender.key(20, 20, "7")
    for number in range(20 + used, 50 + used):
        hearing.sender.sound(number, at=number - used)
        await asyncio.sleep(0.02)
    assert hearing.keys == ["7"]
    assert hearing.backend.packets_lost(hearing.session) == 0
    assert hearing.backend.concealed_frames(hearing.session) == 0
    await hearing.close()


@virtual_time
async def test_V29_V32_V33_lost_time_is_replaced_marked_and_counted() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(30), -1, -1, *range(32, 60))
    assert hearing.backend.packets_lost(hearing.session) == 2
    assert 1 <= hearing.backend.concealed_frames(hearing.session) <= 3
    assert 1 <= len(hearing.concealed) <= 4
    assert hearing.concealed[-1] - hearing.concealed[0] <= 3
    assert {len(frame.samples) for frame in hearing.frames} == {320}
    loud = [index for index, level in enumerate(hearing.levels) if level > 500]
    assert 56 <= loud[-1] - loud[0] + 1 <= 60  # of 60 said, lost ones included, some wait
    stats = hearing.backend.statistics(hearing.session)
    assert stats.packets.lost == 2
    assert stats.reception is not None
    await hearing.close()


@virtual_time
async def test_V30_V31_a_long_gap_fades_and_is_then_silent() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(30))
    before = len(hearing.frames)
    await hearing.say(*[-1] * 15, *range(45, 60))
    gap = hearing.levels[before : before + 14]
    assert max(gap[:2]) > 500
    assert max(gap[8:]) == 0
    assert hearing.levels[-1] > 500
    await hearing.close()


@virtual_time
async def test_another_source_at_the_same_address_starts_anew() -> None:
    hearing = await Hearing().open()
    await hearing.say(*range(10))
    hearing.sender.ssrc = 99
    await hearing.say(*range(40_000, 40_030))
    await asyncio.sleep(0.1)
    assert hearing.backend.packets_lost(hearing.session) == 0
    assert hearing.levels[-5] > 500
    await hearing.close()


# -- who is listened to ----------------------------------------------------------------------------


@virtual_time
async def test_the_first_packet_decides_who_the_far_end_is() -> None:
    hearing = await Hearing().open()
    ready: list[str] = []
    hearing.backend.on_session_ready(lambda session: ready.append(session.id))
    await asyncio.sleep(0.1)
    assert ready == []
    assert hearing.session.state is VoiceSessionState.CONNECTING
    hearing.sender.raw(b"no rtp")
    hearing.sender.raw(bytes([0x80]) + bytes(20)[:5])
    hearing.sender.sound(1, payload_type=77)
    await asyncio.sleep(0.1)
    assert ready == []  # nothing of that is sound
    stranger = Sender(hearing.session.metadata["local_addr"], ssrc=5)
    for number in range(20):
        hearing.sender.sound(number)
        await asyncio.sleep(0.01)
        stranger.sound(1000 + number)
        await asyncio.sleep(0.01)
    await hearing.backend.send_audio(hearing.session, chunk(500, 100).data)
    await asyncio.sleep(0.3)
    stats = hearing.backend.statistics(hearing.session)
    assert ready == [hearing.session.id]
    assert (stats.strangers, stats.malformed) == (20, 3)
    assert stats.packets.packets_received == 20
    assert stranger.received() == []
    assert len(hearing.sender.received()) >= 5
    stranger.close()
    await hearing.close()


@virtual_time
@pytest.mark.parametrize(("latching", "taken"), [("any", True), ("host", True), ("never", False)])
async def test_a_named_far_end_may_send_from_another_port(latching: str, taken: bool) -> None:
    hearing = await Hearing(latching=latching).open({"remote_host": "127.0.0.1", "remote_port": 9})
    assert hearing.session.state is VoiceSessionState.ACTIVE
    await hearing.say(*range(10))
    stats = hearing.backend.statistics(hearing.session)
    assert stats.packets.packets_received == (10 if taken else 0)
    assert stats.strangers == (0 if taken else 10)
    await hearing.backend.send_audio(hearing.session, chunk(500, 60).data)
    await asyncio.sleep(0.2)
    assert bool(hearing.sender.received()) is taken
    await hearing.close()


@virtual_time
async def test_another_host_than_the_named_one_is_a_stranger() -> None:
    hearing = await Hearing(latching="host").open({"remote_addr": ("127.0.0.2", 9)})
    await hearing.say(*range(5))
    assert hearing.backend.statistics(hearing.session).strangers == 5
    other = Sender(hearing.session.metadata["local_addr"], host="127.0.0.2")
    other.sound(1)
    await asyncio.sleep(0.05)
    assert hearing.backend.statistics(hearing.session).packets.packets_received == 1
    other.close()
    await hearing.close()


@virtual_time
async def test_the_far_end_may_be_named_later() -> None:
    hearing = await Hearing().open()
    address = await hearing.backend.accept(hearing.session, None)
    assert address == hearing.session.metadata["local_addr"]
    await hearing.backend.send_audio(hearing.session, chunk(500, 100).data)
    await asyncio.sleep(0.1)
    assert hearing.sender.received() == []
    await hearing.backend.accept(hearing.session, hearing.sender.address)
    await asyncio.sleep(0.2)
    packets = hearing.sender.received()
    assert len(packets) >= 6
    assert {packet.payload_type for packet in packets} == {0}
    assert [packet.sequence for packet in packets] == list(
        range(packets[0].sequence, packets[0].sequence + len(packets))
    )
    await hearing.close()
    with pytest.raises(LocalProtocolError):
        await hearing.backend.accept(hearing.session, None)


# -- keys ------------------------------------------------------------------------------------------


@virtual_time
async def test_V23_V70_keys_are_sent_as_telephone_events() -> None:
    hearing = await Hearing().open()
    hearing.sender.sound(1)
    await asyncio.sleep(0.05)
    hearing.backend.send_dtmf(hearing.session, "5", 100)
    await asyncio.sleep(0.4)
    events = [packet for packet in hearing.sender.received() if packet.payload_type == 101]
    assert {packet.payload[0] for packet in events} == {5}
    assert events[0].marker
    assert [bool(packet.payload[1] & 0x80) for packet in events][-3:] == [True] * 3
    assert len({packet.timestamp for packet in events}) == 1
    with pytest.raises(ValueError, match="x"):
        hearing.backend.send_dtmf(hearing.session, "x")
    await hearing.close()


@virtual_time
async def test_V24_without_a_payload_type_for_keys_there_are_none() -> None:
    hearing = await Hearing(dtmf_payload_type=None).open({"remote_addr": ["127.0.0.1", 9]})
    with pytest.raises(NotImplementedError):
        hearing.backend.send_dtmf(hearing.session, "5")
    await hearing.close()


# -- two backends ----------------------------------------------------------------------------------


async def linked(one: RTPVoiceBackend, other: RTPVoiceBackend) -> tuple[VoiceSession, VoiceSession]:
    first = await one.connect("room", "ann", "voice")
    second = await other.connect(
        "room", "bob", "voice", metadata={"remote_addr": first.metadata["local_addr"]}
    )
    return first, second


CODECS: list[dict[str, Any]] = [
    {},
    {"payload_type": 8},
    {"payload_type": 9},
    {"payload_type": 96, "clock_rate": 16_000},
    {"payload_type": 97, "codec": "l16"},
    {"payload_type": 111, "clock_rate": 48_000, "codec_parameters": {"useinbandfec": "1"}},
]


@pytest.mark.parametrize("settings", CODECS, ids=lambda one: str(one.get("payload_type", 0)))
async def test_every_codec_carries_sound_and_keys(settings: dict[str, Any]) -> None:
    one, other = RTPVoiceBackend(**settings), RTPVoiceBackend(**settings)
    frames: list[AudioFrame] = []
    keys: list[str] = []
    one.on_audio_received(lambda _session, frame: frames.append(frame))
    one.on_dtmf_received(lambda _session, event: keys.append(event.digit))
    first, second = await linked(one, other)
    await other.send_audio(second, chunk(600, 600).data)
    await until(lambda: len(frames) >= 30)
    samples, rate = of_frames(frames[12:24])
    assert frequency(samples, rate) == pytest.approx(600, abs=15)
    other.send_dtmf(second, "#", 60)
    await until(lambda: keys == ["#"])
    assert one.packets_lost(first) == 0
    await one.close()
    await other.close()


async def test_L16_is_big_endian_on_the_wire() -> None:
    backend = RTPVoiceBackend(payload_type=96, clock_rate=16_000, rtcp="off")
    session = await backend.connect("room", "ann", "voice")
    sender = Sender(session.metadata["local_addr"])
    await backend.accept(session, sender.address)
    await backend.send_audio(session, np.full(640, 0x0102, dtype="<i2").tobytes())
    found: list[bytes] = []
    async with asyncio.timeout(5):
        while not any(0x01 in payload for payload in found):
            await asyncio.sleep(0.02)
            found += [packet.payload for packet in sender.received()]
    loud = next(payload for payload in found if payload[:2] == b"\x01\x02")
    assert loud == b"\x01\x02" * 320
    await backend.close()
    sender.close()


@pytest.mark.parametrize("rtcp", ["pair", "mux"])
async def test_reports_go_both_ways_and_are_traced(rtcp: str) -> None:
    one = RTPVoiceBackend(rtcp=rtcp, rtcp_interval=0.1)
    other = RTPVoiceBackend(rtcp=rtcp, rtcp_interval=0.1)
    traces: list[Any] = []
    one.set_trace_emitter(traces.append)
    first, second = await linked(one, other)
    await other.send_audio(second, chunk(500, 2000).data)
    await one.send_audio(first, chunk(500, 2000).data)
    await until(lambda: one.statistics(first).packets.round_trip_ms is not None)
    await until(lambda: other.statistics(second).packets.round_trip_ms is not None)
    assert one.statistics(first).packets.round_trip_ms == pytest.approx(0, abs=60)
    said = {(trace.direction, trace.summary) for trace in traces if trace.raw}
    assert ("inbound", "RTCP sender report") in said
    assert ("outbound", "RTCP sender report") in said
    assert {trace.protocol for trace in traces} == {"RTP"}
    gone: list[str] = []
    one.on_client_disconnected(lambda session: gone.append(session.id))
    await other.disconnect(second)  # says BYE
    await until(lambda: gone == [first.id])
    await until(lambda: first.state is VoiceSessionState.ENDED)
    await one.close()
    await other.close()


async def test_rtcp_of_strangers_and_broken_rtcp_change_nothing() -> None:
    backend = RTPVoiceBackend(rtcp="mux", rtcp_interval=60)
    session = await backend.connect("room", "ann", "voice")
    sender = Sender(session.metadata["local_addr"])
    sender.raw(bytes([0x80, 201, 0, 1, 0, 0, 0, 1]))  # before anybody is known
    await until(lambda: backend.statistics(session).strangers == 1)
    sender.sound(1)
    sender.raw(bytes([0x80, 200, 0, 9, 0, 0]))
    await until(lambda: backend.statistics(session).packets.rejected == 1)
    await backend.close()
    sender.close()


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"payload_type": 128},
        {"payload_type": 96, "clock_rate": 44_100},
        {"payload_type": 96, "codec": "speex"},
        {"dtmf_payload_type": 0},
        {"rtcp_interval": 0},
        {"dtmf_payload_type": 128},
        {"formats": [PayloadFormat(200, "PCMA", 8000)]},
        {"local_addr": ("127.0.0.1", 65_535)},
        {"local_addr": ("127.0.0.1", 65_536), "rtcp": "mux"},
        {"local_addr": ("127.0.0.1", -1)},
        {"input_sample_rate": 0},
        {"input_sample_rate": 192_001},
        {"output_sample_rate": -1},
        {"audio_queue_maxsize": 0},
    ],
)
def test_what_cannot_be_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RTPVoiceBackend(**settings)


async def test_more_formats_are_received_and_one_is_sent() -> None:
    backend = RTPVoiceBackend(formats=[PayloadFormat(8, "PCMA", 8000), PayloadFormat(0, "x", 1)])
    assert [(item.payload_type, item.encoding) for item in backend.formats] == [
        (0, "PCMU"),
        (8, "PCMA"),
        (101, "telephone-event"),
    ]
    assert backend.name == "RTP"


@pytest.mark.parametrize("remote", ["nowhere", ("", 5), ("127.0.0.1", 0), ("127.0.0.1", "x"), 5])
async def test_an_address_that_is_none_is_refused(remote: Any) -> None:
    backend = RTPVoiceBackend()
    with pytest.raises(ConfigurationError):
        await backend.connect("room", "ann", "voice", metadata={"remote_addr": remote})
    assert backend.list_sessions("room") == []
    await backend.close()


async def test_a_name_without_an_address_leaves_no_session() -> None:
    backend = RTPVoiceBackend(remote_addr=("host.invalid", 9))
    with pytest.raises(UnavailableError):
        await backend.connect("room", "ann", "voice")
    assert backend.list_sessions("room") == []
    await backend.close()


class Ports:
    def __init__(self, *ports: int) -> None:
        self.free = list(ports)
        self.released: list[int] = []

    def allocate(self) -> int:
        return self.free.pop(0)

    def release(self, port: int) -> None:
        self.released.append(port)


async def test_ports_may_come_from_an_allocator_and_go_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        busy = taken.getsockname()[1]
        (port,) = ports_to_try(0, pair=True, random=Random(3))[:1]
        ports = Ports(port, busy)
        backend = RTPVoiceBackend(port_allocator=ports)
        session = await backend.connect("room", "ann", "voice")
        assert session.metadata["local_addr"] == ("127.0.0.1", port)
        with pytest.raises(UnavailableError):
            await backend.connect("room", "bob", "voice")
        assert ports.released == [busy]
        await backend.disconnect(session)
        await backend.disconnect(session)
    assert ports.released == [busy, port]
    await backend.close()
    with pytest.raises(LocalProtocolError):
        backend.statistics(session)


async def test_a_port_without_a_next_one_for_reports_is_given_back() -> None:
    ports = Ports(65_535)
    backend = RTPVoiceBackend(port_allocator=ports)
    with pytest.raises(UnavailableError):
        await backend.connect("room", "ann", "voice")
    assert ports.released == [65_535]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        await asyncio.sleep(0)
        again.bind(("127.0.0.1", 65_535))
    await backend.close()


async def test_a_session_that_ends_while_its_port_is_opened_leaves_no_socket() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    backend = RTPVoiceBackend(port_allocator=Ports(port), rtcp="off")
    connecting = asyncio.create_task(backend.connect("room", "ann", "voice"))
    while not backend.list_sessions("room"):
        await asyncio.sleep(0)
    await backend.close()
    with pytest.raises(LocalProtocolError):
        await connecting
    await asyncio.sleep(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))


async def test_before_anything_came_the_figures_are_zero() -> None:
    backend = RTPVoiceBackend()
    session = await backend.connect("room", "ann", "voice")
    assert backend.packets_lost(session) == backend.concealed_frames(session) == 0
    stats = backend.statistics(session)
    assert stats.reception is None
    assert ports_to_try(0, pair=False, random=Random(1)) == [0]
    await backend.close()


async def test_a_track_without_a_far_end_counts_what_it_cannot_send() -> None:
    from salon.voice.backends.rtp_track import Latching

    track = RtpTrack(
        (PayloadFormat(0, "PCMU", 8000),),
        latching=Latching.ANY,
        rtcp=Rtcp.PAIR,
        rtcp_interval=5,
        clock=VirtualClock(),
    )
    track.send(b"x", 0, 0)
    assert track.unsent == 1
    assert track.remote_lost == 0
    track.report()
    track.close(goodbye=True)
