"""Rate limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.core.resilience import RateLimit, RateLimiter, TokenBucket, rate_of

FAST = RateLimit(max_per_second=2)
SLOW = RateLimit(max_per_minute=1)


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (None, None),
        (RateLimit(), None),
        (RateLimit(max_per_second=5), 5),
        (RateLimit(max_per_minute=30), 0.5),
        (RateLimit(max_per_hour=1800), 0.5),
        (RateLimit(max_per_second=1, max_per_minute=6, max_per_hour=9), 1),
        (RateLimit(max_per_minute=6, max_per_hour=9), 0.1),
    ],
)
def test_R193_the_first_given_limit_counts(limit: RateLimit | None, rate: float | None) -> None:
    assert rate_of(limit) == rate


def test_R193_a_bucket_holds_one_second_and_at_least_one_token() -> None:
    assert TokenBucket.of(7, 0).capacity == 7
    assert TokenBucket.of(0.01, 0).capacity == 1


def test_R193_who_finds_no_token_waits_behind_the_others() -> None:
    bucket = TokenBucket.of(2, 0)
    assert [bucket.reserve(0).delay for _ in range(6)] == [0, 0, 0.5, 1, 1.5, 2]
    assert bucket.reserve(1).delay == 1.5
    assert bucket.reserve(100).delay == 0


def test_R193_a_slow_limit_delivers() -> None:
    bucket = TokenBucket.of(1 / 60, 0)
    assert bucket.reserve(0).delay == 0
    assert bucket.reserve(0).delay == pytest.approx(60)
    assert bucket.reserve(60).delay == pytest.approx(60)


def test_R193_time_that_stands_or_goes_back_makes_no_tokens() -> None:
    bucket = TokenBucket.of(1, 10)
    assert bucket.reserve(10).delay == 0
    assert bucket.reserve(5).delay == 1
    assert bucket.reserve(10).delay == 2


def test_R193_a_place_at_the_end_of_the_line_is_free_again() -> None:
    bucket = TokenBucket.of(1, 0)
    places = [bucket.reserve(0) for _ in range(4)]
    assert [place.delay for place in places] == [0, 1, 2, 3]
    bucket.give_back(places[3].ticket)
    assert bucket.reserve(0).delay == 3


def test_R193_a_place_within_the_line_is_free_once_all_behind_it_left() -> None:
    bucket = TokenBucket.of(1, 0)
    places = [bucket.reserve(0) for _ in range(4)]
    bucket.give_back(places[2].ticket)
    assert bucket.reserve(0).delay == 4
    bucket.give_back(bucket.last_ticket)
    bucket.give_back(places[3].ticket)
    assert bucket.reserve(0).delay == 2


def test_R193_abandoned_places_are_forgotten_with_their_time() -> None:
    bucket = TokenBucket.of(1, 0)
    places = [bucket.reserve(0) for _ in range(3)]
    bucket.give_back(places[1].ticket)
    assert bucket.abandoned == {2}
    assert bucket.reserve(9).delay == 0
    assert bucket.abandoned == set()


def test_R194_taking_never_waits() -> None:
    bucket = TokenBucket.of(2, 0)
    assert [bucket.try_take(0) for _ in range(3)] == [True, True, False]
    assert not bucket.try_take(0.4)
    assert bucket.try_take(0.5)
    assert not bucket.try_take(0.5)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([0.2, 1.0, 3.0, 7.5]),
    st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["send", "leave", "take"])), max_size=60),
)
def test_R193_no_window_holds_more_than_the_limit(
    rate: float, steps: list[tuple[float, str]]
) -> None:
    bucket, now = TokenBucket.of(rate, 0), 0.0
    waiting: list[tuple[int, float]] = []
    sent: list[float] = []
    for wait, step in steps:
        now += wait
        sent += [at for _, at in waiting if at <= now]
        waiting = [item for item in waiting if item[1] > now]
        if step == "send":
            place = bucket.reserve(now)
            waiting.append((place.ticket, now + place.delay))
        elif step == "leave" and waiting:
            ticket, _ = waiting.pop(len(waiting) // 2)
            bucket.give_back(ticket)
        elif step == "take" and bucket.try_take(now):
            sent.append(now)
    sent = sorted(sent + [at for _, at in waiting])
    for first, begin in enumerate(sent):
        for last in range(first, len(sent)):
            most = bucket.capacity + rate * (sent[last] - begin)
            assert last - first + 1 <= most + 1e-6


def test_R193_keys_have_buckets_of_their_own() -> None:
    limiter = RateLimiter()
    assert limiter.reserve("a", SLOW, 0).delay == 0
    assert limiter.reserve("b", SLOW, 0).delay == 0
    assert limiter.reserve("a", SLOW, 0).delay == pytest.approx(60)


def test_R193_no_limit_no_bucket() -> None:
    limiter = RateLimiter()
    place = limiter.reserve("a", None, 0)
    limiter.give_back(place)
    assert (place.delay, limiter.try_take("a", RateLimit(), 0), len(limiter)) == (0, True, 0)


def test_R193_a_place_may_be_given_back() -> None:
    limiter = RateLimiter()
    limiter.reserve("a", SLOW, 0)
    limiter.give_back(limiter.reserve("a", SLOW, 0))
    assert limiter.reserve("a", SLOW, 0).delay == pytest.approx(60)


def test_R194_inbound_messages_are_dropped_not_delayed() -> None:
    limiter = RateLimiter()
    assert [limiter.try_take("a", FAST, 0) for _ in range(3)] == [True, True, False]
    assert limiter.try_take("b", FAST, 0)


def test_R193_a_changed_limit_counts_from_then_on() -> None:
    limiter = RateLimiter()
    assert [limiter.reserve("a", FAST, 0).delay for _ in range(4)] == [0, 0, 0.5, 1]
    assert limiter.reserve("a", RateLimit(max_per_second=1), 0).delay == 3
    assert limiter.reserve("a", RateLimit(max_per_second=10), 3).delay == pytest.approx(0.1)
    assert limiter.reserve("b", RateLimit(max_per_second=10), 0).delay == 0
    assert [limiter.reserve("b", SLOW, 0).delay for _ in range(2)] == pytest.approx([0, 60])


def test_full_buckets_are_forgotten_others_are_not() -> None:
    limiter = RateLimiter(max_keys=4)
    limiter.reserve("owed", SLOW, 0)
    for number in range(50):
        limiter.try_take(f"k{number}", FAST, number)
        assert len(limiter) <= 4
    assert limiter.reserve("owed", SLOW, 49).delay == pytest.approx(11)


def test_what_is_owed_may_exceed_the_number_of_keys() -> None:
    limiter = RateLimiter(max_keys=2)
    for number in range(20):
        limiter.reserve(f"k{number}", SLOW, 0)
    assert len(limiter) == 20
    assert all(limiter.reserve(f"k{number}", SLOW, 0).delay > 0 for number in range(20))
    for number in range(20, 60):
        limiter.reserve(f"k{number}", SLOW, 1000)
    assert len(limiter) <= 48
