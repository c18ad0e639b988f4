"""The pacer: absolute deadlines, no drift, late ticks skipped and counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.media import PERIOD_NS, Pacer

MS = 1_000_000


def test_G132_ticks_are_due_every_20_ms_from_the_start() -> None:
    pacer = Pacer(start_ns=1000)
    assert pacer.due(999) == 0
    assert [pacer.due(1000 + i * 20 * MS) for i in range(5)] == [1] * 5
    assert pacer.next_deadline == 1000 + 100 * MS
    assert (pacer.ticks, pacer.skipped) == (5, 0)


def test_without_a_start_the_first_look_is_the_start() -> None:
    pacer = Pacer()
    assert pacer.next_deadline is None
    assert pacer.wait_ns(5) == 0
    assert pacer.due(7) == 1
    assert pacer.next_deadline == 7 + PERIOD_NS
    assert pacer.wait_ns(7 + 15 * MS) == 5 * MS
    assert pacer.wait_ns(7 + 25 * MS) == 0


def test_being_a_little_late_does_not_move_the_deadlines() -> None:
    pacer = Pacer(start_ns=0)
    for tick in range(1000):
        assert pacer.due(tick * PERIOD_NS + 19 * MS) == 1
    assert pacer.next_deadline == 1000 * PERIOD_NS
    assert pacer.skipped == 0


def test_G132_late_ticks_are_skipped_not_sent_in_a_burst() -> None:
    pacer = Pacer(start_ns=0)
    assert pacer.due(0) == 1
    assert pacer.due(105 * MS) == 5
    assert pacer.due(105 * MS) == 0
    assert pacer.skipped == 4
    assert pacer.ticks == 6
    assert pacer.next_deadline == 120 * MS


@given(st.lists(st.integers(0, 100 * MS), max_size=60), st.integers(1, 50 * MS))
def test_G132_media_time_follows_the_clock_however_it_is_looked_at(
    waits: list[int], period: int
) -> None:
    pacer = Pacer(period, start_ns=0)
    now = 0
    for wait in [0, *waits]:
        now += wait
        pacer.due(now)
        assert pacer.ticks == now // period + 1
        assert pacer.next_deadline == pacer.ticks * period


def test_a_pause_is_not_caught_up_after_a_restart() -> None:
    pacer = Pacer(start_ns=0)
    pacer.due(0)
    pacer.restart()
    assert pacer.due(9_000 * MS) == 1
    pacer.restart(10_000 * MS)
    assert pacer.due(9_999 * MS) == 0
    assert pacer.due(10_000 * MS) == 1
    assert (pacer.ticks, pacer.skipped) == (3, 0)


def test_the_period_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Pacer(0)
