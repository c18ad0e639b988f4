from __future__ import annotations

import numpy as np
import pytest

from salon.media.frame import Samples
from salon.voice.history import History


def sound(start: int, count: int) -> Samples:
    return np.arange(start, start + count, dtype=np.int16)


@pytest.mark.parametrize(
    "pieces", [(3,), (10,), (7, 3), (7, 7), (10, 10), (4,) * 9, (25,), (8, 25)]
)
def test_the_newest_is_found_by_its_position(pieces: tuple[int, ...]) -> None:
    history, total = History(10), 0
    for count in pieces:
        history.remember(sound(total, count))
        total += count
        assert history.heard == total
        kept = min(total, 10)
        for back in range(kept + 1):
            assert history.since(total - back).tolist() == list(range(total - back, total))
        for end in range(total - kept + 2, total + 1):
            assert history.until(end, 2).tolist() == [end - 2, end - 1]


def test_what_is_older_or_not_there_yet_is_left_out() -> None:
    history = History(10)
    history.remember(sound(0, 4))
    assert history.since(-5).tolist() == [0, 1, 2, 3]
    assert history.since(9).tolist() == []
    history.remember(sound(4, 20))
    assert history.since(0).tolist() == list(range(14, 24))


def test_what_was_asked_for_does_not_change_afterwards() -> None:
    history = History(4)
    history.remember(sound(0, 4))
    kept = history.since(0)
    history.remember(sound(4, 4))
    assert kept.tolist() == [0, 1, 2, 3]


def test_without_room_it_counts() -> None:
    history = History(0)
    history.remember(sound(0, 320))
    assert (history.heard, len(history.since(0))) == (320, 0)
