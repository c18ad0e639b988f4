"""Event frames become models and back (G1-G4, section 6)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.base.errors import RemoteProtocolError
from salon.gateway import EVENT_TYPES, parse_event
from salon.gateway.events import AnswerEvent, EouEvent, Event, HangupEvent, Party, rfc3339

COMMON = {"trackId": "t", "timestamp": 1}
EVENTS: dict[str, dict[str, Any]] = {
    "incoming": {"caller": "a", "callee": "b", "sdp": "", "headers": {"X": "y"}},
    "answer": {"sdp": "", "refer": False},
    "mediaReady": {},
    "reject": {"reason": "busy", "code": 486},
    "ringing": {"earlyMedia": True},
    "hangup": {
        "reason": "caller",
        "startTime": "2026-01-05T08:00:00.000Z",
        "hangupTime": "2026-01-05T08:00:01.000Z",
        "from": {"username": "ann"},
        "extra": {"a": 1},
    },
    "speaking": {"startTime": 5, "confidence": 1.0},
    "silence": {"startTime": 5, "duration": 100},
    "eou": {"completed": True, "complete": True, "text": "x"},
    "inactivity": {},
    "dtmf": {"digit": "#"},
    "hold": {"onHold": True},
    "transferRequest": {"referTo": "sip:x", "referredBy": "y"},
    "message": {"body": "hi", "contentType": "text/plain"},
    "trackStart": {"playId": "p"},
    "trackEnd": {"duration": 10, "ssrc": 7, "playId": "p"},
    "interruption": {"totalDuration": 100, "current": 50, "subtitle": "x", "position": 0},
    "asrDelta": {"index": 0, "startTime": 1, "endTime": 2, "text": "x", "confidence": 0.5},
    "asrFinal": {"index": 0, "text": "", "taskId": "t"},
    "metrics": {"key": "k", "duration": 5, "data": {"a": 1}},
    "error": {"sender": "command", "error": "x", "code": 400},
    "addHistory": {"speaker": "ann", "text": "hi"},
    "functionCall": {"callId": "c", "name": "f", "arguments": "{}"},
    "custom": {"data": [1], "sender": "me"},
    "ringbackState": {"state": "busy_tone", "stateIndex": 1, "confidence": 0.5, "isFinal": True},
    "ping": {"payload": "p"},
    "binary": {"data": [0, 255]},
    "answerMachineDetection": {"startTime": 1, "endTime": 2, "text": "x"},
    "other": {"sender": "s", "extra": {"a": "b"}},
    "interrupt": {"receiver": "r"},
}


def frame(name: str) -> dict[str, Any]:
    fields = EVENT_TYPES[name].model_fields
    common = {
        wire: value
        for (wire, value), field in zip(COMMON.items(), ("track_id", "timestamp"), strict=True)
        if field in fields
    }
    return {"event": name, **common, **EVENTS[name]}


def test_every_event_has_a_frame_here() -> None:
    assert EVENTS.keys() == EVENT_TYPES.keys()


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_G1_an_event_comes_back_as_it_was_sent(name: str) -> None:
    event = parse_event(json.dumps(frame(name)))
    assert type(event) is EVENT_TYPES[name]
    assert event.to_dict() == frame(name)
    assert json.loads(event.to_json()) == frame(name)
    assert parse_event(event.to_dict()) == event


def test_G3_absent_fields_are_left_out() -> None:
    event = AnswerEvent(track_id="t", timestamp=1)
    assert event.to_dict() == {"event": "answer", "trackId": "t", "timestamp": 1, "sdp": ""}


def test_G112_the_ends_of_a_call() -> None:
    event = HangupEvent(
        track_id="t", timestamp=1, start_time="s", hangup_time="h", from_=Party(username="ann")
    )
    assert event.to_dict()["from"] == {"username": "ann"}


def test_G315_eou_has_both_names() -> None:
    event = EouEvent(track_id="t", timestamp=1, completed=False)
    assert event.to_dict()["complete"] is event.to_dict()["completed"] is False


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "{}",
        '{"event": "end"}',
        '{"event": []}',
        '{"event": "answer"}',
        '{"event": "answer", "trackId": "t", "timestamp": "now"}',
        "\ud800",
        {"event": "dtmf", "trackId": "t", "timestamp": 1},
    ],
)
def test_G301_what_is_none_of_ours(data: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_event(data)


@settings(max_examples=60, deadline=None)
@given(st.text() | st.binary())
def test_any_text_is_an_event_or_a_protocol_error(data: str | bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert isinstance(parse_event(data), Event)


def test_G4_instants_are_utc_with_milliseconds() -> None:
    assert rfc3339(0.1204) == "1970-01-01T00:00:00.120Z"
    assert rfc3339(1_767_600_000) == "2026-01-05T08:00:00.000Z"
