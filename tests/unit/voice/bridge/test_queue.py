from __future__ import annotations

import numpy as np
import pytest
from tests.unit.voice.bridge.sound import tone

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.voice.bridge_queue import BOUND, JitterQueue


def marked(value: int, size: int = FRAME_SAMPLES) -> Samples:
    return np.full(size, value, dtype=np.int16)


def mark(frame: Samples | None) -> int:
    return 0 if frame is None else int(frame[0])


def test_two_frames_must_be_there_before_it_is_read() -> None:
    queue = JitterQueue()
    queue.push(marked(1))
    assert queue.read() is None
    queue.push(marked(2))
    assert [mark(queue.read()), mark(queue.read())] == [1, 2]
    assert queue.underruns == 0


def test_run_dry_it_gives_silence_counts_and_primes_again() -> None:
    queue = JitterQueue()
    queue.push(marked(1))
    queue.push(marked(2))
    assert [mark(queue.read()) for _ in range(3)] == [1, 2, 0]
    assert queue.underruns == 1
    assert queue.idle
    queue.push(marked(3))
    assert queue.read() is None
    queue.push(marked(4))
    assert mark(queue.read()) == 3
    assert queue.underruns == 1


def test_a_lonely_frame_is_heard_after_a_moment_not_kept_for_later() -> None:
    queue = JitterQueue()
    queue.push(marked(7))
    assert [mark(queue.read()) for _ in range(3)] == [0, 0, 7]


def test_nothing_in_it_changes_nothing() -> None:
    queue = JitterQueue()
    assert queue.idle
    assert queue.read() is None
    assert queue.pop() is None
    assert queue.underruns == 0


def test_prime_of_one_reads_at_once() -> None:
    queue = JitterQueue(prime=1)
    queue.push(marked(1))
    assert mark(queue.read()) == 1


@pytest.mark.parametrize("prime", [0, BOUND + 1])
def test_prime_out_of_bounds_is_refused(prime: int) -> None:
    with pytest.raises(ValueError, match="prime"):
        JitterQueue(prime)


def test_it_is_bounded_and_the_oldest_give_way() -> None:
    queue = JitterQueue()
    for value in range(1, 12):
        queue.push(marked(value))
    assert queue.depth == BOUND
    assert queue.overflows == 3
    assert mark(queue.read()) == 4


def test_pieces_of_other_sizes_become_frames() -> None:
    queue = JitterQueue(prime=1)
    sound = np.arange(1, 1 + 3 * FRAME_SAMPLES, dtype=np.int16)
    for piece in np.array_split(sound, 7):
        queue.push(piece)
    heard = [queue.read() for _ in range(3)]
    assert all(frame is not None for frame in heard)
    assert np.array_equal(np.concatenate([f for f in heard if f is not None]), sound)


def test_digital_silence_keeps_its_place_and_is_none() -> None:
    queue = JitterQueue()
    for value in (1, 0, 2):
        queue.push(marked(value))
    assert [mark(queue.read()) for _ in range(3)] == [1, 0, 2]
    assert queue.underruns == 0


def test_clear_forgets_frames_and_pieces() -> None:
    queue = JitterQueue(prime=1)
    queue.push(marked(1))
    queue.push(marked(2, 100))
    queue.clear()
    assert queue.idle
    queue.push(marked(3))
    assert mark(queue.read()) == 3


def test_skip_goes_down_to_prime_and_no_further() -> None:
    queue = JitterQueue()
    for value in range(1, 6):
        queue.push(marked(value))
    queue.skip(2)
    assert (queue.depth, queue.shed) == (3, 2)
    queue.skip(9)
    assert (queue.depth, queue.shed) == (2, 3)
    queue.skip(9)
    assert mark(queue.read()) == 4


def standing(queue: JitterQueue, sound: list[Samples], windows: int) -> list[Samples | None]:
    """One frame in, one out, each window."""
    out = []
    for at in range(windows):
        queue.push(sound[at % len(sound)])
        out.append(queue.read())
    return out


def deep(extra: int, frame: Samples) -> JitterQueue:
    queue = JitterQueue()
    for _ in range(1 + extra):
        queue.push(frame)
    return queue


def test_too_deep_for_a_second_it_drops_one_frame_at_a_quiet_moment() -> None:
    loud, quiet = tone(400), marked(3)
    queue = deep(1, loud)
    standing(queue, [loud], 50)
    assert queue.shed == 0
    standing(queue, [loud, loud, loud, quiet], 8)
    assert queue.shed == 1
    assert queue.depth == 1  # after a read: 2 before it
    heard = standing(queue, [loud], 120)
    assert queue.shed == 1
    assert all(frame is not None and len(frame) == FRAME_SAMPLES for frame in heard)


def test_digital_silence_is_a_quiet_moment() -> None:
    for place in (0, 1):
        queue = deep(1, tone(400))
        standing(queue, [tone(400)], 50)
        for _ in range(place + 1):
            queue.push(marked(0))
        standing(queue, [tone(400), marked(0)], 6)
        assert queue.shed >= 1


def click(heard: list[Samples | None]) -> int:
    """The largest step from sample to sample; a tone of 400 Hz and 3000 has 470."""
    whole = np.concatenate([frame for frame in heard if frame is not None]).astype(int)
    return int(np.abs(np.diff(whole)).max())


def test_without_a_quiet_moment_two_frames_fade_into_one() -> None:
    sound = [tone(400, at) for at in range(5)]
    queue = deep(1, sound[0])
    standing(queue, sound, 100)
    assert queue.shed == 0
    assert click(standing(queue, sound, 4)) < 700
    assert (queue.shed, queue.depth) == (1, 1)
    standing(queue, sound, 300)
    assert queue.shed == 1


def test_far_too_deep_it_fades_sooner() -> None:
    sound = [tone(400, at) for at in range(5)]
    queue = deep(4, sound[0])
    assert click(standing(queue, sound, 77)) < 700
    assert queue.shed == 1
    standing(queue, sound, 26 + 26)
    assert queue.shed == 3
    standing(queue, sound, 300)
    assert (queue.shed, queue.depth) == (4, 1)


def test_far_too_deep_it_uses_all_of_a_pause() -> None:
    queue = deep(4, tone(400))
    standing(queue, [tone(400)], 50)
    standing(queue, [marked(3)], 12)
    assert (queue.shed, queue.depth) == (4, 1)


def test_jitter_on_top_of_standing_depth_is_kept() -> None:
    """Never below 3, up to 6: one frame is spare, three are needed."""
    queue = deep(2, tone(400))
    for at in range(2000):
        due = at % 25
        for _ in range(0 if due in range(1, 4) else 4 if due == 4 else 1):
            queue.push(tone(400))
        queue.read()
    assert (queue.shed, queue.underruns) == (0, 0)
    queue = deep(4, tone(400))
    for at in range(2000):
        due = at % 25
        for _ in range(0 if due in range(1, 4) else 4 if due == 4 else 1):
            queue.push(tone(400))
        queue.read()
    assert (queue.shed, queue.underruns) == (1, 0)


def test_depth_that_comes_back_within_a_second_sheds_nothing() -> None:
    """Jitter: four frames late, then at once, every half second."""
    queue = JitterQueue()
    for _ in range(5):
        queue.push(tone(400))
    for at in range(1000):
        due = at % 25
        for _ in range(0 if due in range(1, 5) else 5 if due == 5 else 1):
            queue.push(tone(400))
        assert queue.read() is not None
    assert (queue.shed, queue.underruns, queue.overflows) == (0, 0, 0)
