"""The session by its rules, without a network: O42, O50-O57, O60, O63, O64, O71-O74b."""

from __future__ import annotations

import json

import pytest
from tests.unit.clients.odyssey.core_stage import CHANNEL_BYTES, CoreStage

from salon.clients.odyssey import (
    ConcurrentLimitReachedError,
    ConnectionStatus,
    MonthlyLimitReachedError,
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyStreamError,
    StreamDurationExceededError,
)
from salon.clients.odyssey import actions as act
from salon.clients.odyssey.pending import CallKind
from salon.clients.odyssey.retry import RetrySchedule
from salon.clients.odyssey.session import Route

AUTHENTICATING = ("authenticating", "Connecting to Odyssey...")
TO_SIGNALING = ("connecting", "Connecting to signaling server...")
ATTEMPT = ("connecting", None)
CONNECTED = ("connected", None)


def test_O71_the_status_sequence_with_a_key() -> None:
    stage = CoreStage()
    stage.open()
    stage.ready()
    assert stage.statuses == [AUTHENTICATING, TO_SIGNALING, ATTEMPT, CONNECTED]
    assert [type(one) for one in stage.done[-3:]] == [act.Notify, act.Notify, act.Connected]
    assert [one[0] for one in stage.told[-2:]] == ["status_change", "connected"]


@pytest.mark.parametrize(
    ("route", "first"),
    [
        (Route.CREDENTIALS, ("connecting", "Connecting with pre-minted credentials...")),
        (Route.DIRECT, TO_SIGNALING),
    ],
)
def test_O71_O9_other_routes_do_not_authenticate(route: Route, first: tuple[str, str]) -> None:
    stage = CoreStage()
    stage.begin(route)
    stage.dial()
    assert stage.statuses == [first, ATTEMPT]


def test_O72_a_failure_before_signaling_fails_and_is_told() -> None:
    stage = CoreStage()
    stage.begin()
    error = OdysseyAuthError("Invalid API key", status=401)
    stage.take(stage.core.prepare_failed(error, stage.now))
    assert stage.statuses[-1] == ("failed", "Invalid API key")
    assert stage.told[-1] == ("error", error, True)
    assert stage.done[-1] == act.ConnectFailed(error)
    assert stage.core.deadline() is None


def test_O74a_attempts_at_0_1_3_5_7_and_9_seconds() -> None:
    stage = CoreStage()
    stage.begin()
    stage.dial()
    began, at = stage.now, []
    error = OdysseyConnectionError("refused")
    for _ in range(6):
        at.append(stage.now - began)
        stage.take(stage.core.dial_failed(error, stage.now))
        due = stage.core.deadline()
        stage.wait(0 if due is None else due - stage.now)
    assert at == [0, 1, 3, 5, 7, 9]
    assert stage.statuses[-2:] == [ATTEMPT, ("failed", "refused")]
    assert stage.statuses.count(ATTEMPT) == 6
    assert stage.of(act.ConnectFailed) == [act.ConnectFailed(error)]


def test_O74a_no_retries_means_one_attempt() -> None:
    stage = CoreStage(RetrySchedule(retries=0))
    stage.begin()
    stage.dial()
    stage.take(stage.core.dial_failed(OdysseyConnectionError("refused"), stage.now))
    assert stage.core.status is ConnectionStatus.FAILED


def test_O74a_after_the_socket_is_open_nothing_is_retried() -> None:
    stage = CoreStage()
    stage.open()
    stage.take(stage.core.offer_failed(ValueError("no media"), stage.now))
    assert stage.core.status is ConnectionStatus.CONNECTING
    assert stage.told[-1][0] == "error"
    assert stage.told[-1][2] is False
    stage.wait(29.9)
    assert stage.core.status is ConnectionStatus.CONNECTING
    stage.wait(0.1)
    assert stage.core.status is ConnectionStatus.FAILED
    assert len(stage.of(act.Dial)) == 1


@pytest.mark.parametrize(
    ("video", "channel", "missing"),
    [
        (False, False, "video_track, data_channel"),
        (True, False, "data_channel"),
        (False, True, "video_track"),
    ],
)
def test_O74_what_is_missing_after_30_seconds(video: bool, channel: bool, missing: str) -> None:
    stage = CoreStage()
    stage.open()
    stage.signal(type="offer", sdp="v=0")
    if video:
        stage.take(stage.core.video_announced(stage.now))
    if channel:
        stage.take(stage.core.channel_opened(stage.now))
    stage.wait(30)
    [failed] = stage.of(act.ConnectFailed)
    assert isinstance(failed.error, OdysseyConnectionError)
    assert failed.error.args[0] == f"Connection timed out waiting for: {missing}"


def test_O74b_a_lost_connection_is_not_made_again_unasked() -> None:
    stage = CoreStage().connected()
    stage.take(stage.core.link_changed("failed", stage.now))
    assert stage.core.status is ConnectionStatus.FAILED
    stage.wait(3600)
    assert stage.of(act.Prepare) == []
    assert stage.of(act.Dial) == []


@pytest.mark.parametrize("kind", CallKind)
def test_O60_calls_while_not_connected(kind: CallKind) -> None:
    stage = CoreStage()
    text = f"Cannot {kind.value}: client is disconnected, expected connected"
    with pytest.raises(OdysseyStreamError) as raised:
        stage.core.require_connected(kind)
    assert raised.value.args == (text,)
    stage.begin()
    with pytest.raises(OdysseyStreamError, match="client is authenticating"):
        stage.core.require_connected(kind)
    assert {one.value for one in CallKind} == {"start stream", "interact", "end stream"}


def test_O64_connect_while_there_is_a_connection_or_an_attempt() -> None:
    stage = CoreStage()
    stage.begin()
    with pytest.raises(OdysseyConnectionError, match="Already authenticating"):
        stage.begin()
    stage.dial()
    with pytest.raises(OdysseyConnectionError, match="Already connecting"):
        stage.begin()
    stage.take(stage.core.socket_opened(stage.now))
    stage.ready()
    assert stage.begin() == [act.Connected()]
    stage.take(stage.core.link_changed("failed", stage.now))
    assert isinstance(stage.begin()[-1], act.Prepare)


def test_O63_disconnect_releases_a_waiting_connect_first() -> None:
    stage = CoreStage()
    stage.open()
    stage.done.clear()
    stage.take(stage.core.disconnect(stage.now))
    assert [type(one) for one in stage.done] == [act.ConnectFailed, act.HangUp, act.Notify]
    assert stage.of(act.HangUp) == [act.HangUp(farewell=True)]
    assert stage.statuses == [("disconnected", None)]
    assert stage.core.session_id is None
    assert stage.core.deadline() is None


def test_O63_disconnect_twice_and_unconnected_does_nothing() -> None:
    stage = CoreStage()
    assert stage.core.disconnect(stage.now) == []
    stage.connected()
    assert stage.core.disconnect(stage.now)
    assert stage.core.disconnect(stage.now) == []


def test_O50_a_start_takes_the_channel_if_it_fits() -> None:
    stage = CoreStage().connected()
    stage.start()
    [sent] = stage.done
    assert isinstance(sent, act.SendStream)
    assert json.loads(sent.text)["type"] == "interactive_stream_start"


@pytest.mark.parametrize("why", ["image", "long", "closed", "small limit"])
def test_O50_a_start_takes_the_socket_otherwise(why: str) -> None:
    stage = CoreStage().connected()
    stage.channel = {"closed": None, "small limit": 50}.get(why, CHANNEL_BYTES)
    prompt = "x" * 16_384 if why == "long" else "a dog"
    stage.start(prompt, image="data:image/png;base64,AA==" if why == "image" else None)
    [sent] = stage.done
    assert isinstance(sent, act.SendSignal)
    message = json.loads(sent.text)
    assert message["prompt"] == prompt
    assert message["input_image_base64"] == (
        "data:image/png;base64,AA==" if why == "image" else None
    )


def test_O50_the_longest_start_for_the_channel_has_16_kib() -> None:
    stage = CoreStage().connected()
    stage.start("")
    bare = len(stage.of(act.SendStream)[0].text)
    stage.done.clear()
    stage.start("x" * (16_384 - bare))
    stage.start("x" * (16_385 - bare))
    assert [type(one) for one in stage.done] == [act.SendStream, act.SendSignal]


@pytest.mark.parametrize("bypass", [None, True, False])
def test_O49_the_fields_of_a_start(bypass: bool | None) -> None:
    stage = CoreStage().connected()
    stage.start("a dog", portrait=False, bypass=bypass, broadcast=True)
    message = json.loads(stage.of(act.SendStream)[0].text)
    flag = {} if bypass is None else {"bypass_vlm_expansion": bypass}
    assert message == {
        "type": "interactive_stream_start",
        "prompt": "a dog",
        "portrait": False,
        "input_image_base64": None,
        "broadcast": True,
        **flag,
    }


def test_O51_updates_and_ends_take_the_channel() -> None:
    stage = CoreStage().connected()
    stage.interact("it rains")
    stage.end()
    assert [json.loads(one.text) for one in stage.of(act.SendStream)] == [
        {"type": "update", "prompt": "it rains"},
        {"type": "interactive_stream_end"},
    ]


@pytest.mark.parametrize("call", ["interact", "end"])
def test_O51_without_the_channel_they_fail(call: str) -> None:
    stage = CoreStage().connected()
    stage.channel = None
    with pytest.raises(ConnectionError) as raised:
        getattr(stage, call)()
    assert raised.value.args[0] == "Client to streamer channel not open"
    stage.channel = CHANNEL_BYTES
    assert stage.core.stream.deadline() is None


def test_O51_a_prompt_too_long_for_the_channel_is_refused() -> None:
    stage = CoreStage().connected()
    stage.channel = 100
    with pytest.raises(OdysseyStreamError, match="the streamer takes 100"):
        stage.interact("x" * 100)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"type": "stream_started"}, ("stream_started", "")),
        ({"type": "stream_started", "stream_id": 5}, ("stream_started", "")),
        ({"type": "update_acknowledged"}, ("interact_acknowledged", "")),
        (
            {"type": "interactive_stream_error"},
            ("stream_error", "unknown", "Stream error occurred"),
        ),
        ({"type": "stream_ended"}, ("stream_ended",)),
    ],
)
def test_O52_what_missing_fields_stand_for(
    message: dict[str, object], told: tuple[str, ...]
) -> None:
    stage = CoreStage().connected()
    stage.say(**message)
    assert stage.told == [told]


def test_O53_the_last_applied_prompt() -> None:
    stage = CoreStage()
    seen = [stage.core.last_applied_prompt]
    stage.connected()
    for message in (
        {"type": "stream_started", "stream_id": "a", "applied_prompt": "a big dog"},
        {"type": "update_acknowledged", "prompt": "it barks loudly"},
        {"type": "update_acknowledged", "prompt": ""},
        {"type": "update_acknowledged", "prompt": "it sleeps"},
        {"type": "stream_started", "stream_id": "b"},
        {"type": "update_acknowledged", "prompt": "it wakes"},
    ):
        stage.say(**message)
        seen.append(stage.core.last_applied_prompt)
    stage.take(stage.core.disconnect(stage.now))
    seen.append(stage.core.last_applied_prompt)
    expected = [None, "a big dog", "it barks loudly", None, "it sleeps", None, "it wakes", None]
    assert seen == expected


@pytest.mark.parametrize(
    ("call", "message", "value", "callback"),
    [
        ("start", {"type": "stream_started", "stream_id": "x"}, "x", "stream_started"),
        ("interact", {"type": "update_acknowledged", "prompt": "y"}, "y", "interact_acknowledged"),
        ("end", {"type": "stream_ended"}, None, "stream_ended"),
    ],
)
def test_O54_the_call_is_answered_then_the_callback_runs(
    call: str, message: dict[str, str], value: str | None, callback: str
) -> None:
    stage = CoreStage().connected()
    ticket = getattr(stage, call)()
    made = stage.say(**message)
    assert made[0] == act.Resolve(ticket, value)
    assert isinstance(made[1], act.Notify)
    assert made[1].name == callback


@pytest.mark.parametrize("missing", ["webrtc_url", "spectator_token"])
def test_O55_an_incomplete_broadcast_is_a_stream_error(missing: str) -> None:
    stage = CoreStage().connected()
    full = {"webrtc_url": "http://127.0.0.1/live/a", "spectator_token": "t", "broadcast_url": None}
    stage.say(type="broadcast_ready", **(full | {missing: ""}))
    text = "Broadcast setup incomplete: missing playback URL or token"
    assert stage.told == [("stream_error", "broadcast_error", text)]
    stage.say(type="broadcast_ready", **full)
    [_, (name, info)] = stage.told
    assert name == "broadcast_ready"
    assert (info.hls_url, info.webrtc_url, info.spectator_token) == (
        None,
        "http://127.0.0.1/live/a",
        "t",
    )


@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [
        ("quota_exceeded", MonthlyLimitReachedError, "none left"),
        ("concurrent_limit_exceeded", ConcurrentLimitReachedError, "none left"),
        ("session_timeout", StreamDurationExceededError, "none left"),
        ("lease_denied", OdysseyStreamError, "Stream request denied - please try again"),
        ("gpu_on_fire", OdysseyStreamError, "gpu_on_fire: none left"),
    ],
)
def test_O56_O77_an_error_rejects_start_and_interact_and_no_end(
    reason: str, kind: type[Exception], text: str
) -> None:
    stage = CoreStage().connected()
    start, interact, end = stage.start(), stage.interact(), stage.end()
    made = stage.say(type="interactive_stream_error", reason=reason, message="none left")
    assert set(stage.rejected) == {start, interact}
    assert {type(error) for error in stage.rejected.values()} == {kind}
    assert {error.args[0] for error in stage.rejected.values()} == {text}
    assert made[-1] == act.Notify("stream_error", (reason, "none left"))
    stage.say(type="stream_ended")
    assert stage.resolved == [(end, None)]


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "null", "[" * 100_000])
def test_O57_what_is_no_message_is_told(text: str) -> None:
    stage = CoreStage().connected()
    stage.take(stage.core.stream_message(text, stage.now))
    stage.take(stage.core.socket_message(text, stage.now))
    assert [(one[0], one[2]) for one in stage.told] == [("error", False)] * 2
    assert stage.core.status is ConnectionStatus.CONNECTED


def test_O28_unknown_types_are_ignored() -> None:
    stage = CoreStage().connected()
    for kind in ("news", 5, None, ["offer"], {}):
        stage.say(type=kind)
        stage.signal(type=kind)
    assert stage.done == []
    assert stage.core.ignored == stage.core.stream.ignored == 5


def test_O42_candidates() -> None:
    stage = CoreStage()
    stage.open()
    stage.done.clear()
    early = {"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0"}
    stage.signal(type="ice_candidate", sdpMLineIndex=0, **early)
    assert stage.done == []
    stage.signal(type="offer", sdp="v=0")
    stage.done.clear()
    stage.signal(type="ice_candidate", candidate="", sdpMid="0", sdpMLineIndex=0)
    stage.signal(type="ice_candidate", sdpMid="0")
    assert stage.done == []
    stage.signal(type="ice_candidate", sdpMLineIndex=0, **early)
    stage.signal(type="ice_candidate", candidate="1 1 udp 1 127.0.0.1 9 typ host", sdpMid=None)
    assert stage.done == [
        act.AddCandidate(early["candidate"], "0", 0),
        act.AddCandidate("1 1 udp 1 127.0.0.1 9 typ host", None, None),
    ]
