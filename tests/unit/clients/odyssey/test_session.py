"""The session core beyond its rules: offers that replace, reconnects, links that waver."""

from __future__ import annotations

import pytest
from tests.unit.clients.odyssey.core_stage import CoreStage

from salon.clients.odyssey import actions as act
from salon.clients.odyssey.config import AdvancedConfig
from salon.clients.odyssey.errors import (
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyStreamError,
)
from salon.clients.odyssey.pending import CallKind
from salon.clients.odyssey.retry import RetrySchedule, SessionLimits
from salon.clients.odyssey.session import Phase
from salon.clients.odyssey.types import ConnectionStatus

GONE = OdysseyConnectionError("gone")


@pytest.mark.parametrize(
    ("config", "delays"),
    [
        (AdvancedConfig(), [1, 2, 2, 2, 2, None]),
        (AdvancedConfig(max_retries=0), [None]),
        (AdvancedConfig(max_retries=3, initial_retry_delay_ms=100), [0.1, 0.2, 0.4, None]),
        (AdvancedConfig(max_retries=1, retry_backoff_multiplier=1e300), [1, None]),
        (AdvancedConfig(max_retries=1, initial_retry_delay_ms=-5), [0, None]),
    ],
)
def test_the_retry_schedule(config: AdvancedConfig, delays: list[float | None]) -> None:
    schedule = RetrySchedule.of(config)
    assert [schedule.delay_s(number) for number in range(len(delays))] == delays


def test_a_power_too_large_is_the_longest_delay() -> None:
    assert RetrySchedule(5000, multiplier=10.0).delay_s(4999) == 2.0


def test_a_second_offer_replaces_the_link_and_fails_what_waits() -> None:
    stage = CoreStage().connected()
    ticket = stage.start()
    stage.done.clear()
    made = stage.signal(type="offer", sdp="v=0 again")
    assert isinstance(made[0], act.Reject)
    assert made[0].ticket == ticket
    assert made[1] == act.Negotiate("v=0 again")
    assert stage.core.status is ConnectionStatus.CONNECTED
    stage.take(stage.core.video_announced(stage.now))
    stage.take(stage.core.channel_opened(stage.now))
    stage.wait(60)
    assert stage.core.status is ConnectionStatus.CONNECTED
    assert stage.told == []


def test_a_second_offer_that_leads_nowhere_is_a_loss() -> None:
    stage = CoreStage().connected()
    stage.signal(type="offer", sdp="v=0 again")
    stage.wait(30)
    assert stage.core.status is ConnectionStatus.FAILED
    assert [one[0] for one in stage.told] == ["status_change", "error", "disconnected"]


@pytest.mark.parametrize("end", ["video", "link"])
def test_a_server_that_leaves_in_order_is_not_a_failure(end: str) -> None:
    stage = CoreStage().connected()
    if end == "video":
        stage.take(stage.core.video_ended(stage.now))
    else:
        stage.take(stage.core.link_changed("closed", stage.now))
    stage.wait(0.2)
    stage.take(stage.core.socket_closed(1000, "", stage.now))
    assert stage.statuses == [("disconnected", None)]


@pytest.mark.parametrize("end", ["video", "link"])
def test_without_a_word_it_is_one(end: str) -> None:
    stage = CoreStage().connected()
    if end == "video":
        stage.take(stage.core.video_ended(stage.now))
    else:
        stage.take(stage.core.link_changed("closed", stage.now))
    stage.wait(0.25)
    assert stage.core.status is ConnectionStatus.FAILED
    assert stage.done[0] == act.HangUp(farewell=True)


def test_a_link_that_comes_back_is_no_loss() -> None:
    stage = CoreStage().connected()
    stage.take(stage.core.link_changed("disconnected", stage.now))
    stage.wait(14)
    stage.take(stage.core.link_changed("disconnected", stage.now))
    stage.take(stage.core.link_changed("connected", stage.now))
    stage.wait(60)
    assert stage.core.status is ConnectionStatus.CONNECTED


def test_a_link_that_stays_away_is_lost() -> None:
    stage = CoreStage(limits=SessionLimits(disconnected_s=5)).connected()
    stage.take(stage.core.link_changed("disconnected", stage.now))
    stage.wait(5)
    assert stage.statuses == [("failed", "WebRTC connection lost")]


def test_ice_that_fails_while_connecting_fails_at_once() -> None:
    stage = CoreStage()
    stage.open()
    stage.signal(type="offer", sdp="v=0")
    stage.take(stage.core.link_changed("failed", stage.now))
    assert stage.statuses[-1] == ("failed", "WebRTC connection failed")
    assert len(stage.of(act.ConnectFailed)) == 1


def test_what_comes_after_the_end_is_nothing() -> None:
    stage = CoreStage().connected()
    stage.take(stage.core.disconnect(stage.now))
    stage.done.clear()
    core, now = stage.core, stage.now
    for made in (
        core.prepared("s", now),
        core.prepare_failed(GONE, now),
        core.socket_opened(now),
        core.dial_failed(GONE, now),
        core.socket_message('{"type": "offer", "sdp": "x"}', now),
        core.socket_closed(1006, "", now),
        core.answered("x", now),
        core.offer_failed(GONE, now),
        core.video_announced(now),
        core.channel_opened(now),
        core.video_ended(now),
        core.link_changed("failed", now),
        core.stream_message('{"type": "stream_ended"}', now),
        core.tick(now + 3600),
    ):
        assert made == []
    assert core.phase is Phase.IDLE
    assert core.status is ConnectionStatus.DISCONNECTED


# -- reconnecting ------------------------------------------------------------------------------


def test_a_steady_connection_is_made_again_at_once() -> None:
    stage = CoreStage().connected(reconnect=True)
    ticket = stage.start(timeout=None)
    stage.wait(10)
    stage.done.clear()
    stage.take(stage.core.socket_closed(1006, "", stage.now))
    assert isinstance(stage.done[-1], act.Prepare)
    assert [one[0] for one in stage.told] == ["status_change", "error", "disconnected"]
    assert stage.statuses[0][0] == "reconnecting"
    assert list(stage.rejected) == [ticket]
    with pytest.raises(OdysseyStreamError, match="client is reconnecting"):
        stage.core.require_connected(CallKind.START)
    with pytest.raises(OdysseyConnectionError, match="Already reconnecting"):
        stage.begin()
    stage.dial()
    stage.take(stage.core.socket_opened(stage.now))
    stage.ready()
    assert stage.statuses[1:] == [("connected", None)]
    assert stage.told[-1] == ("connected",)


def test_a_server_that_keeps_dropping_us_is_left_alone_in_the_end() -> None:
    stage = CoreStage(RetrySchedule(retries=3)).connected(reconnect=True)
    pauses = []
    for _ in range(3):
        stage.take(stage.core.socket_closed(1011, "", stage.now))
        assert stage.core.status is ConnectionStatus.RECONNECTING
        due = stage.core.deadline()
        assert due is not None
        pauses.append(due - stage.now)
        stage.wait(due - stage.now)
        stage.dial()
        stage.take(stage.core.socket_opened(stage.now))
        stage.ready()
    assert pauses == [1, 2, 2]
    stage.take(stage.core.socket_closed(1011, "", stage.now))
    assert stage.core.status is ConnectionStatus.FAILED
    assert stage.told.count(("connected",)) == 3
    assert stage.told.count(("disconnected",)) == 4
    assert [one[2] for one in stage.told if one[0] == "error"] == [False, False, False, True]


@pytest.mark.parametrize("where", ["prepare", "dial", "ready"])
def test_every_failure_of_a_reconnect_is_retried(where: str) -> None:
    stage = CoreStage(RetrySchedule(retries=2)).connected(reconnect=True)
    stage.wait(20)
    stage.take(stage.core.link_changed("failed", stage.now))
    stage.done.clear()
    for _ in range(3):
        assert stage.core.phase is Phase.PREPARING
        if where == "prepare":
            stage.take(stage.core.prepare_failed(GONE, stage.now))
        else:
            stage.dial()
            if where == "dial":
                stage.take(stage.core.dial_failed(GONE, stage.now))
            else:
                stage.take(stage.core.socket_opened(stage.now))
                stage.wait(30)
        due = stage.core.deadline()
        stage.wait(0 if due is None else due - stage.now)
    assert stage.core.status is ConnectionStatus.FAILED
    assert [one[2] for one in stage.told if one[0] == "error"] == [False, False, True]
    assert ("disconnected",) not in stage.told


def test_a_refused_key_ends_a_reconnect() -> None:
    stage = CoreStage().connected(reconnect=True)
    stage.wait(20)
    stage.take(stage.core.link_changed("failed", stage.now))
    stage.take(stage.core.prepare_failed(OdysseyAuthError("no"), stage.now))
    assert stage.core.status is ConnectionStatus.FAILED


@pytest.mark.parametrize(
    ("code", "status"),
    [(1000, ConnectionStatus.DISCONNECTED), (1001, ConnectionStatus.RECONNECTING)],
)
def test_a_goodbye_is_kept_but_a_restart_is_not(code: int, status: ConnectionStatus) -> None:
    stage = CoreStage().connected(reconnect=True)
    stage.wait(20)
    stage.take(stage.core.socket_closed(code, "", stage.now))
    assert stage.core.status is status


def test_a_time_that_is_up_is_not_begun_again() -> None:
    stage = CoreStage().connected(reconnect=True)
    stage.wait(20)
    stage.signal(type="error", reason="duration_limit_reached")
    assert stage.core.status is ConnectionStatus.FAILED


def test_disconnect_ends_a_reconnect() -> None:
    stage = CoreStage().connected(reconnect=True)
    stage.take(stage.core.socket_closed(1011, "", stage.now))
    stage.done.clear()
    stage.take(stage.core.disconnect(stage.now))
    assert stage.statuses == [("disconnected", None)]
    assert ("disconnected",) not in stage.told  # that was said at the loss
    assert stage.core.deadline() is None
