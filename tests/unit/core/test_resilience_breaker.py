"""The circuit breaker's states."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.core.resilience import BreakerEdge, BreakerState, CallOutcome, CircuitBreaker

OK, BAD, NONE = CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.ABANDONED


def call(breaker: CircuitBreaker, outcome: CallOutcome, now: float = 0) -> BreakerEdge | None:
    permit = breaker.acquire(now)
    assert permit is not None
    return breaker.report(permit, outcome, now)


def edges(breaker: CircuitBreaker, outcomes: Iterable[CallOutcome]) -> list[BreakerEdge | None]:
    return [call(breaker, outcome) for outcome in outcomes]


def opened(now: float = 0, *, threshold: int = 2, cooldown: float = 60) -> CircuitBreaker:
    breaker = CircuitBreaker(threshold, cooldown)
    for _ in range(threshold):
        call(breaker, BAD, now)
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_R188_defaults() -> None:
    breaker = CircuitBreaker()
    assert (breaker.failure_threshold, breaker.cooldown_seconds) == (5, 60)
    assert breaker.state is BreakerState.CLOSED


def test_R189_it_opens_at_the_threshold_and_says_so_once() -> None:
    breaker = CircuitBreaker(3)
    assert edges(breaker, [BAD, BAD, BAD]) == [None, None, BreakerEdge.OPENED]
    assert breaker.state is BreakerState.OPEN
    assert breaker.failure_count == 3
    assert BreakerEdge.OPENED == "circuit_breaker_opened"


def test_R188_a_success_resets_the_count() -> None:
    breaker = CircuitBreaker(2)
    assert edges(breaker, [BAD, OK, BAD, OK, BAD]) == [None] * 5
    assert (breaker.state, breaker.failure_count) == (BreakerState.CLOSED, 1)


def test_R190_an_abandoned_call_is_neither() -> None:
    breaker = CircuitBreaker(2)
    assert edges(breaker, [BAD, NONE]) == [None, None]
    assert breaker.failure_count == 1
    assert call(breaker, BAD) is BreakerEdge.OPENED


def test_R188_open_fails_at_once_until_the_cooldown_is_over() -> None:
    breaker = opened(10)
    assert breaker.acquire(10) is None
    assert breaker.acquire(69.99) is None
    assert breaker.state is BreakerState.OPEN
    assert breaker.acquire(70) is not None
    assert breaker.state is BreakerState.HALF_OPEN


def test_R188_half_open_lets_one_probe_pass() -> None:
    breaker = opened()
    assert breaker.acquire(60) is not None
    assert breaker.acquire(60) is None
    assert breaker.acquire(9999) is None


def test_R189_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert call(breaker, OK, 60) is BreakerEdge.CLOSED
    assert (breaker.state, breaker.failure_count) == (BreakerState.CLOSED, 0)
    assert [breaker.acquire(60) is None for _ in range(3)] == [False] * 3
    assert BreakerEdge.CLOSED == "circuit_breaker_closed"


def test_R189_a_probe_that_fails_opens_it_again() -> None:
    breaker = opened()
    assert call(breaker, BAD, 60) is BreakerEdge.OPENED
    assert (breaker.state, breaker.failure_count) == (BreakerState.OPEN, 3)
    assert breaker.acquire(119) is None
    assert call(breaker, OK, 120) is BreakerEdge.CLOSED


def test_R188_a_probe_that_is_abandoned_leaves_room_for_another() -> None:
    breaker = opened()
    assert call(breaker, NONE, 60) is None
    assert breaker.state is BreakerState.HALF_OPEN
    assert call(breaker, OK, 61) is BreakerEdge.CLOSED


@pytest.mark.parametrize("late", [OK, BAD, NONE])
def test_R188_stragglers_count_for_nothing(late: CallOutcome) -> None:
    breaker = CircuitBreaker(2)
    straggler = breaker.acquire(0)
    assert straggler is not None
    assert breaker.is_current(straggler)
    edges(breaker, [BAD, BAD])
    assert not breaker.is_current(straggler)
    assert breaker.report(straggler, late, 1) is None
    assert breaker.acquire(59) is None
    probe = breaker.acquire(60)
    assert probe is not None
    assert breaker.report(straggler, late, 61) is None
    assert breaker.acquire(61) is None
    assert breaker.report(probe, OK, 62) is BreakerEdge.CLOSED
    assert breaker.report(straggler, late, 63) is None
    assert breaker.report(probe, BAD, 63) is None
    assert breaker.failure_count == 0


@pytest.mark.parametrize(("threshold", "cooldown"), [(0, 60), (5, -1)])
def test_settings_that_make_no_sense_are_refused(threshold: int, cooldown: float) -> None:
    with pytest.raises(ValueError, match="must"):
        CircuitBreaker(threshold, cooldown)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(CallOutcome), st.floats(0, 40), st.booleans()), max_size=60),
)
def test_R188_R189_whatever_happens(
    threshold: int, calls: list[tuple[CallOutcome, float, bool]]
) -> None:
    """Against a plain model of consecutive failures; some calls end late, some overlap."""
    breaker, now, late = CircuitBreaker(threshold, 60), 0.0, list[int]()
    failures, opened_at = 0, float("-inf")
    for outcome, wait, is_late in calls:
        now += wait
        resting = failures >= threshold and now < opened_at + 60
        permit = breaker.acquire(now)
        if resting:
            assert permit is None
            assert all(breaker.report(item, OK, now) is None for item in late)
            continue
        assert permit is not None
        if is_late and failures < threshold:
            late.append(permit)  # ends after this outage, if ever
            continue
        edge = breaker.report(permit, outcome, now)
        recovered = failures >= threshold and outcome is OK
        failures = {OK: 0, BAD: failures + 1, NONE: failures}[outcome]
        tripped = outcome is BAD and failures >= threshold
        opened_at = now if tripped else opened_at
        expected = BreakerEdge.OPENED if tripped else BreakerEdge.CLOSED if recovered else None
        assert edge is expected
        assert breaker.failure_count == failures
