"""The session that sends and reads reports."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from salon.testing.clock import VirtualClock
from salon.transport.packets import PacketStatistics
from salon.transport.reception import ReceptionStatistics
from salon.transport.rtcp import ReceiverReport, SenderReport, SourceDescription, parse_rtcp
from salon.transport.rtp import OutgoingStream, parse_rtp
from salon.transport.rtp_session import RtpSession


class End:
    """One end of a call with its own clock rate; what it sends goes to the other by hand."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        self.clock = clock
        self.outgoing = OutgoingStream(8000, clock=clock, random=Random(seed))
        self.reception = ReceptionStatistics(8000)
        self.session = RtpSession(
            self.outgoing,
            self.reception,
            cname=f"end{seed}",
            now=clock.monotonic(),
            random=Random(seed),
        )

    def send(self, number: int) -> bytes:
        return self.outgoing.packet(bytes(160), 0, 160 * number)

    def take(self, data: bytes) -> None:
        self.reception.received(parse_rtp(data, self.clock.monotonic()))

    def report(self) -> bytes:
        return self.session.report(self.clock.monotonic(), self.clock.time())


def test_reports_are_due_at_one_second_and_then_every_five_give_or_take() -> None:
    waits = []
    for seed in range(40):
        end = End(VirtualClock(), seed)
        due: list[float] = []
        for step in range(4000):
            now = step * 0.01
            if end.session.due(now):
                end.session.report(now, 1000.0 + now)
                due.append(now)
        assert 0.49 <= due[0] <= 1.51
        waits += [after - before for before, after in itertools.pairwise(due)]
    assert 2.48 <= min(waits) < 3.0
    assert 7.0 < max(waits) <= 7.52


def test_sender_reports_only_after_sending() -> None:
    clock = VirtualClock()
    end = End(clock, 1)
    assert parse_rtcp(end.report())[0] == ReceiverReport(end.outgoing.ssrc)
    end.send(0)
    clock.advance(0.01)
    report, names = parse_rtcp(end.report())
    assert isinstance(report, SenderReport)
    assert (report.packets, report.octets) == (1, 160)
    assert report.rtp_timestamp == end.outgoing.timestamp_at(clock.monotonic())
    assert (report.rtp_timestamp - end.outgoing.last_timestamp) & 0xFFFFFFFF == 80
    assert names == SourceDescription(((end.outgoing.ssrc, "end1"),))
    assert isinstance(parse_rtcp(end.report())[0], ReceiverReport)


def test_two_ends_measure_the_round_trip_loss_and_jitter() -> None:
    clock = VirtualClock()
    near, far = End(clock, 1), End(clock, 2)
    for number in range(100):
        data = near.send(number)
        if number % 4:
            far.take(data)
        clock.advance(0.02)
    one_way = 0.04
    first = near.report()
    clock.advance(one_way)
    far.session.incoming_rtcp(first, clock.monotonic())
    clock.advance(0.5)
    answer = far.report()
    clock.advance(one_way)
    near.session.incoming_rtcp(answer, clock.monotonic())
    seen = near.session.statistics()
    assert seen.round_trip_ms == pytest.approx(80.0, abs=0.05)
    assert seen.remote_lost == pytest.approx(24 / 99, abs=1 / 256)
    assert (seen.packets_sent, seen.bytes_sent) == (100, 16000)
    assert far.session.statistics().lost == 24
    assert far.session.statistics().packets_received == 75


def test_the_round_trip_outlives_a_wall_clock_that_is_set() -> None:
    clock = VirtualClock()
    near, far = End(clock, 1), End(clock, 2)
    far.take(near.send(0))
    first = near.session.report(clock.monotonic(), 5000.0)
    far.session.incoming_rtcp(first, clock.monotonic())
    clock.advance(0.1)
    near.session.incoming_rtcp(far.session.report(clock.monotonic(), 9.0), clock.monotonic())
    assert near.session.statistics().round_trip_ms == pytest.approx(0.0, abs=0.05)


def test_statistics_before_anything() -> None:
    assert End(VirtualClock(), 1).session.statistics() == PacketStatistics()


def test_remote_jitter_is_in_milliseconds_of_our_clock() -> None:
    end = End(VirtualClock(), 1)
    ssrc = end.outgoing.ssrc.to_bytes(4, "big")
    block = ssrc + bytes.fromhex("80000001 00000005 00000050 00000000 00000000")
    end.session.incoming_rtcp(bytes.fromhex("81C90007 00000002") + block, 1.0)
    seen = end.session.statistics()
    assert (seen.remote_jitter_ms, seen.remote_lost, seen.round_trip_ms) == (10.0, 0.5, None)


def test_malformed_reports_are_counted_and_change_nothing() -> None:
    end = End(VirtualClock(), 1)
    end.session.incoming_rtcp(b"\x80\xc9\0\1", 0.0)
    end.session.incoming_rtcp(b"", 0.0)
    assert end.session.statistics() == PacketStatistics(rejected=2)


def test_goodbye_of_the_source_we_hear() -> None:
    clock = VirtualClock()
    near, far = End(clock, 1), End(clock, 2)
    stranger = End(clock, 3)
    far.take(near.send(0))
    far.session.incoming_rtcp(stranger.session.bye(), 0.0)
    assert not far.session.departed
    far.session.incoming_rtcp(near.session.bye("done"), 0.0)
    assert far.session.departed
