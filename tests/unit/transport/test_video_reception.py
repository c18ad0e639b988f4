"""Reception of a picture without I/O: order, repair, key frames, reports."""

from __future__ import annotations

import random
from typing import Any

from aiortc.rtp import RtcpPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.transport.rtcp import SenderReport, build_bye, build_report
from salon.transport.rtp import build_rtp
from salon.transport.video_reception import (
    REORDER_S,
    REPAIR_S,
    REPEAT_S,
    REQUEST_S,
    VideoFormats,
    VideoReception,
)
from salon.transport.video_vp8 import Vp8Depacketiser

OURS, THEIRS, REPAIRS = 11, 22, 33
VIDEO, RTX = 97, 98
NACK, PLI, REPORT = 205, 206, 201


class Stream:
    """A sender's packets and their repetitions."""

    def __init__(self, ssrc: int = THEIRS, first: int = 65_000) -> None:
        self.ssrc = ssrc
        self.sequence = first
        self.frames = 0
        self.repeats = 100

    def frame(self, packets: int = 3, *, key: bool = False) -> list[bytes]:
        """The next frame: its number is its content."""
        self.frames += 1
        made = []
        for place in range(packets):
            body = bytes([0x10, not key]) if place == 0 else b"\x00"
            made.append(
                build_rtp(
                    VIDEO,
                    self.sequence,
                    self.frames * 3750,
                    self.ssrc,
                    body + bytes([self.frames & 0xFF]),
                    place == packets - 1,
                )
            )
            self.sequence += 1
        return made

    def again(self, packet: bytes) -> bytes:
        """The packet as its retransmission (RFC 4588)."""
        self.repeats += 1
        timestamp = int.from_bytes(packet[4:8], "big")
        payload = packet[2:4] + packet[12:]
        return build_rtp(RTX, self.repeats, timestamp, REPAIRS, payload, packet[1] > 127)


class Receiver:
    """A `VideoReception` with a clock and what it sent."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        formats = VideoFormats({VIDEO: Vp8Depacketiser()}, {RTX: VIDEO}, **options)
        self.core = VideoReception(
            formats, ssrc=OURS, cname="us", now=self.now, random=random.Random(1)
        )
        self.frames: list[int] = []
        self.sent: list[tuple[int, Any]] = []

    def take(self, *packets: bytes) -> None:
        for packet in packets:
            self._note(self.core.rtp(packet, self.now))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += min(self.core.next_tick_s, end - self.now)
            self._note(self.core.tick(self.now, 1_700_000_000 + self.now))

    def asked(self, kind: int) -> list[Any]:
        found = [packet for number, packet in self.sent if number == kind]
        self.sent = [item for item in self.sent if item[0] != kind]
        return found

    def _note(self, frames: list[Any]) -> None:
        self.frames += [frame.data[-1] for frame in frames]
        for data in self.core.take_outgoing():
            self.sent.append((data[1], RtcpPacket.parse(data)[0]))


def started() -> tuple[Stream, Receiver]:
    stream, receiver = Stream(), Receiver()
    receiver.take(*stream.frame(key=True))
    assert receiver.frames == [1]
    return stream, receiver


def test_D15_a_frame_is_out_with_its_last_packet() -> None:
    stream, receiver = started()
    packets = stream.frame(4)
    receiver.take(*packets[:3])
    assert receiver.frames == [1]
    receiver.take(packets[3])
    assert receiver.frames == [1, 2]


def test_a_hole_is_asked_for_at_once() -> None:
    stream, receiver = started()
    packets = stream.frame(4)
    receiver.take(packets[0], packets[3])
    (nack,) = receiver.asked(NACK)
    first = int.from_bytes(packets[1][2:4], "big")
    assert (nack.ssrc, nack.media_ssrc, nack.lost) == (OURS, THEIRS, [first, first + 1])
    receiver.take(packets[2], packets[1])
    receiver.wait(0.2)
    assert receiver.asked(NACK) == []
    assert receiver.frames == [1, 2]


def test_a_hole_is_asked_for_again_until_it_is_given_up() -> None:
    stream, receiver = started()
    packets = stream.frame(3)
    receiver.take(packets[0], packets[2])
    receiver.wait(REPAIR_S + 0.05)
    assert 3 <= len(receiver.asked(NACK)) <= 5
    assert len(receiver.asked(PLI)) == 1
    assert receiver.core.statistics().skipped == 1


def test_O46_a_retransmission_fills_the_hole() -> None:
    stream, receiver = started()
    packets = stream.frame(3)
    receiver.take(packets[0], packets[2], stream.again(packets[1]))
    receiver.take(stream.again(packets[1]))
    assert receiver.frames == [1, 2]
    assert receiver.core.statistics().recovered == 1
    assert receiver.core.statistics().rejected == 0
    receiver.take(build_rtp(RTX, 1, 0, REPAIRS, b""), build_rtp(RTX, 2, 0, REPAIRS, b"a"))
    assert receiver.core.statistics().rejected == 0


def test_after_a_loss_nothing_comes_before_a_key_frame() -> None:
    stream, receiver = started()
    lost = stream.frame(3)
    receiver.take(lost[0], lost[2], *stream.frame(), *stream.frame())
    receiver.wait(REPAIR_S + 0.02)
    receiver.take(*stream.frame())
    assert receiver.frames == [1]
    receiver.take(*stream.frame(key=True), *stream.frame())
    assert receiver.frames == [1, 6, 7]


def test_a_key_frame_is_gone_to_over_a_hole() -> None:
    stream, receiver = started()
    lost = stream.frame(3)
    receiver.take(lost[0], lost[2], *stream.frame(key=True))
    assert receiver.frames == [1, 3]


def test_key_frames_are_asked_for_again_but_not_more_often_than_agreed() -> None:
    stream, receiver = Stream(), Receiver()
    receiver.take(*stream.frame())
    assert len(receiver.asked(PLI)) == 1
    for _ in range(20):
        receiver.take(*stream.frame())
        receiver.core.lose_picture(receiver.now)
    assert receiver.asked(PLI) == []
    receiver.wait(4 * REPEAT_S)
    asked = receiver.asked(PLI)
    assert 3 <= len(asked) <= 4 * REPEAT_S / REQUEST_S
    assert asked[0].media_ssrc == THEIRS
    receiver.take(*stream.frame(key=True))
    receiver.wait(2.0)
    assert receiver.asked(PLI) == []


def test_decoding_that_fails_asks_for_a_key_frame() -> None:
    stream, receiver = started()
    receiver.core.lose_picture(receiver.now)
    receiver.take(*stream.frame())
    assert len(receiver.asked(PLI)) == 1
    assert receiver.frames == [1]


def test_O81_a_key_frame_can_be_asked_for_before_anything_came() -> None:
    stream, receiver = Stream(), Receiver()
    receiver.core.request_key_frame(receiver.now)
    receiver.wait(0.5)
    assert receiver.asked(PLI) == []
    receiver.take(*stream.frame(key=True))
    receiver.wait(0.3)
    assert len(receiver.asked(PLI)) <= 1


def test_a_sender_that_takes_no_feedback_gets_none() -> None:
    stream, receiver = Stream(), Receiver(nack=False, pli=False)
    receiver.take(*stream.frame(key=True))
    packets = stream.frame(3)
    receiver.take(packets[0], packets[2], *stream.frame())
    receiver.wait(REORDER_S + 0.02)
    assert receiver.asked(NACK) == receiver.asked(PLI) == []
    receiver.take(*stream.frame(key=True))
    assert receiver.frames == [1, 4]


def test_reports_of_reception_go_on() -> None:
    stream, receiver = started()
    report = SenderReport(THEIRS, 5 << 32, 0, 3, 30)
    assert not receiver.core.rtcp(build_report(report, "them"), receiver.now)
    packets = stream.frame(10)
    receiver.take(*packets[:5], *packets[6:])
    receiver.wait(8.0)
    reports = receiver.asked(REPORT)
    assert 1 <= len(reports) <= 4
    block = reports[0].reports[0]
    assert (reports[0].ssrc, block.ssrc, block.packets_lost) == (OURS, THEIRS, 1)
    assert block.lsr == (5 << 32 >> 16) & 0xFFFFFFFF
    assert block.dlsr > 0


def test_the_source_takes_leave() -> None:
    _, receiver = started()
    assert receiver.core.rtcp(build_bye(THEIRS, "them"), receiver.now)
    assert not started()[1].core.rtcp(b"rubbish", 0.0)


def test_another_source_takes_over_with_its_second_packet() -> None:
    _, receiver = started()
    other = Stream(ssrc=44, first=7)
    receiver.take(*other.frame(key=True), *other.frame(key=True))
    assert receiver.frames[-1] == 2
    assert receiver.core.media == 44


def test_padding_between_frames_is_no_frame() -> None:
    stream, receiver = started()
    padding = build_rtp(VIDEO, stream.sequence, stream.frames * 3750, THEIRS, b"")
    stream.sequence += 1
    receiver.take(padding, *stream.frame())
    assert receiver.frames == [1, 2]
    assert receiver.core.statistics().rejected == 0


def test_rubbish_is_counted() -> None:
    stream, receiver = started()
    receiver.take(b"\x80", build_rtp(VIDEO, stream.sequence, 9, THEIRS, b"\x10", True))
    receiver.take(build_rtp(77, stream.sequence + 1, 9, THEIRS, b"a"))
    assert receiver.core.statistics().rejected == 3
    assert len(receiver.asked(PLI)) == 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=25),
    st.sets(st.integers(0, 150)),
    st.sets(st.integers(0, 150)),
    st.randoms(use_true_random=False),
)
def test_what_comes_out_can_always_be_decoded(
    shape: list[tuple[int, bool]],
    lost: set[int],
    repaired: set[int],
    chance: random.Random,
) -> None:
    stream, receiver = Stream(), Receiver()
    keys = set()
    packets: list[bytes] = []
    for number, (length, key) in enumerate([(2, True), *shape], start=1):
        packets += stream.frame(length, key=key)
        keys |= {number} if key else set()
    arriving = []
    for number, packet in enumerate(packets):
        if number not in lost:
            arriving.append(packet)
        elif number in repaired:
            arriving.append(stream.again(packet))
        if chance.random() < 0.2:
            arriving.append(packet) if number not in lost else None
    for at in range(2, len(arriving) - 3, 3):
        piece = arriving[at : at + 3]
        chance.shuffle(piece)
        arriving[at : at + 3] = piece
    for packet in arriving:
        receiver.take(packet)
        receiver.wait(0.005)
    receiver.wait(1.0)
    assert receiver.frames == sorted(set(receiver.frames))
    for before, after in zip([0, *receiver.frames], receiver.frames, strict=False):
        assert after == before + 1 or after in keys
    if not lost - repaired and not lost & {0, 1} and keys == {1}:
        assert receiver.frames == list(range(1, len(shape) + 2))


def test_the_number_of_what_is_sent_is_bounded_when_everything_is_lost() -> None:
    stream, receiver = started()
    for _ in range(300):
        packets = stream.frame(4)
        receiver.take(packets[0])
        receiver.wait(0.01)
    assert len(receiver.asked(PLI)) <= 3.0 / REQUEST_S + 1
    assert receiver.core.statistics().complete <= 1


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(0, 3))
def test_no_datagram_does_harm(datagrams: list[bytes], header: int) -> None:
    stream, receiver = started()
    for number, data in enumerate(datagrams):
        shaped = bytes([0x80 + 0x10 * (header & 1) + 0x20 * (header >> 1), (97, 98)[number % 2]])
        receiver.take(data, shaped + data)
        receiver.core.rtcp(data, receiver.now)
        receiver.wait(0.02)
    receiver.wait(0.5)
    receiver.take(*stream.frame(key=True), *stream.frame(key=True), *stream.frame(key=True))
    assert receiver.frames[-1] in (1, 4)
