"""Reception statistics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.transport.packets import MediaPacket
from salon.transport.reception import ReceptionStatistics


def packet(
    sequence: int, *, timestamp: int | None = None, arrival: float | None = None, ssrc: int = 1
) -> MediaPacket:
    """Number `sequence` of a stream of 20 ms at 8 kHz, in time unless said otherwise."""
    return MediaPacket(
        bytes(160),
        0,
        sequence & 0xFFFF,
        (160 * sequence if timestamp is None else timestamp) & 0xFFFFFFFF,
        False,
        0.02 * sequence if arrival is None else arrival,
        ssrc,
    )


def heard(*sequences: int) -> ReceptionStatistics:
    reception = ReceptionStatistics(8000)
    for sequence in sequences:
        reception.received(packet(sequence))
    return reception


def test_nothing_received() -> None:
    reception = ReceptionStatistics(8000)
    assert (reception.expected, reception.lost, reception.jitter_ms) == (0, 0, 0.0)
    assert reception.report() is None


def test_a_stream_without_loss() -> None:
    reception = heard(*range(100, 200))
    assert (reception.expected, reception.lost, reception.packets_received) == (100, 0, 100)
    assert reception.bytes_received == 16000
    assert reception.jitter == 0
    assert reception.highest_sequence == 199
    report = reception.report(7, 8)
    assert report is not None
    assert (report.ssrc, report.highest_sequence, report.lost) == (1, 199, 0)
    assert (report.fraction_lost, report.last_sr, report.delay) == (0, 7, 8)


def test_the_fraction_is_of_the_stretch_since_the_last_report() -> None:
    reception = heard(0, 1, 2, 3)
    reception.report()
    for sequence in (4, 6, 7):
        reception.received(packet(sequence))
    report = reception.report()
    assert report is not None
    assert (report.fraction_lost, report.lost) == (64, 1)
    report = reception.report()
    assert report is not None
    assert (report.fraction_lost, report.lost) == (0, 1)


def test_reordering_is_no_loss() -> None:
    assert heard(10, 12, 11, 14, 13, 15).lost == 0
    assert heard(10, 12, 11).highest_sequence == 12


def test_duplicates_never_make_the_loss_negative() -> None:
    reception = heard(1, 1, 1, 2)
    assert (reception.lost, reception.expected) == (0, 2)
    report = reception.report()
    assert report is not None
    assert (report.lost, report.fraction_lost) == (0, 0)


def test_sequence_wraps_into_the_upper_bits() -> None:
    reception = ReceptionStatistics(8000)
    for sequence in (0xFFFD, 0xFFFF, 0x10000, 0xFFFE, 0x10002):
        reception.received(packet(sequence))
    assert reception.highest_sequence == 0x10002
    assert (reception.expected, reception.lost) == (6, 1)


@pytest.mark.parametrize("length", [70_000, 140_000])
def test_long_streams_wrap_again(length: int) -> None:
    reception = ReceptionStatistics(8000)
    one = packet(0)
    for sequence in range(65_000, 65_000 + length):
        one.sequence = sequence & 0xFFFF
        reception.received(one)
    assert (reception.expected, reception.lost) == (length, 0)


def test_a_restart_of_the_numbers_takes_two_packets_in_a_row() -> None:
    reception = heard(0, 1, 3)
    reception.received(packet(30_000))
    assert (reception.highest_sequence, reception.restarts) == (3, 0)
    reception.received(packet(30_001))
    reception.received(packet(30_003))
    assert (reception.highest_sequence, reception.restarts) == (30_003, 1)
    assert (reception.expected, reception.lost) == (3, 2)


def test_stray_packets_change_nothing() -> None:
    reception = heard(0, 1)
    reception.received(packet(30_000))
    reception.received(packet(2))
    reception.received(packet(30_001))
    reception.received(packet(500, ssrc=2))
    reception.received(packet(3))
    assert (reception.ssrc, reception.expected, reception.lost) == (1, 4, 0)
    assert (reception.packets_received, reception.restarts) == (7, 0)


def test_another_source_takes_over_and_the_loss_so_far_stays() -> None:
    reception = heard(0, 1, 4)
    reception.report()
    for sequence in (500, 501, 502, 504):
        reception.received(packet(sequence, ssrc=2))
    report = reception.report()
    assert report is not None
    assert (report.ssrc, report.lost, report.highest_sequence) == (2, 1, 504)
    assert report.fraction_lost == 64
    assert (reception.lost, reception.restarts) == (3, 1)


def test_jitter_by_hand() -> None:
    """RFC 3550, 6.4.1: J += (|D| - J) / 16 with D of 80, 80 and 0 units."""
    reception = ReceptionStatistics(8000)
    for sequence, arrival in enumerate((0.0, 0.03, 0.04, 0.06)):
        reception.received(packet(sequence, arrival=arrival))
    first = 80 / 16
    second = first + (80 - first) / 16
    expected = second - second / 16
    assert reception.jitter_ms == pytest.approx(expected / 8)
    assert reception.jitter == int(expected)


def test_jitter_across_the_wrap_of_the_timestamp() -> None:
    reception = ReceptionStatistics(8000)
    for sequence in range(10):
        reception.received(packet(sequence, timestamp=0xFFFFFF00 + 160 * sequence))
    assert reception.jitter_ms == pytest.approx(0.0, abs=1e-6)


def test_telephone_events_are_no_jitter() -> None:
    reception = heard(0, 1, 2)
    for sequence in range(3, 13):
        reception.received(packet(sequence, timestamp=480))
    reception.received(packet(13))
    assert reception.jitter_ms == pytest.approx(0.0, abs=1e-6)


def test_a_source_that_sets_its_clock_is_no_jitter() -> None:
    reception = heard(0, 1, 2)
    reception.received(packet(3, timestamp=1_000_000_000))
    reception.received(packet(4, timestamp=1_000_000_160))
    assert reception.jitter_ms == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(1, 3), st.integers(0, 1 << 32))))
def test_any_sequence_keeps_the_books(arrivals: list[tuple[int, int, int]]) -> None:
    reception = ReceptionStatistics(8000)
    lost = 0
    for number, (sequence, ssrc, timestamp) in enumerate(arrivals):
        reception.received(packet(sequence, ssrc=ssrc, timestamp=timestamp, arrival=number / 50))
        assert reception.jitter_ms >= 0.0
        assert reception.lost >= 0
        if number % 3 == 0:
            report = reception.report()
            assert report is not None
            assert 0 <= report.fraction_lost <= 255
            assert 0 <= report.lost <= 0x7FFFFF
        lost = reception.lost
    assert reception.packets_received == len(arrivals)
    assert lost <= 0x10000 * (len(arrivals) + 1)


@given(st.sets(st.integers(0, 400), min_size=2), st.integers(0, 0xFFFF))
def test_losses_are_exact_with_reordering_inside_the_window(numbers: set[int], start: int) -> None:
    order = sorted(numbers)
    for index in range(0, len(order) - 1, 2):
        if index and order[index + 1] - order[index] < 50:  # not the first: it is the base
            order[index], order[index + 1] = order[index + 1], order[index]
    reception = ReceptionStatistics(8000)
    for number in order:
        reception.received(packet(start + number))
    span = max(order) - min(order) + 1
    assert (reception.expected, reception.lost) == (span, span - len(order))
