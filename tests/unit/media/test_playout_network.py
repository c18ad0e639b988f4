"""`Playout` behind a simulated network, in virtual time: depth, delay, drift, gaps, counters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from salon.media import Samples
from salon.media.playout import Playout

from .network_traces import (
    Arrival,
    Heard,
    Relay,
    ScriptedDecoder,
    delays,
    depths,
    gamma_jitter,
    jitter_p95_ms,
    listen,
    renumbered,
    schedule,
    silence,
    uniform_jitter,
)

LAN = uniform_jitter(0.002)
FRAME = 20.0
BASE = 50.0
"""Of `Relay`, in ms: what a perfect receiver would hear the fastest packet after."""


def heard_by(
    arrivals: list[Arrival],
    decoder: ScriptedDecoder | None = None,
    *,
    lateness: Callable[[int], float] | None = None,
    skipped: Callable[[int], bool] | None = None,
    phase: float = 0.007,
) -> tuple[Playout, list[Heard]]:
    playout = Playout(decoder or ScriptedDecoder())
    return playout, listen(playout, arrivals, lateness=lateness, skipped=skipped, phase=phase)


def made_up(playout: Playout) -> float:
    """By how many ms more was heard than came."""
    figures = playout.statistics()
    return figures.stretched_ms - figures.accelerated_ms + figures.concealed_ms


@pytest.mark.parametrize("phase", [0.0, 0.003, 0.006, 0.009, 0.0115, 0.0135, 0.016, 0.019])
def test_a_lan_costs_about_one_frame_whatever_the_phase(phase: float) -> None:
    playout, heard = heard_by(Relay(jitter=LAN).relay(schedule(20)), phase=phase)
    assert delays(heard, 5).max() <= BASE + FRAME + 5
    assert depths(heard, 5).max() <= FRAME + 5
    figures = playout.statistics()
    assert (figures.lost, figures.late, figures.concealed_ms) == (0, 0, 0)
    assert figures.jitter_p95_ms < 4


def test_a_lan_costs_less_than_20_ms_on_average() -> None:
    means = [
        delays(heard_by(Relay(jitter=LAN).relay(schedule(10)), phase=phase)[1], 3).mean()
        for phase in np.arange(0, 0.02, 0.002)
    ]
    assert np.mean(means) - BASE < 16


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    "jitter",
    [gamma_jitter(0.06), gamma_jitter(0.06, shape=1.0), uniform_jitter(0.063), gamma_jitter(0.12)],
    ids=["gamma-60", "exponential-60", "uniform-60", "gamma-120"],
)
@pytest.mark.parametrize("packet_ms", [10, 20, 40, 60])
def test_depth_follows_p95_jitter(
    jitter: Callable[[np.random.Generator, int], np.ndarray], ordered: bool, packet_ms: int
) -> None:
    relay = Relay(jitter=jitter, ordered=ordered)
    arrivals = relay.relay(schedule(60, packet_ms=packet_ms))
    true = jitter_p95_ms(arrivals)
    playout, heard = heard_by(arrivals)
    depth = depths(heard, 10)
    spoken = delays(heard, 10)
    assert abs(depth.mean() - true) <= FRAME
    assert abs(spoken.mean() - BASE - true) <= 2 * FRAME
    assert abs(playout.statistics().jitter_p95_ms - true) <= max(FRAME, 0.25 * true)
    assert spoken.max() < BASE + 400
    # Lateness up to p95 is no loss, and beyond it mostly isn't, either.
    assert playout.statistics().concealed_ms < 0.06 * 60_000


@pytest.mark.parametrize("loss", [0.05, 0.15])
@pytest.mark.parametrize("burst", [1.0, 4.0])
@pytest.mark.parametrize("packet_ms", [10, 20, 60])
def test_V26_every_loss_is_counted_once(loss: float, burst: float, packet_ms: int) -> None:
    relay = Relay(jitter=LAN, loss=loss, burst=burst)
    sent = schedule(60, packet_ms=packet_ms)
    arrivals = relay.relay(sent)
    first, last = arrivals[0].packet.media, arrivals[-1].packet.media
    between = sum(first < media < last for media in relay.lost)
    playout, heard = heard_by([*arrivals])
    figures = playout.statistics()
    assert figures.lost == pytest.approx(between, abs=2)  # the last may still wait
    assert (figures.late, figures.discarded, figures.resyncs, figures.duplicates) == (0, 0, 0, 0)
    assert figures.received == pytest.approx(len(arrivals), abs=2)
    assert delays(heard, 5).max() <= BASE + FRAME + 6
    # V29: what is lost is replaced, in full: time neither shrinks nor grows. A gap is filled with
    # sound for 120 ms at most.
    if burst == 1.0 and packet_ms < 60:
        assert figures.concealed_ms == pytest.approx(figures.lost * packet_ms, rel=0.1)
    assert figures.accelerated_ms + figures.stretched_ms < 80


def test_redundancy_restores_what_loss_takes() -> None:
    decoder = ScriptedDecoder(redundant=True)
    relay = Relay(jitter=LAN, loss=0.15)
    arrivals = relay.relay(schedule(60))
    playout, heard = heard_by(arrivals, decoder)
    figures = playout.statistics()
    assert figures.lost + figures.recovered == pytest.approx(len(relay.lost), abs=2)
    assert figures.recovered > 0.75 * len(relay.lost)
    assert delays(heard, 10).max() <= BASE + 2 * FRAME + 5  # one packet more, no more
    # what was restored is the right sound at the right time
    assert delays(heard, 10).std() < 3


def test_redundancy_is_not_waited_for_where_there_is_no_loss() -> None:
    decoder = ScriptedDecoder(redundant=True)
    relay = Relay(jitter=LAN, loss=0.1, outage=None)
    sent = schedule(120)
    half = len(sent) // 2
    arrivals = relay.relay(sent[:half]) + Relay(jitter=LAN).relay(sent[half:])
    _, heard = heard_by(arrivals, decoder)
    assert delays(heard, 50, 60).mean() > BASE + FRAME
    assert delays(heard, 100).max() <= BASE + FRAME + 5


def test_waiting_for_redundancy_can_be_declined() -> None:
    playout = Playout(ScriptedDecoder(redundant=True), await_redundancy=False)
    heard = listen(playout, Relay(jitter=LAN, loss=0.15).relay(schedule(30)))
    assert delays(heard, 5).max() <= BASE + FRAME + 5


def test_duplicates_are_dropped_and_counted() -> None:
    relay = Relay(jitter=LAN, duplicates=0.2)
    arrivals = relay.relay(schedule(30))
    twice = len(arrivals) - len({one.packet.media for one in arrivals})
    playout, heard = heard_by(arrivals)
    figures = playout.statistics()
    assert figures.duplicates == pytest.approx(twice, abs=1)
    assert twice > 200
    assert (figures.late, figures.lost, figures.concealed_ms) == (0, 0, 0)
    assert delays(heard, 5).max() <= BASE + FRAME + 5


def test_V26_reordered_packets_are_not_lost() -> None:
    def every_tenth_late(rng: np.random.Generator, count: int) -> np.ndarray:
        return np.where(np.arange(count) % 10 == 5, 0.05, 0.0) + rng.uniform(0, 0.002, count)

    playout, heard = heard_by(Relay(jitter=every_tenth_late).relay(schedule(60)))
    before = 2.0
    assert delays(heard, 5).mean() - BASE == pytest.approx(60, abs=12)
    assert not any(h.concealed for h in heard if h.time > heard[0].time + before)
    assert playout.statistics().lost <= 3


@pytest.mark.parametrize("ppm", [200, -200])
@pytest.mark.parametrize(
    "jitter",
    [LAN, pytest.param(gamma_jitter(0.06), marks=pytest.mark.slow)],
    ids=["lan", "gamma-60"],
)
def test_clock_drift_of_ten_minutes_leaves_no_trace(
    ppm: int, jitter: Callable[[np.random.Generator, int], np.ndarray]
) -> None:
    arrivals = Relay(jitter=jitter).relay(schedule(600, ppm=ppm))
    playout = Playout(ScriptedDecoder())
    heard = listen(playout, arrivals, sent_at=lambda media: 10.0 + media * (1 + ppm * 1e-6))
    first, last = depths(heard, 5, 65).mean(), depths(heard, 540).mean()
    assert abs(first - last) <= FRAME
    assert abs(delays(heard, 5, 65).mean() - delays(heard, 540).mean()) <= FRAME
    true = jitter_p95_ms(arrivals)
    figures = playout.statistics()
    assert abs(figures.jitter_p95_ms - true) <= FRAME
    assert delays(heard, 5).max() < BASE + true + 150
    if jitter is LAN:  # absorbed by stretching alone, the 120 ms that they are
        assert delays(heard, 5).max() < BASE + 30
        beginning, _ = heard_by(arrivals[:250])
        net = made_up(playout) - made_up(beginning)
        assert net == pytest.approx(ppm * 0.6, abs=45)
        assert figures.concealed_ms <= 80
    assert figures.discarded == 0
    assert figures.resyncs == 0


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "in-one-burst"])
@pytest.mark.parametrize("jitter", [LAN, gamma_jitter(0.03)], ids=["lan", "gamma-30"])
def test_a_gap_of_two_seconds_ends_at_normal_depth(
    lost: bool, jitter: Callable[[np.random.Generator, int], np.ndarray]
) -> None:
    relay = Relay(jitter=jitter, outage=(20.0, 22.0, lost))
    playout, heard = heard_by(relay.relay(schedule(30)))
    before = delays(heard, 5, 10).mean()
    assert delays(heard, 12).max() < BASE + 400 + 2 * FRAME
    assert delays(heard, 13.5, 15).mean() == pytest.approx(before, abs=FRAME)
    figures = playout.statistics()
    if lost:
        assert figures.lost == pytest.approx(100, abs=4)
        assert figures.discarded == 0
    else:
        assert 70 <= figures.discarded <= 90  # all but max_depth
        assert figures.lost <= 4
    assert figures.resyncs == 0
    gone = [h for h in heard if h.samples is None and h.time > 15]
    assert 45 <= len(gone) <= 52  # nothing after a second
    assert figures.target_ms < 50


def test_a_longer_way_becomes_the_new_base_within_ten_seconds() -> None:
    def detour(rng: np.random.Generator, count: int) -> np.ndarray:
        return np.where(np.arange(count) < 500, 0.0, 0.15) + rng.uniform(0, 0.002, count)

    playout, heard = heard_by(Relay(jitter=detour).relay(schedule(60)))
    assert delays(heard, 40).max() <= BASE + 150 + FRAME + 5
    figures = playout.statistics()
    assert figures.jitter_p95_ms < 5
    assert figures.discarded == figures.resyncs == 0


def test_a_way_longer_than_the_buffer_is_learnt_within_a_second() -> None:
    def detour(rng: np.random.Generator, count: int) -> np.ndarray:
        return np.where(np.arange(count) < 500, 0.0, 0.6) + rng.uniform(0, 0.002, count)

    playout, heard = heard_by(Relay(jitter=detour).relay(schedule(30)))
    assert delays(heard, 13).max() <= BASE + 600 + FRAME + 5
    figures = playout.statistics()
    assert (figures.discarded, figures.resyncs, figures.late) == (0, 0, 0)


def test_depth_rises_at_once_on_a_spike_and_falls_slowly() -> None:
    def storm(rng: np.random.Generator, count: int) -> np.ndarray:
        index = np.arange(count)
        wild = (index >= 500) & (index < 600)
        return np.where(wild, rng.uniform(0, 0.15, count), rng.uniform(0, 0.002, count))

    _, heard = heard_by(Relay(jitter=storm).relay(schedule(60)))
    targets = np.array([h.target for h in heard])
    times = np.array([h.time - heard[0].time for h in heard])
    assert targets[(times > 9) & (times < 10)].max() < 10
    assert targets[(times > 10.5) & (times < 11)].min() > 90
    assert depths(heard, 10.6, 12).mean() > 90
    assert targets[(times > 14) & (times < 15)].min() > 50
    assert targets[times > 40].max() < 10
    assert delays(heard, 40).max() < BASE + FRAME + 5


@pytest.mark.parametrize("packet_ms", [10, 20, 30, 40, 60])
def test_packets_of_any_length_play_gaplessly(packet_ms: int) -> None:
    arrivals = Relay(jitter=LAN).relay(schedule(30, packet_ms=packet_ms))
    playout, heard = heard_by(arrivals)
    assert delays(heard, 5).max() <= BASE + FRAME + 7
    figures = playout.statistics()
    assert (figures.lost, figures.concealed_ms) == (0, 0)
    sound = np.concatenate([h.samples for h in heard if h.samples is not None][100:1200])
    assert np.abs(np.diff(sound)).max() <= 1


@pytest.mark.parametrize("clock_rate", [8_000, 16_000, 48_000])
def test_numbers_wrap(clock_rate: int) -> None:
    sent = schedule(
        30, clock_rate=clock_rate, first_sequence=65_000, first_timestamp=2**32 - 5 * clock_rate
    )
    playout = Playout(ScriptedDecoder(clock_rate))
    heard = listen(playout, Relay(jitter=LAN, loss=0.02).relay(sent))
    figures = playout.statistics()
    assert figures.resyncs == figures.discarded == figures.late == 0
    assert 10 < figures.lost < 60
    assert delays(heard, 5).max() <= BASE + FRAME + 6


def test_V27_a_pause_is_not_loss() -> None:
    def voice(start: int, count: int) -> Samples:
        del start
        return np.resize(np.array([3000, -3000], dtype=np.int16), count)

    pauses = [(3.0, 3.3), (5.0, 7.5), (8.0, 8.06), (9.0, 25.0)]
    for sound in (voice, silence):
        sent = schedule(30, pauses=pauses, sound=sound)
        playout, heard = heard_by(Relay(jitter=gamma_jitter(0.02)).relay(sent))
        figures = playout.statistics()
        assert figures.resyncs == figures.discarded == 0
        assert figures.lost == figures.late
        assert figures.lost < 8
        if sound is silence:
            assert figures.concealed_ms < 200
        assert depths(heard, 27).mean() < 60
        assert sum(h.samples is None for h in heard) == pytest.approx(825, abs=20)


def test_a_talkspurt_begins_at_the_right_depth() -> None:
    """The pause, not a stretch, takes up what the jitter has become in the meantime."""
    pauses = [(5 + 2 * n, 5.6 + 2 * n) for n in range(10)]
    sent = schedule(30, pauses=pauses)
    playout, heard = heard_by(Relay(jitter=uniform_jitter(0.05)).relay(sent))
    assert delays(heard, 5).max() < BASE + 50 + FRAME + 15
    assert delays(heard, 5).min() > BASE + 35
    assert playout.statistics().lost == 0


def test_skipped_and_late_ticks_are_made_up_for() -> None:
    rng = np.random.default_rng(3)
    late = rng.uniform(0, 0.004, 10_000)
    gone = {200, 201, 202, 203, 204, *range(600, 640), *range(800, 860)}
    playout, heard = heard_by(
        Relay(jitter=LAN).relay(schedule(40)),
        lateness=lambda tick: float(late[tick]),
        skipped=gone.__contains__,
    )
    assert delays(heard, 8, 11).max() < BASE + FRAME + 15
    assert delays(heard, 14.5, 15.5).max() < BASE + FRAME + 15
    assert delays(heard, 19).max() < BASE + FRAME + 15
    figures = playout.statistics()
    assert figures.lost == 0
    # 0.8 and 1.2 s without a tick, of which 0.4 s have room
    assert figures.discarded == pytest.approx(60, abs=4)
    assert figures.accelerated_ms > 800


@pytest.mark.parametrize(
    ("sequence", "timestamp"), [(30_000, 2**31), (0, 2**31), (30_000, 0), (5, 16_000 * 60)]
)
def test_a_restarted_sender_is_heard_after_two_packets(sequence: int, timestamp: int) -> None:
    sent = schedule(20)
    half = len(sent) // 2
    again = renumbered(sent[half:], sequence, timestamp)
    decoder = ScriptedDecoder()
    playout, heard = heard_by(Relay(jitter=LAN).relay(sent[:half] + again), decoder)
    figures = playout.statistics()
    assert figures.resyncs == 1
    assert decoder.resets == 1
    assert figures.received >= len(sent) - 2
    assert figures.lost == figures.late == 0
    assert figures.discarded <= 2
    assert delays(heard, 10.5).max() < BASE + FRAME + 15
    silent = [h for h in heard if h.delay is None and h.time > heard[0].time + 1]
    assert len(silent) <= 5


def test_a_foreign_packet_disturbs_nothing() -> None:
    sent = schedule(20)
    strange = renumbered(sent[300:301], 20_000, 2**31) + renumbered(sent[600:601], 0, 2**30)
    mixed = sorted([*sent, *strange], key=lambda one: one.time)
    playout, heard = heard_by(Relay().relay(mixed))
    figures = playout.statistics()
    assert figures.resyncs == figures.lost == figures.late == 0
    assert figures.discarded == 2
    assert figures.concealed_ms == 0
    assert delays(heard, 5).max() < BASE + FRAME + 5
