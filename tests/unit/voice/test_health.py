"""Which engines of a chain are asked, and when one that failed is tried again."""

from __future__ import annotations

import pytest

from salon.voice.health import Chain


def chain(*names: str) -> Chain:
    return Chain.of(names or ("first", "second"), cooldown=30.0, max_cooldown=100.0)


def cooldown(of: Chain, now: float) -> int:
    """Whole seconds until the first engine is tried again."""
    for seconds in range(1000):
        if of.to_probe(1, now + seconds):
            return seconds
    raise AssertionError("it is never tried again")


def test_the_cooldown_doubles_with_each_failed_probe_up_to_its_bound() -> None:
    engines = chain()
    engines.failed(0, 0.0)
    lasted, now = [], 0.0
    for _ in range(5):
        lasted.append(cooldown(engines, now))
        now += lasted[-1]
        engines.probed(0, False, now)
    assert lasted == [30, 60, 100, 100, 100]


def test_failures_of_an_engine_that_is_tried_in_need_count_like_failed_probes() -> None:
    engines = chain()
    for now in (0.0, 30.0):
        engines.failed(0, now)
    assert cooldown(engines, 30.0) == 60


def test_many_calls_in_one_trouble_are_one_failure() -> None:
    engines = chain()
    for now in range(6):
        engines.failed(0, float(now))
    assert engines.statistics()[0].failed == 6
    assert cooldown(engines, 5.0) == 25


@pytest.mark.parametrize("way", ["probed", "served"])
def test_whoever_is_back_begins_with_the_first_cooldown_again(way: str) -> None:
    engines = chain()
    for _ in range(3):
        engines.failed(0, 0.0)
    if way == "probed":
        engines.probed(0, True, 0.0)
    else:
        engines.succeeded(0)
    assert engines.statistics()[0].healthy
    assert engines.order() == [0, 1]
    engines.failed(0, 0.0)
    assert cooldown(engines, 0.0) == 30


def test_a_probe_that_was_given_up_says_nothing_about_the_engine() -> None:
    engines = chain()
    engines.failed(0, 0.0)
    assert engines.to_probe(1, 30.0) == [0]
    assert engines.to_probe(1, 30.0) == [], "one probe at a time"
    engines.probed(0, None, 31.0)
    assert engines.to_probe(1, 31.0) == [0], "it may be tried again at once"
    assert not engines.statistics()[0].healthy


def test_only_better_engines_are_probed() -> None:
    engines = chain("a", "b", "c")
    for index in (0, 2):
        engines.failed(index, 0.0)
    assert engines.to_probe(0, 99.0) == []
    assert engines.to_probe(1, 99.0) == [0]


def test_who_is_fit_comes_first_and_who_is_passed_by_is_counted() -> None:
    engines = chain("a", "b", "c")
    engines.failed(0, 0.0)
    engines.failed(2, 0.0)
    assert engines.order() == [1, 0, 2]
    assert [one.skipped for one in engines.statistics()] == [1, 0, 0]
    engines.failed(1, 0.0)
    assert engines.order() == [0, 1, 2], "something may be better than nothing"
    assert [one.skipped for one in engines.statistics()] == [1, 0, 0]
