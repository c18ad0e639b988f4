"""`Press`: what becomes of windows, hop by hop."""

from __future__ import annotations

from salon.voice.pipeline.dtmf import DTMFEvent
from salon.voice.pipeline.dtmf.bank import Hit
from salon.voice.pipeline.dtmf.press import Press

LOUD, QUIET, OVER = [1.0] * 4, [0.0] * 4, [1.0] * 12
FIVE = Hit("5", 1.0, 0.9)
SUDDEN = [0.0] * 7 + [1.0] * 5
PAUSE = [0.0] * 12


def told(*hops: tuple[Hit | None, list[float]]) -> list[DTMFEvent]:
    press = Press(5.0)
    found = (press.feed(hit, powers) for hit, powers in hops)
    return [event for event in found if event is not None]


def test_nothing_begins_without_a_hit() -> None:
    press = Press(5.0)
    assert press.feed(None, OVER) is None
    assert not press.active


def test_a_press_out_of_quiet_needs_a_hit_for_most_hops() -> None:
    press = Press(5.0)
    assert press.feed(FIVE, SUDDEN) is None
    assert press.active
    assert press.feed(FIVE, OVER) is None
    assert press.feed(None, PAUSE) is None
    assert press.feed(None, PAUSE) == DTMFEvent("5", 45.0, 0.9)
    assert not press.active


def test_a_press_out_of_other_sound_needs_three() -> None:
    hit, pause = (FIVE, OVER), (None, PAUSE)
    assert told(hit, hit, pause, pause) == []
    assert [event.digit for event in told(hit, hit, hit, pause, pause)] == ["5"]


def test_other_sound_takes_the_place_of_a_tone() -> None:
    hit, other = (FIVE, OVER), (None, OVER)
    (event,) = told((FIVE, SUDDEN), hit, hit, other, other, other)
    assert event == DTMFEvent("5", 65.0, 0.9)


def test_one_hit_in_a_vowel_is_no_press() -> None:
    assert told((FIVE, OVER), *[(None, OVER)] * 5) == []
    assert told((FIVE, SUDDEN), *[(None, OVER)] * 2, *[(None, PAUSE)] * 2) == []


def test_the_same_key_right_after_its_pause() -> None:
    gap = [0.0] * 4 + [0.0, 0.0, 0.0, 1.0]
    press = Press(5.0)
    assert press.feed(FIVE, SUDDEN) is None
    assert press.feed(FIVE, OVER) is None
    assert press.feed(None, QUIET) is None
    assert press.feed(FIVE, gap) == DTMFEvent("5", 45.0, 0.9)
    assert press.active


def test_a_tone_that_is_turned_down_is_one_press() -> None:
    weaker = [Hit("5", 0.6**at, 0.9) for at in range(12)]
    hops = [(hit, [hit.power] * 12) for hit in weaker]
    (event,) = told((FIVE, SUDDEN), *hops, (None, PAUSE), (None, PAUSE))
    assert event.duration_ms == 265
