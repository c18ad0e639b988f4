"""The garbage collector while calls run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from salon.app.collector import MIDDLE, OLD, YOUNG, SteadyCollector


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.enable()
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_is_loaded_is_left_alone_until_the_end() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    collector = SteadyCollector()
    for _ in range(2):
        collector.begin()
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)
    for _ in range(2):
        collector.end()
        assert gc.get_freeze_count() == 0
        assert gc.get_threshold() == before


def test_what_is_made_later_is_still_collected() -> None:
    collector = SteadyCollector()
    collector.begin()
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert gc.collect() >= 1
    collector.end()


def test_a_collector_that_is_switched_off_stays_so() -> None:
    gc.disable()
    before = gc.get_threshold()
    collector = SteadyCollector()
    collector.begin()
    assert gc.get_threshold() == before
    assert not gc.isenabled()
    collector.end()
