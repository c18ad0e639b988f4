"""The first words of a call: nothing is cut out of them and nothing put in (V26, V33)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from salon.media import SAMPLE_RATE, Samples
from salon.media.delays import DelayEstimator
from salon.media.playout import Playout, PlayoutStatistics

from .network_traces import (
    Relay,
    ScriptedDecoder,
    depths,
    gamma_jitter,
    listen,
    schedule,
    uniform_jitter,
)
from .signals import speechlike

MS = SAMPLE_RATE // 1000
SECONDS = 3.0
"""In which the buffer may not change its depth within a word."""
PHASES = (0.001, 0.006, 0.011, 0.016)
WORDS: Samples = speechlike(4 * SAMPLE_RATE)
LAN = uniform_jitter(0.002)

Jitter = Callable[[np.random.Generator, int], np.ndarray]
Sound = Callable[[int, int], Samples]


def held_back(rng: np.random.Generator, count: int) -> np.ndarray:
    """A fifth of the packets come after the two that were sent behind them."""
    return np.where(rng.random(count) < 0.2, 0.05, 0.0)


def after(lead_ms: int, words: Samples = WORDS) -> Sound:
    """Silence, then `words`, then silence."""
    whole = np.concatenate([np.zeros(lead_ms * MS, np.int16), words])

    def sound(start: int, count: int) -> Samples:
        piece = whole[start : start + count]
        return np.concatenate([piece, np.zeros(count - len(piece), np.int16)])

    return sound


def received(
    jitter: Jitter, sound: Sound, *, seed: int = 1, phase: float = 0.007, seconds: float = SECONDS
) -> tuple[Samples, PlayoutStatistics]:
    """What is heard until all packets are there."""
    playout = Playout(ScriptedDecoder())
    arrivals = Relay(seed=seed, jitter=jitter).relay(schedule(seconds, sound=sound))
    heard = listen(playout, arrivals, phase=phase, seconds=seconds)
    return np.concatenate([h.samples for h in heard if h.samples is not None]), playout.statistics()


def holds(heard: Samples, piece: Samples) -> bool:
    """Whether `piece` is in it, sample by sample."""
    return piece.tobytes() in heard.tobytes()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("lead_ms", [20, 300, 1000])
def test_V26_words_out_of_order_are_heard_sample_by_sample(lead_ms: int, seed: int) -> None:
    for phase in PHASES:
        heard, figures = received(held_back, after(lead_ms), seed=seed, phase=phase)
        spoken = after(lead_ms)(lead_ms * MS, int((SECONDS - 0.3) * SAMPLE_RATE) - lead_ms * MS)
        assert np.abs(spoken).max() > 5000
        assert holds(heard, spoken)
        assert figures.lost == figures.late == 0


@pytest.mark.parametrize("lead_ms", [20, 300, 500, 1000])
def test_first_words_on_a_good_network_are_not_cut(lead_ms: int) -> None:
    """However needless the depth at the beginning: it goes with the first silence."""
    words = WORDS[: 2 * SAMPLE_RATE - lead_ms * MS]
    for phase in PHASES:
        heard, figures = received(LAN, after(lead_ms, words), phase=phase)
        assert holds(heard, words)
        assert figures.depth_ms < 25
        assert figures.concealed_ms == figures.stretched_ms == 0


def test_a_stop_within_a_word_is_no_silence_to_cut() -> None:
    stop = np.zeros(120 * MS, np.int16)
    loud = WORDS[np.abs(WORDS).argmax() :][: 150 * MS]
    words = np.concatenate([np.concatenate([loud, stop]) for _ in range(8)])
    assert len(words) > 2 * SAMPLE_RATE
    for phase in PHASES:
        assert holds(received(LAN, after(300, words), phase=phase)[0], words[: 2 * SAMPLE_RATE])


def test_depth_falls_within_a_second_of_silence_and_soon_without() -> None:
    for sound, by in ((after(3000), 1.0), (after(0), 3.3)):
        playout = Playout(ScriptedDecoder())
        heard = listen(playout, Relay(jitter=LAN).relay(schedule(4, sound=sound)))
        assert depths(heard, 0.1, 0.5).min() >= 58
        assert depths(heard, by).max() < 25


@pytest.mark.parametrize("p95", [0.02, 0.04])
def test_first_words_through_common_jitter_lose_next_to_nothing(p95: float) -> None:
    figures = [
        received(gamma_jitter(p95), after(300), seed=seed, phase=phase)[1]
        for seed in range(10)
        for phase in PHASES
    ]
    assert np.mean([one.concealed_ms for one in figures]) < 10
    assert np.mean([one.lost for one in figures]) < 0.3


def test_few_packets_have_no_95th_percentile() -> None:
    """One late packet of twenty-one is less than 5 %, but nobody knows that of the next."""
    delays = DelayEstimator(most_samples=400 * MS)
    for index in range(140):
        delays.add(50.0 * MS if index == 5 else 0.0, index * 0.02)
        assert delays.low >= (46 if index >= 5 else 55) * MS
    for index in range(140, 300):
        delays.add(0.0, index * 0.02)
    assert delays.target < 5 * MS


def test_one_packet_of_the_first_may_not_deepen_the_buffer_without_bound() -> None:
    delays = DelayEstimator(most_samples=400 * MS)
    for index in range(100):
        delays.add(300.0 * MS if index == 0 else 0.0, index * 0.02)
    assert delays.target < 85 * MS


def test_needless_depth_is_borne_for_a_time_and_never_much_of_it() -> None:
    delays = DelayEstimator(most_samples=400 * MS)
    borne = []
    for index in range(200):
        delays.add(0.0, index * 0.02)
        borne.append([delays.bear(ms * MS) for ms in (20.0, 60.0, 120.0)])
    assert np.sum(borne, axis=0).tolist() == [149, 124, 0]


def test_another_sender_begins_as_deep_as_the_last_one_needed() -> None:
    for late, low, high in ((0.0, 8, 14), (40.0, 38, 44), (200.0, 55, 65)):
        delays = DelayEstimator(most_samples=400 * MS)
        for index in range(500):
            delays.add(late * MS * (index % 2), index * 0.02)
        delays.clear()
        delays.add(0.0, 20.0)
        assert low * MS <= delays.target <= high * MS
        assert not delays.bear(20.0 * MS), "it is no new network"
