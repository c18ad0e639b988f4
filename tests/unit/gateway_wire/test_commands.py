"""Command frames become models and back (G1-G5, G30, G31, section 4)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.gateway import COMMAND_TYPES, Command, CommandError, HangupReason, parse_command
from salon.gateway.commands import (
    AddIceCandidateCommand,
    CandidateCommand,
    CustomCommand,
    HangupCommand,
    InviteCommand,
    MessageCommand,
    PlayCommand,
    RejectCommand,
    TtsCommand,
    initiator_of,
    normalize_reason,
)

FRAMES: dict[str, dict[str, Any]] = {
    "invite": {"option": {"codec": "pcmu", "vad": {"speechPadding": 300}}},
    "accept": {"option": {}},
    "reject": {"reason": "busy", "code": 486},
    "ringing": {"recorder": {"recorderFile": "a.wav"}, "earlyMedia": True, "ringtone": "ring.wav"},
    "hangup": {"reason": "done", "initiator": "caller", "headers": {"X-A": "b"}, "refer": False},
    "tts": {
        "text": "hello",
        "speaker": "anna",
        "playId": "p",
        "autoHangup": True,
        "streaming": True,
        "endOfStream": True,
        "option": {"speed": 1.5},
        "waitInputTimeout": 3000,
        "base64": False,
        "cacheKey": "k",
    },
    "play": {"url": "a.wav", "playId": "p", "autoHangup": True, "offsetMs": 20},
    "interrupt": {"graceful": True, "fadeOutMs": 200},
    "pause": {},
    "resume": {},
    "refer": {"caller": "", "callee": "sip:x@y", "options": {"timeout": 10}},
    "message": {"body": "hi", "contentType": "text/plain"},
    "bridge": {"targetSessionId": "other"},
    "unbridge": {"targetSessionId": "other"},
    "mute": {"trackId": "t"},
    "unmute": {},
    "history": {"speaker": "ann", "text": "hi"},
    "custom": {"data": {"a": [1, None]}, "sender": "me"},
    "addIceCandidate": {"candidate": "c", "sdpMid": "0", "sdpMLineIndex": 0},
    "candidate": {"candidates": ["a", {"candidate": "b", "sdpMid": "0"}]},
    "chat": {"text": "hello", "playId": "p"},
}


def test_every_command_has_a_frame_here() -> None:
    assert FRAMES.keys() == COMMAND_TYPES.keys()


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_G1_a_command_comes_back_as_it_was_sent(name: str) -> None:
    frame = {"command": name, **FRAMES[name]}
    command = parse_command(json.dumps(frame))
    assert type(command) is COMMAND_TYPES[name]
    assert json.loads(command.to_json()) == frame
    assert parse_command(command.to_json().encode()) == command


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_G2_unknown_keys_are_ignored_and_null_is_absent(name: str) -> None:
    model = COMMAND_TYPES[name]
    optional = [
        field.serialization_alias or key
        for key, field in model.model_fields.items()
        if not field.is_required() and key != "command"
    ]
    frame = {"command": name, **FRAMES[name]}
    for key in optional:
        frame.pop(key, None)
    plain = parse_command(frame)
    odd = parse_command({**frame, "unheardOf": {"x": 1}} | dict.fromkeys(optional))
    assert odd == plain


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_G31_a_missing_required_field_is_named(name: str) -> None:
    for key, field in COMMAND_TYPES[name].model_fields.items():
        if not field.is_required():
            continue
        wire = field.serialization_alias or key
        frame = {"command": name, **FRAMES[name]}
        del frame[wire]
        with pytest.raises(CommandError, match=name) as caught:
            parse_command(frame)
        assert caught.value.status == 422


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        ("", 400),
        ("{", 400),
        ("null", 400),
        ("[{}]", 400),
        ('"hangup"', 400),
        ("{}", 400),
        ('{"command": null}', 400),
        ('{"command": 7}', 400),
        ('{"command": "Hangup"}', 400),
        ('{"command": "start"}', 400),
        ('{"command": "play", "url": NaN}', 400),
        ("\ud800", 400),
        ('{"command": "custom", "data": 1e400}', 400),
        ('{"command": "custom", "data": {"a": [-1e400]}}', 400),
        ('{"command": "invite", "option": {"realtime": {"tools": [1e400]}}}', 400),
        ('{"command": "play", "url": 5}', 422),
        ('{"command": "play", "url": "x", "offsetMs": -1}', 422),
        ('{"command": "play", "url": "x", "offsetMs": 1.5}', 422),
        ('{"command": "play", "url": "x", "offsetMs": "1"}', 422),
        ('{"command": "play", "url": "x", "offsetMs": true}', 422),
        ('{"command": "play", "url": "x", "offsetMs": 4294967296}', 422),
        ('{"command": "play", "url": "x", "autoHangup": 1}', 422),
        ('{"command": "hangup", "headers": {"a": 1}}', 422),
        ('{"command": "invite", "option": []}', 422),
        ('{"command": "invite", "option": {"vad": {"silencePadding": null}}}', 422),
    ],
)
def test_G31_what_is_no_command(frame: str, status: int) -> None:
    with pytest.raises(CommandError) as caught:
        parse_command(frame)
    assert caught.value.status == status


def test_G31_values_stay_out_of_messages() -> None:
    with pytest.raises(CommandError) as caught:
        parse_command({"command": "tts", "text": {"secretKey": "hush"}})
    assert "hush" not in str(caught.value)
    assert "text" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_G31_any_text_is_a_command_or_a_command_error(text: str) -> None:
    with suppress(CommandError):
        assert isinstance(parse_command(text), Command)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=5,
    ),
    st.sampled_from(sorted(FRAMES)),
    st.data(),
)
def test_G31_any_value_at_any_field(value: Any, name: str, data: st.DataObject) -> None:
    frame = {"command": name, **FRAMES[name]}
    key = data.draw(st.sampled_from(sorted(frame)))
    with suppress(CommandError):
        assert isinstance(parse_command({**frame, key: value}), Command)


def test_defaults_of_the_table() -> None:
    reject = parse_command({"command": "reject", "reason": "x"})
    assert isinstance(reject, RejectCommand)
    assert reject.code == 603
    message = parse_command({"command": "message", "text": "old name"})
    assert isinstance(message, MessageCommand)
    assert (message.body, message.content_type) == ("old name", "text/plain;charset=utf-8")
    tts = parse_command({"command": "tts", "text": ""})
    assert isinstance(tts, TtsCommand)
    assert not (tts.streaming)
    assert not (tts.end_of_stream)
    assert not (tts.auto_hangup)
    assert not (tts.base64)


def test_G111_a_sound_is_called_by_its_url_unless_it_has_an_id() -> None:
    assert PlayCommand(url="u").identity == "u"
    assert PlayCommand(url="u", play_id="").identity == ""


@pytest.mark.parametrize("key", ["sdpMLineIndex", "sdpMlineIndex"])
def test_G88_both_spellings_of_the_line_index(key: str) -> None:
    command = parse_command({"command": "addIceCandidate", "candidate": "", key: 2})
    assert isinstance(command, AddIceCandidateCommand)
    assert command.sdp_m_line_index == 2


def test_G318_the_older_candidate_command_stands_for_several() -> None:
    command = parse_command({"command": "candidate", **FRAMES["candidate"]})
    assert isinstance(command, CandidateCommand)
    assert [(item.candidate, item.sdp_mid) for item in command.expand()] == [
        ("a", None),
        ("b", "0"),
    ]


def test_custom_data_may_be_null_but_not_absent() -> None:
    command = parse_command('{"command": "custom", "data": null}')
    assert isinstance(command, CustomCommand)
    assert command.data is None
    assert json.loads(command.to_json()) == {"command": "custom", "data": None}


def test_G281_a_bare_offer_is_an_invite_where_it_is_asked_for() -> None:
    frame = {"type": "offer", "sdp": "v=0"}
    command = parse_command(frame, bare_offer=True)
    assert isinstance(command, InviteCommand)
    assert command.option.offer == "v=0"
    with pytest.raises(CommandError):
        parse_command(frame)
    with pytest.raises(CommandError):
        parse_command({"type": "answer", "sdp": "v=0"}, bare_offer=True)


@pytest.mark.parametrize("reason", list(HangupReason))
def test_G54_every_class_is_found_in_any_case(reason: HangupReason) -> None:
    for text in (reason.value, reason.value.lower(), reason.value.upper()):
        assert normalize_reason(text) is reason


@pytest.mark.parametrize(
    ("reason", "initiator", "expected"),
    [
        (None, None, HangupReason.SYSTEM),
        ("x", "caller", HangupReason.CALLER),
        ("x", "callee", HangupReason.CALLEE),
        ("x", "system", HangupReason.AUTOHANGUP),
        ("x", "somebody", "x"),
        ("", None, ""),
    ],
)
def test_G54_the_initiator_overrides(
    reason: str | None, initiator: str | None, expected: str
) -> None:
    assert normalize_reason(reason, initiator) == expected


def test_G112_who_ended_the_call() -> None:
    assert initiator_of(HangupReason.CALLER) == "caller"
    assert initiator_of("callee") == "callee"
    assert initiator_of("anything") == "system"


def test_commands_do_not_change() -> None:
    command = HangupCommand(reason="x")
    with pytest.raises(ValueError, match="frozen"):
        command.reason = "y"  # type: ignore[misc]
