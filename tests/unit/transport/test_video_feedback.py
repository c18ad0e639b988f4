"""Feedback packets, as aiortc reads them."""

from __future__ import annotations

from typing import Any

import pytest
from aiortc.rtp import RtcpPacket, unpack_remb_fci
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.transport.video_bandwidth import send_time
from salon.transport.video_feedback import MAX_PAIRS, build_nack, build_pli, build_remb
from salon.transport.video_repair import MAX_ASKED, MAX_HOLES, Repair


def read(data: bytes) -> Any:
    packets = RtcpPacket.parse(data)
    assert len(packets) == 1
    return packets[0]


@settings(deadline=None)
@given(st.sets(st.integers(0xFF00, 0x10200), min_size=1, max_size=50))
def test_a_nack_asks_for_its_numbers_and_no_others(numbers: set[int]) -> None:
    packet = read(build_nack(1, 2, sorted(numbers)))
    assert (packet.fmt, packet.ssrc, packet.media_ssrc) == (1, 1, 2)
    assert {number & 0xFFFF for number in packet.lost} == {number & 0xFFFF for number in numbers}


def test_a_nack_is_bounded_and_never_empty() -> None:
    assert len(build_nack(1, 2, range(0, 40_000, 20))) == 12 + 4 * MAX_PAIRS
    with pytest.raises(ValueError, match="without numbers"):
        build_nack(1, 2, [])


def test_a_lost_picture() -> None:
    packet = read(build_pli(7, 8))
    assert (packet.fmt, packet.ssrc, packet.media_ssrc, packet.fci) == (1, 7, 8, b"")


@settings(deadline=None)
@given(st.integers(0, 1 << 40), st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=3))
def test_the_bandwidth(bits: int, sources: list[int]) -> None:
    rate, told = unpack_remb_fci(read(build_remb(1, sources, bits)).fci)
    assert told == sources
    assert bits * (1 - 1 / (1 << 17)) <= rate <= bits


def test_the_time_of_sending_among_other_extensions() -> None:
    head = bytes([0x90]) + bytes(11)
    words = bytes([0x10, 65, 0, 0x32, 1, 2, 3, 0])
    packet = head + b"\xbe\xde\x00\x02" + words + b"payload"
    assert send_time(packet, 3) == 0x010203
    assert send_time(packet, 4) is None
    assert send_time(bytes([0x80]) + packet[1:], 3) is None
    assert send_time(head + b"\x10\x00\x00\x02" + words, 3) is None


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 10))
def test_any_extension_can_be_read(words: bytes, identifier: int) -> None:
    whole = words + bytes(-len(words) % 4)
    packet = bytes([0x90]) + bytes(11) + b"\xbe\xde" + (len(whole) // 4).to_bytes(2, "big") + whole
    assert send_time(packet, identifier) is None or identifier


def test_a_hole_is_asked_for_at_once_and_then_less_and_less_often() -> None:
    repair = Repair()
    repair.lost([5, 6], 0.0)
    assert repair.to_ask(0.0) == [5, 6]
    assert repair.to_ask(0.01) == []
    assert repair.arrived(5)
    assert not repair.arrived(5)
    times = [step / 1000 for step in range(1, 2000) if repair.to_ask(step / 1000) == [6]]
    assert len(times) == MAX_ASKED - 1
    assert times == sorted(times)
    assert times[0] >= 0.03
    assert repair.age(1.0) == 1.0
    repair.forget_before(7)
    assert (len(repair), repair.age(1.0)) == (0, 0.0)


def test_too_many_holes_are_not_repaired() -> None:
    repair = Repair()
    assert repair.lost(range(MAX_HOLES), 0.0)
    assert not repair.lost([MAX_HOLES], 0.0)
    assert len(repair) == MAX_HOLES
