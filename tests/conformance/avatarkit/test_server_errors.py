"""Errors, limits, egress and its playout, the server's side (chapters 7, 8 and 11)."""

from __future__ import annotations

import base64
import json

import pytest
from tests.conformance.avatarkit.server_stage import (
    CONNECTION,
    OTHER,
    REQ,
    Peer,
    audio,
    configure,
    interrupt,
    pause,
    pcm,
    resume,
    started,
)

from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.testing.avatar import (
    PLAYBACK_CONTROL,
    PLAYBACK_STATE,
    AnimationFault,
    AvatarSettings,
    Close,
    Drop,
    Fail,
    RuntimeFault,
    Send,
    SendText,
    ending,
    nonsense,
)
from salon.testing.avatar.session import MAX_REQ_ID


def jwt() -> str:
    """A token in the form of one."""
    parts = ({"alg": "HS256"}, {"iss": "key"})
    coded = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts]
    return b".".join([*coded, b"c2ln"]).decode()


def room(**fields: object) -> pb.LiveKitEgressConfig:
    """A complete LiveKit block."""
    options = {"url": "ws://lk", "room_name": "r", "publisher_id": "p", "api_token": jwt()}
    return pb.LiveKitEgressConfig(**(options | fields))  # type: ignore[arg-type]


def refused(settings: AvatarSettings | None = None, **fields: object) -> tuple[int, str]:
    """The code and text of a refused configuration."""
    peer = Peer(settings)
    peer.say(configure(**fields))  # type: ignore[arg-type]
    (error,) = peer.errors()
    assert peer.closed is not None
    assert peer.server.closed
    return error.code, error.message


def livekit(settings: AvatarSettings | None = None, **fields: object) -> tuple[int, str]:
    """The same for a LiveKit block."""
    return refused(settings, egress_type=pb.EGRESS_TYPE_LIVEKIT, livekit_egress=room(**fields))


@pytest.mark.parametrize("code", [4001, 4002, 4003, 4010, 4503])
def test_A62_T10_the_error_comes_before_the_close(code: int) -> None:
    peer = started()
    peer.faults.runtime.append(RuntimeFault(2, ending(code, "over"), times=1))
    peer.say(audio(pcm(0.1)))
    assert peer.errors() == []
    actions = peer.server.receive(audio(pcm(0.1)), 1.0)
    assert [type(one) for one in actions] == [Send, Close]
    peer.take(actions)
    (error,) = peer.errors()
    assert (error.connection_id, error.req_id, error.code) == (CONNECTION, REQ, code)
    assert peer.closed == Close(code, "over")


@pytest.mark.parametrize("code", [3, 13, 14, 16, 4001, 4503])
def test_A64_T10_an_error_and_then_more_frames(code: int) -> None:
    peer = started()
    peer.faults.runtime.append(RuntimeFault(1, (Fail(code, "passing"),)))
    peer.say(audio(pcm(1.0), end=True))
    peer.work()
    assert [one.code for one in peer.errors()] == [code]
    assert len(peer.keyframes()) == 25
    assert peer.closed is None


def test_A62_T10_a_close_alone() -> None:
    peer = started()
    peer.take(peer.server.inject((Close(4001, "credits"),), 1.0))
    assert peer.sent == []
    assert peer.closed == Close(4001, "credits")
    peer.say(audio(pcm(1.0), end=True))
    peer.work()
    assert peer.sent == []


def test_A66_T11_nonsense_in_a_running_session() -> None:
    peer = started()
    actions = peer.server.inject(nonsense(), 1.0)
    kinds = [type(one) for one in actions]
    assert kinds == [Send, SendText, Send, Send]
    peer.say(audio(pcm(0.4), end=True))
    peer.work()
    assert peer.ends() == 1


def test_A66_T11_broken_bytes_and_text_from_a_client_leave_the_session_open() -> None:
    peer = started()
    peer.say(b"\xff\xff\xff")
    peer.take(peer.server.receive_text(0.0))
    peer.say(configure())
    assert [one.code for one in peer.errors()] == [3, 3, 3]
    peer.say(audio(pcm(0.4), end=True))
    peer.work()
    assert peer.ends() == 1


def test_A65_a_dropped_connection() -> None:
    peer = started()
    peer.take(peer.server.inject((Drop(),), 1.0))
    assert peer.dropped
    assert peer.server.wake_at() is None


@pytest.mark.parametrize(
    ("fault", "ends"),
    [(AnimationFault(without_end=True), 0), (AnimationFault(ends=3), 3)],
)
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_A54_wrong_ends_on_purpose(fault: AnimationFault, ends: int, seconds: float) -> None:
    peer = started()
    peer.faults.animation = fault
    peer.say(audio(pcm(seconds), end=True))
    peer.work()
    assert peer.ends() == ends


def test_A60_keyframes_of_another_request_on_purpose() -> None:
    peer = started()
    peer.faults.animation = AnimationFault(req_id="stranger", delay_s=2.0)
    peer.say(audio(pcm(1.0), end=True))
    peer.work(until=1.9)
    assert peer.sent == []
    peer.work()
    assert len(peer.keyframes("stranger")) == 25


def test_A68_idle_and_session_limits() -> None:
    idle = started(AvatarSettings(idle_timeout_s=30.0))
    idle.work(until=20.0)
    idle.say(audio(pcm(0.1), end=True))
    idle.work(until=49.9)
    assert idle.closed is None
    idle.work(until=50.0)
    assert [one.message for one in idle.errors()] == ["no audio input for 30s"]
    assert idle.closed is not None
    long = started(AvatarSettings(max_session_s=600.0))
    long.work(until=599.9)
    assert long.closed is None
    long.work(until=600.0)
    assert [(one.code, one.message) for one in long.errors()] == [
        (4002, "session time limit reached")
    ]
    assert long.closed == Close(4002, "session time limit reached")


def test_A68_limits_are_off_by_default() -> None:
    peer = started()
    peer.work(until=100_000.0)
    assert peer.closed is None


def test_A41_waiting_sound_is_bounded() -> None:
    peer = started(AvatarSettings(max_waiting_bytes=100_000))
    peer.say(audio(bytes(90_000)))
    assert peer.closed is None
    peer.say(audio(bytes(90_000)))
    assert peer.closed is not None
    many = started(AvatarSettings(max_waiting_requests=3))
    for number in range(4):
        many.say(audio(b"", f"r{number}", end=True))
    assert many.closed is not None


def test_A44_an_id_without_end_is_refused_and_not_repeated() -> None:
    peer = started()
    endless = "x" * (MAX_REQ_ID + 1)
    for said in (audio(pcm(0.1), req_id=endless), audio(req_id=endless, end=True)):
        peer.say(said)
        (error,) = peer.errors()
        assert (error.code, error.req_id) == (3, "")
        assert error.message == f"req_id has {MAX_REQ_ID + 1} characters, more than {MAX_REQ_ID}"
        peer.sent.clear()
    peer.say(interrupt(endless))
    assert peer.sent == []
    assert peer.record.requests == {}
    assert peer.closed is None
    peer.say(audio(pcm(0.1), req_id=endless[:MAX_REQ_ID], end=True))
    peer.work()
    assert peer.record.requests[endless[:MAX_REQ_ID]].ended


def test_A44_of_an_endless_trace_a_part_is_kept() -> None:
    peer = started()
    said = pb.ClientAudioInput(req_id=REQ, audio=pcm(0.1))
    said.trace_context.traceparent = "0" * 100_000
    message = pb.Message(type=pb.MESSAGE_CLIENT_AUDIO_INPUT, client_audio_input=said)
    peer.say(message.SerializeToString())
    assert peer.errors() == []
    assert len(peer.record.requests[REQ].traceparent) < 1000


def test_A102_credentials_of_livekit() -> None:
    assert livekit(api_token="") == (3, "missing livekit credentials")
    code, text = livekit(api_token="", api_key="k")
    assert code == 3
    assert "provide api_token or both api_key and api_secret" in text
    key = room(api_token="", api_key="k", api_secret="s")
    started(egress_type=pb.EGRESS_TYPE_LIVEKIT, livekit_egress=key)
    started(egress_type=pb.EGRESS_TYPE_LIVEKIT, livekit_egress=room())


@pytest.mark.parametrize(
    "token", ["t", "a.b.c", "e30.e30.", "W10.W10.c2ln", f"{'W1tb' * 9000}.e30.c2ln"]
)
def test_A102_a_token_that_is_none(token: str) -> None:
    assert livekit(api_token=token) == (
        16,
        "failed to create connection: failed to connect to room: unauthorized: invalid token",
    )


def test_A102_egress_not_built_in() -> None:
    off = AvatarSettings(livekit_egress=False)
    assert livekit(off) == (14, "egress client is not configured on server")


def test_A108_agora_is_not_built_in() -> None:
    channel = pb.AgoraEgressConfig(channel_name="c")
    found = refused(egress_type=pb.EGRESS_TYPE_AGORA, agora_egress=channel)
    assert found == (14, "egress client is not configured on server")


@pytest.mark.parametrize(
    "fields",
    [
        {"egress_type": pb.EGRESS_TYPE_LIVEKIT},
        {"egress_type": pb.EGRESS_TYPE_LIVEKIT, "livekit_egress": room(url="")},
        {"egress_type": pb.EGRESS_TYPE_LIVEKIT, "livekit_egress": room(room_name="")},
        {"egress_type": pb.EGRESS_TYPE_AGORA},
        {"livekit_egress": room(), "agora_egress": pb.AgoraEgressConfig(channel_name="c")},
        {"egress_type": 9},
    ],
)
def test_A80_other_faults_of_egress_are_told_apart(fields: dict[str, object]) -> None:
    code, text = refused(**fields)
    assert code == 3
    assert any(word in text for word in ("livekit", "agora", "egress"))


def egress(capabilities: tuple[str, ...] = (), idle_timeout: int = 0) -> Peer:
    """A session that publishes into a room."""
    settings = AvatarSettings(capabilities=capabilities, pause_timeout_s=20.0)
    peer = Peer(settings)
    block = room(idle_timeout=idle_timeout)
    peer.say(configure(egress_type=pb.EGRESS_TYPE_LIVEKIT, livekit_egress=block))
    confirmed = peer.messages()[0].server_confirm_session
    assert tuple(confirmed.capabilities) == capabilities
    peer.sent.clear()
    return peer


def states(peer: Peer) -> list[tuple[int, int, str]]:
    """The playback states that were sent."""
    kind = pb.MESSAGE_SERVER_PLAYBACK_STATE
    said = [one.server_playback_state for one in peer.messages() if one.type == kind]
    return [(int(one.state), one.played_ms, one.reason) for one in said]


def test_A103_signals_in_place_of_keyframes() -> None:
    peer = egress()
    peer.say(audio(pcm(2.0), end=True))
    peer.work(until=1.9)
    assert [(one.req_id, one.end) for one in peer.answers()] == [(REQ, False)]
    peer.work(until=2.0)
    assert [one.end for one in peer.answers()] == [False, True]
    assert peer.keyframes() == []
    assert states(peer) == []


def test_A103_requests_are_played_one_after_another() -> None:
    peer = egress()
    peer.say(audio(pcm(1.0), REQ, end=True))
    peer.say(audio(pcm(1.0), OTHER, end=True))
    peer.work(until=1.5)
    assert [(one.req_id, one.end) for one in peer.answers()] == [
        (REQ, False),
        (REQ, True),
        (OTHER, False),
    ]
    peer.work()
    assert peer.ends(OTHER) == 1
    assert peer.now == pytest.approx(2.0)


def test_A46_an_empty_request_in_egress_mode() -> None:
    peer = egress()
    peer.say(audio(b"", end=True))
    peer.work()
    assert [one.end for one in peer.answers()] == [True]


def test_A59_an_interrupt_stops_the_playout() -> None:
    peer = egress((PLAYBACK_STATE,))
    peer.say(audio(pcm(5.0), end=True))
    peer.work(until=2.0)
    peer.say(interrupt())
    assert states(peer) == [(1, 0, ""), (4, 2000, "explicit")]
    assert peer.ends() == 1
    peer.work(until=30.0)
    assert peer.ends() == 1


def test_A61_pause_and_resume_are_answered() -> None:
    peer = egress((PLAYBACK_CONTROL, PLAYBACK_STATE))
    peer.say(audio(pcm(5.0), end=True))
    peer.work(until=1.0)
    peer.say(pause())
    peer.work(until=11.0)
    peer.say(resume())
    peer.work()
    assert states(peer) == [(1, 0, ""), (2, 1000, ""), (1, 1000, ""), (3, 5000, "")]
    assert peer.now == pytest.approx(15.0)
    assert peer.ends() == 1


def test_A61_a_pause_that_is_held_too_long() -> None:
    peer = egress((PLAYBACK_CONTROL, PLAYBACK_STATE))
    peer.say(audio(pcm(5.0), end=True))
    peer.work(until=1.0)
    peer.say(pause())
    peer.work()
    assert states(peer)[-1] == (4, 1000, "pause_timeout")
    assert peer.now == pytest.approx(21.0)
    assert peer.ends() == 1


def test_A61_without_the_capability_nothing_is_held() -> None:
    peer = egress((PLAYBACK_STATE,))
    peer.say(audio(pcm(1.0), end=True))
    peer.work(until=0.5)
    peer.say(pause())
    peer.work()
    assert states(peer) == [(1, 0, ""), (3, 1000, "")]


def test_A104_silence_ends_the_egress() -> None:
    peer = egress(idle_timeout=60)
    peer.work(until=59.0)
    assert peer.closed is None
    peer.work(until=60.0)
    assert [one.message for one in peer.errors()] == ["livekit silence timeout"]
    assert peer.closed is not None
