"""Ten minutes of everything at once, in virtual time; each alone is in `test_playout_network`."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media.playout import Playout

from .network_traces import (
    Relay,
    ScriptedDecoder,
    delays,
    depths,
    gamma_jitter,
    jitter_p95_ms,
    listen,
    schedule,
)

FRAME = 20.0
BASE = 50.0
MOST = 400.0
"""Of `Playout.max_depth_ms`."""
OUTAGE = 300.0


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [200, -200])
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "in-one-burst"])
def test_V26_V33_depth_and_delay_hold_for_ten_minutes_of_a_bad_network(
    ppm: int, lost: bool
) -> None:
    """15 % lost in bursts, jitter of 60 ms that reorders, duplicates, drift, 2 s without a packet.

    Depth follows the true p95 within a frame in every minute, delay neither creeps nor passes the
    bound, and every figure adds up.
    """
    relay = Relay(
        loss=0.15,
        burst=3.0,
        duplicates=0.02,
        jitter=gamma_jitter(0.06),
        outage=(10 + OUTAGE, 12 + OUTAGE, lost),
    )
    sent = schedule(600, ppm=ppm)
    arrivals = relay.relay(sent)
    calm = [one for one in arrivals if not OUTAGE - 1 < one.packet.time - 10 < OUTAGE + 3]
    # Drift is no jitter: the true figure is that of ten seconds at a time.
    true = float(np.mean([jitter_p95_ms(calm[n : n + 430]) for n in range(0, 20_000, 430)]))
    playout = Playout(ScriptedDecoder())
    heard = listen(playout, arrivals, sent_at=lambda media: 10.0 + media * (1 + ppm * 1e-6))
    minutes = [(m * 60 + 10, m * 60 + 60) for m in range(10)]
    depth = [depths(heard, *span).mean() for span in minutes]
    delay = [delays(heard, *span).mean() for span in minutes]
    figures = playout.statistics()
    print(f"\np95 {true:.0f}; depth {np.round(depth)}; delay {np.round(delay)}\n{figures}")
    assert all(abs(one - true) <= FRAME for one in depth)
    assert max(delay) - min(delay) <= FRAME
    assert delays(heard, 5).max() < BASE + MOST + 2 * FRAME
    assert delays(heard, OUTAGE + 5, OUTAGE + 10).mean() == pytest.approx(delay[0], abs=FRAME)
    assert figures.resyncs == figures.damaged == 0
    assert figures.received == pytest.approx(len(arrivals), abs=3)
    played = len({one.packet.media for one in arrivals}) - figures.late - figures.discarded
    assert played + figures.lost + figures.discarded == pytest.approx(len(sent), abs=25)
