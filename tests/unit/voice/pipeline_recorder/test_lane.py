"""Frames that arrive unevenly find their place: nothing is cut, and both sides stay together."""

from __future__ import annotations

import random

import numpy as np
import pytest

from salon.media.frame import Samples
from salon.voice.pipeline.recorder.lane import Lane, TimeLine

RATE = 16_000
FRAME = 320
CLICK = 30_000


def clicks_of(sound: Samples) -> list[int]:
    return [int(at) for at in np.flatnonzero(sound == CLICK)]


class Call:
    """Two lanes, and a list of what arrives when; both sides click at the given instants."""

    def __init__(self) -> None:
        line = TimeLine(0.0, RATE)
        self.user = Lane(line, leads=True)
        self.bot = Lane(line, leads=False)
        self.line = line
        self.arrivals: list[tuple[float, Lane, Samples]] = []

    def stream(
        self,
        lane: Lane,
        begin: float,
        end: float,
        clicks: list[float],
        *,
        speed: float = 1.0,
        delay: float = 0.0,
        jitter: float = 0.0,
        noise: int = 0,
        rng: random.Random | None = None,
        stalls: list[tuple[float, float]] | None = None,
        lost: list[tuple[float, float]] | None = None,
    ) -> None:
        """Frames of sound from `begin` to `end` by our clock, of a sender `speed` as fast."""
        rng = rng or random.Random(1)
        step = FRAME / RATE / speed
        latest = 0.0
        count = round((end - begin) / step)
        sound = np.full(count * FRAME, noise, dtype=np.int16)
        for click in clicks:
            place = round((click - begin) * RATE * speed)
            if 0 <= place < len(sound):
                sound[place] = CLICK
        for number in range(count):
            at = begin + number * step
            samples = sound[number * FRAME : (number + 1) * FRAME]
            arrival = at + delay + rng.uniform(0, jitter)
            for start, until in stalls or []:
                if start <= arrival < until:
                    arrival = until + (arrival - start) / 1000
            latest = max(latest, arrival)  # a stream keeps its order
            if not any(a <= at < b for a, b in lost or []):
                self.arrivals.append((latest, lane, samples))

    def play(self) -> tuple[Samples, Samples]:
        """Both lanes, whole, taken as the recorder does: 0.4 s behind."""
        parts: dict[Lane, list[Samples]] = {self.user: [], self.bot: []}
        for number, (instant, lane, samples) in enumerate(
            sorted(self.arrivals, key=lambda item: item[0])
        ):
            lane.put(samples, instant)
            if number % 10 == 0:
                unsettled = [side.open_from(instant) for side in parts]
                horizon = max(self.line.at(instant - 0.4), min(side.end for side in parts))
                self._take(parts, min([horizon, *(at for at in unsettled if at is not None)]))
        for side in parts:
            side.settle(1e9)
        self._take(parts, max(side.end for side in parts))
        return np.concatenate(parts[self.user]), np.concatenate(parts[self.bot])

    @staticmethod
    def _take(parts: dict[Lane, list[Samples]], until: int) -> None:
        for side, pieces in parts.items():
            if until > side.taken:
                size = until - side.taken
                got = side.take(until)
                pieces.append(np.zeros(size, dtype=np.int16) if got is None else got)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("drift", [-200e-6, 0.0, 200e-6])
def test_V50_V58_both_sides_stay_within_20_ms_over_ten_minutes(seed: int, drift: float) -> None:
    rng = random.Random(seed)
    call = Call()
    clicks = [3.0 + 7.3 * n for n in range(80)]
    call.stream(call.user, 0.0, 600.0, clicks, speed=1 + drift, jitter=0.060, rng=rng)
    for n in range(40):  # the bot speaks 6 of every 15 seconds, on a click's beat or not
        begin = 15.0 * n + rng.uniform(0, 1)
        call.stream(call.bot, begin, begin + 6, clicks, jitter=0.008, rng=rng)
    user, bot = call.play()
    ours = clicks_of(user)
    assert len(ours) == len(clicks)
    shared = clicks_of(bot)
    assert len(shared) > 20
    apart = [min(abs(at - other) for other in ours) / RATE for at in shared]
    assert max(apart) <= 0.020, max(apart)
    assert len(user) / RATE == pytest.approx(600, abs=0.5)


def test_nothing_is_cut_and_order_is_kept() -> None:
    call = Call()
    call.stream(call.user, 0.0, 20.0, [], jitter=0.1, noise=9, speed=1.0003)
    call.stream(call.bot, 2.0, 9.0, [], noise=7)
    user, bot = call.play()
    assert np.count_nonzero(user == 9) == sum(
        len(s) for _, lane, s in call.arrivals if lane is call.user
    )
    assert np.count_nonzero(bot == 7) == 7 * RATE
    assert len(user) == len(bot)


def test_a_stall_that_catches_up_leaves_no_gap() -> None:
    call = Call()
    call.stream(call.user, 0.0, 10.0, [2.0, 8.0], noise=9, stalls=[(4.0, 4.15)])
    user, _ = call.play()
    assert np.all(user != 0)


def test_a_long_stall_is_in_step_again_once_it_is_over() -> None:
    call = Call()
    call.stream(call.user, 0.0, 20.0, [2.0, 12.0], stalls=[(4.0, 6.0)])
    call.stream(call.bot, 1.0, 3.0, [2.0])
    call.stream(call.bot, 11.0, 13.0, [12.0])
    user, bot = call.play()
    apart = [abs(a - b) / RATE for a, b in zip(clicks_of(user), clicks_of(bot), strict=True)]
    assert max(apart) <= 0.020


def test_a_pause_of_the_user_is_silence_where_it_was() -> None:
    call = Call()
    call.stream(call.user, 0.0, 2.0, [], noise=9, jitter=0.03)
    call.stream(call.user, 5.0, 7.0, [6.0], noise=9, jitter=0.03)
    call.stream(call.bot, 0.0, 7.0, [6.0])
    user, bot = call.play()
    silent = np.flatnonzero(user[RATE:] == 0)
    assert abs(len(silent) / RATE - 3.0) < 0.04
    assert silent[-1] - silent[0] < 3.1 * RATE, "in one stretch"
    assert abs(clicks_of(user)[0] - clicks_of(bot)[0]) <= 0.020 * RATE


def test_lost_frames_become_silence_within_seconds() -> None:
    call = Call()
    call.stream(call.user, 0.0, 20.0, [18.0], lost=[(3.0, 3.04), (5.0, 5.5), (8.0, 8.02)])
    call.stream(call.bot, 0.0, 20.0, [18.0])
    user, bot = call.play()
    assert abs(clicks_of(user)[0] - clicks_of(bot)[0]) <= 0.020 * RATE
    assert len(user) == pytest.approx(20 * RATE, abs=0.05 * RATE)


def test_silence_waits_for_a_quiet_place_but_not_for_ever() -> None:
    call = Call()
    call.stream(call.user, 0.0, 12.0, [], noise=900, lost=[(3.0, 3.04)])
    user, _ = call.play()
    gap = np.flatnonzero(user == 0)
    assert len(gap) == pytest.approx(0.04 * RATE, abs=10)
    assert 7.0 * RATE <= gap[0] < 9.0 * RATE


def test_sound_that_comes_at_once_is_a_line_of_its_own() -> None:
    call = Call()
    for lane in (call.user, call.bot) * 50:
        call.arrivals.append((0.0, lane, np.full(FRAME, 5, dtype=np.int16)))
    user, bot = call.play()
    assert len(user) == len(bot) == 50 * FRAME
    assert np.all(user == 5)
    assert np.all(bot == 5)


def test_bot_speech_ahead_of_time_is_kept_until_it_is_cut() -> None:
    line = TimeLine(0.0, RATE)
    bot = Lane(line, leads=False)
    for _ in range(100):
        bot.put(np.ones(FRAME, dtype=np.int16), 0.0)
    assert bot.pending == 100 * FRAME
    bot.cut(0.5)
    assert (bot.end, bot.pending) == (RATE // 2, RATE // 2)
    bot.cut(0.6)
    assert bot.end == RATE // 2
    bot.put(np.ones(FRAME, dtype=np.int16), 1.0)
    assert bot.stretches(10**9)[-1] == (RATE, RATE + FRAME)
    got = bot.take(RATE + FRAME // 2)
    assert got is not None
    assert np.count_nonzero(got) == RATE // 2 + FRAME // 2
    assert bot.pending == FRAME // 2
    assert bot.first == RATE + FRAME // 2


def test_what_begins_at_one_moment_begins_together() -> None:
    line = TimeLine(0.0, RATE)
    user, bot = Lane(line, leads=True), Lane(line, leads=False)
    user.put(np.ones(FRAME, dtype=np.int16), 0.0)
    bot.put(np.ones(FRAME, dtype=np.int16), 0.004)
    assert user.end == bot.end == FRAME
