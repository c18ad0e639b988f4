"""RTP packets, one outgoing stream, and its clock."""

from __future__ import annotations

import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.testing.clock import VirtualClock
from salon.transport.rtp import (
    OutgoingStream,
    PacketError,
    build_rtp,
    is_rtcp,
    is_rtp_or_rtcp,
    parse_rtp,
)
from salon.transport.rtp_clock import OutgoingClock

HEADER = bytes.fromhex("0001 00000002 00000003")
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)


def test_a_packet_by_hand() -> None:
    data = bytes.fromhex("80 88 ABCD 01020304 DEADBEEF") + b"sound"
    packet = parse_rtp(data, 12.5)
    assert packet.payload == b"sound"
    assert (packet.payload_type, packet.marker) == (8, True)
    assert (packet.sequence, packet.timestamp) == (0xABCD, 0x01020304)
    assert (packet.ssrc, packet.arrival) == (0xDEADBEEF, 12.5)
    assert build_rtp(8, 0xABCD, 0x01020304, 0xDEADBEEF, b"sound", marker=True) == data


@pytest.mark.parametrize(
    ("first", "after", "payload"),
    [
        (0x80, b"", b""),
        (0x80, b"x", b"x"),
        (0x82, b"\1\1\1\1\2\2\2\2x", b"x"),
        (0x90, bytes.fromhex("BEDE 0001 10AA0000") + b"x", b"x"),  # RFC 8285, one byte
        (0x90, bytes.fromhex("1000 0002 0101AA00 00000000") + b"x", b"x"),  # two bytes
        (0x90, bytes.fromhex("BEDE 0000") + b"x", b"x"),
        (0xA0, b"x\0\0\3", b"x"),
        (0xA0, b"\1", b""),
        (0xB1, b"\1\1\1\1" + bytes.fromhex("BEDE 0001 10AA0000") + b"xy\0\2", b"xy"),
    ],
)
def test_options_are_skipped(first: int, after: bytes, payload: bytes) -> None:
    packet = parse_rtp(bytes((first, 0)) + HEADER + after, 0.0)
    assert packet.payload == payload
    assert (packet.sequence, packet.timestamp, packet.ssrc) == (1, 2, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\0" + HEADER[:-1],
        b"\x00\0" + HEADER,
        b"\x40\0" + HEADER,
        b"\xc0\0" + HEADER,
        b"\x81\0" + HEADER + b"\1\1\1",
        b"\x90\0" + HEADER + b"\xbe\xde\0",
        b"\x90\0" + HEADER + b"\xbe\xde\0\2\0\0\0\0",
        b"\xa0\0" + HEADER + b"x\0",  # padding of none
        b"\xa0\0" + HEADER + b"x\x03",
        b"\xa1\0" + HEADER + b"\1\1\1\1",  # padding would reach into the sources
    ],
)
def test_malformed_packets_raise(data: bytes) -> None:
    with pytest.raises(PacketError):
        parse_rtp(data, 0.0)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\xb3" + tail))
def test_noise_raises_nothing_else(data: bytes) -> None:
    with contextlib.suppress(PacketError):
        parse_rtp(data, 0.0)


@given(st.integers(0, 127), U16, U32, U32, st.binary(max_size=40), st.booleans())
def test_round_trip(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool
) -> None:
    packet = parse_rtp(build_rtp(payload_type, sequence, timestamp, ssrc, payload, marker), 1.0)
    assert packet.payload == payload
    assert (packet.payload_type, packet.sequence) == (payload_type, sequence)
    assert (packet.timestamp, packet.ssrc, packet.marker) == (timestamp, ssrc, marker)


def test_building_wraps_numbers_and_refuses_the_rest() -> None:
    packet = parse_rtp(build_rtp(0, 0x10001, 0x1_0000_0002, 3, b""), 0.0)
    assert (packet.sequence, packet.timestamp) == (1, 2)
    for payload_type, ssrc in ((128, 0), (-1, 0), (0, -1), (0, 1 << 32)):
        with pytest.raises(ValueError, match="out of range"):
            build_rtp(payload_type, 0, 0, ssrc, b"")


@pytest.mark.parametrize(
    ("first", "either"), [(0, False), (20, False), (127, False), (128, True), (191, True)]
)
def test_first_byte_tells_rtp_from_stun_and_dtls(first: int, either: bool) -> None:
    assert is_rtp_or_rtcp(bytes((first, 0))) is either
    assert not is_rtp_or_rtcp(bytes((first,)))
    assert not is_rtp_or_rtcp(bytes((192, 0)))


@pytest.mark.parametrize(
    ("second", "rtcp"),
    [
        (0, False),
        (128 | 63, False),
        (191, False),
        (192, True),
        (200, True),
        (223, True),
        (224, False),
        (128 | 96, False),
        (126, False),
    ],
)
def test_second_byte_tells_rtcp(second: int, rtcp: bool) -> None:
    assert is_rtcp(bytes((0x80, second))) is rtcp
    assert not is_rtcp(b"\x80")


def test_G139_sequence_grows_by_one_and_wraps() -> None:
    stream = OutgoingStream(8000, clock=VirtualClock(), random=Random(1))
    stream.sequence = 0xFFFE
    sequences = [parse_rtp(stream.packet(b"x", 0, 0), 0.0).sequence for _ in range(4)]
    assert sequences == [0xFFFE, 0xFFFF, 0, 1]


def test_a_stream_counts_and_adds_its_offset() -> None:
    clock = VirtualClock()
    stream = OutgoingStream(8000, clock=clock, random=Random(1))
    stream.timestamp_offset = 0xFFFFFF00
    assert (stream.last_timestamp, stream.last_sent) == (0, None)
    assert stream.timestamp_at(5.0) == 0xFFFFFF00
    clock.advance(1.0)
    packet = parse_rtp(stream.packet(b"12345", 0, 0x1_0000_0110, True), 0.0)
    assert (packet.timestamp, packet.marker, packet.ssrc) == (0x10, True, stream.ssrc)
    assert (stream.packets_sent, stream.bytes_sent) == (1, 5)
    assert (stream.last_timestamp, stream.last_sent) == (0x10, 1.0)
    assert stream.timestamp_at(1.5) == 0x10 + 4000
    assert stream.timestamp_at(0.5) == 0x10


def test_streams_begin_at_random() -> None:
    streams = [OutgoingStream(8000) for _ in range(8)]
    assert len({stream.ssrc for stream in streams}) == 8
    assert len({stream.timestamp_offset for stream in streams}) == 8
    assert all(0 <= stream.sequence < 1 << 15 for stream in streams)
    first, second = (OutgoingStream(8000, random=Random(7)) for _ in range(2))
    assert (first.ssrc, first.sequence) == (second.ssrc, second.sequence)


def test_G139_packets_in_step_count_their_length() -> None:
    clock = OutgoingClock(8000)
    times = [0.0, 0.021, 0.0399, 0.0899, 0.09, 0.11]
    assert [clock.next(160, now) for now in times] == [
        (0, True),
        (160, False),
        (320, False),
        (480, False),
        (640, False),
        (800, False),
    ]


def test_G139_a_gap_of_more_than_50_ms_moves_the_timestamp_and_sets_the_marker() -> None:
    clock = OutgoingClock(48000, start=1000)
    assert clock.next(960, 10.0) == (1000, True)
    assert clock.next(960, 10.02) == (1960, False)
    assert clock.next(960, 11.02) == (1960 + 48000, True)
    assert clock.next(960, 11.04) == (1960 + 48000 + 960, False)
    assert clock.next(960, 11.091) == (1960 + 48000 + 960 + 2448, True)


def test_G139_a_gap_across_the_wrap() -> None:
    clock = OutgoingClock(8000, start=0xFFFFFFFF - 159)
    assert clock.next(160, 0.0) == (0xFFFFFFFF - 159, True)
    assert clock.next(160, 0.1) == (640, True)
    assert clock.next(160, 0.12) == (800, False)


def test_a_long_packet_is_not_overtaken_by_the_gap() -> None:
    clock = OutgoingClock(8000)
    assert clock.next(8000, 0.0) == (0, True)
    assert clock.next(160, 0.1) == (8000, True)


@given(st.lists(st.tuples(st.integers(1, 2880), st.floats(0, 3)), min_size=1), U32)
def test_time_never_goes_back(steps: list[tuple[int, float]], start: int) -> None:
    clock = OutgoingClock(48000, start=start)
    now, length, elapsed = steps[0][1], 0, 0
    first = now
    for number, (units, wait) in enumerate(steps):
        now += wait if number else 0
        timestamp, marker = clock.next(units, now)
        assert 0 <= timestamp <= 0xFFFFFFFF
        passed = (timestamp - start) & 0xFFFFFFFF
        contiguous = elapsed + length
        assert passed >= contiguous
        if marker:
            assert passed == max(contiguous, round((now - first) * 48000))
        else:
            assert passed == contiguous
        elapsed, length = passed, units


def test_a_stretch_whose_first_packet_left_early_does_not_shift_the_next() -> None:
    clock = OutgoingClock(8000)
    assert clock.next(160, 10.0) == (0, True)
    assert clock.next(160, 10.002) == (160, False)  # its tick came 2 ms later
    assert clock.next(160, 10.022) == (320, False)
    assert clock.next(160, 11.0) == (8000, True)
