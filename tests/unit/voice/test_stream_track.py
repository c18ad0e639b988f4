"""Sound that comes while it plays (G172)."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import tone
from salon.voice.stream_track import StreamTrack


def played(track: StreamTrack, ticks: int, start: int = 0) -> list[Samples | None]:
    return [track.next_frame((start + tick) * 0.02) for tick in range(ticks)]


def test_it_plays_what_it_was_fed_frame_by_frame() -> None:
    track, sound = StreamTrack(), tone(100)
    for at in range(0, len(sound), 130):
        assert track.feed(sound[at : at + 130])
    frames = [frame for frame in played(track, 10) if frame is not None]
    assert {len(frame) for frame in frames} == {FRAME_SAMPLES}
    assert np.array_equal(np.concatenate(frames), sound)
    assert not track.finished
    assert not track.pausable


def test_after_it_ran_dry_it_waits_for_a_little_more() -> None:
    track = StreamTrack()
    assert played(track, 2) == [None, None]
    track.feed(tone(20))
    assert track.next_frame(0.04) is None
    track.feed(tone(20))
    assert track.next_frame(0.06) is not None
    assert track.next_frame(0.08) is not None
    assert track.next_frame(0.10) is None
    track.feed(tone(20))
    assert track.next_frame(0.12) is None


def test_what_nothing_follows_is_played_all_the_same() -> None:
    track = StreamTrack()
    track.feed(tone(10))
    frames = played(track, 4)
    assert [frame is not None for frame in frames] == [False, False, True, False]
    assert frames[2] is not None
    assert np.array_equal(frames[2][:160], tone(10))
    assert not frames[2][160:].any()


@pytest.mark.parametrize("block", [90, 100])
def test_G172_a_block_is_filled_up_with_silence(block: int) -> None:
    track = StreamTrack(block_ms=block)
    track.feed(tone(120))
    first = played(track, 5)
    track.feed(tone(100))  # in the middle of the second block: of the third
    second = played(track, 5, 5)
    sound = np.concatenate([frame for frame in first + second if frame is not None])
    assert len(sound) == 3200
    assert np.array_equal(sound[:1600], tone(120)[:1600])


def test_G172_what_comes_in_a_block_belongs_to_the_next() -> None:
    track = StreamTrack(block_ms=40)
    track.feed(tone(50))
    played(track, 3)  # the second block has begun with its 10 ms
    track.feed(tone(40))
    rest = track.next_frame(0.06)
    assert rest is not None
    assert not rest.any()
    following = [track.next_frame(0.08), track.next_frame(0.1)]
    assert np.array_equal(np.concatenate([f for f in following if f is not None]), tone(40))


def test_it_ends_when_all_is_played() -> None:
    track = StreamTrack(block_ms=40)
    track.feed(tone(10))
    track.end()
    assert not track.feed(tone(10))
    assert not track.finished
    assert len([frame for frame in played(track, 2) if frame is not None]) == 2
    assert track.finished


def test_what_waits_is_bounded_and_counted() -> None:
    track = StreamTrack(max_seconds=0.1)
    assert track.feed(tone(90))
    assert not track.feed(tone(20))
    assert not track.feed(tone(20))
    assert (track.waiting, track.dropped) == (1600, 160 + 320)


def test_close_drops_what_waits_and_is_told() -> None:
    told: list[bool] = []
    track = StreamTrack(on_close=lambda: told.append(track.closed))
    track.feed(tone(100))
    track.close()
    assert told == [True]
    assert not track.feed(tone(20))
    assert played(track, 2) == [None, None]
    assert track.waiting == 0
