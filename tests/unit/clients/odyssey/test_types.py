"""Frames, and reading what the service sent (O99, O102)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from salon.clients.odyssey.errors import InvalidReplyError, MissingFieldError
from salon.clients.odyssey.fields import (
    mapping,
    number_or_none,
    plain,
    rows,
    text,
    text_or_none,
    whole,
    whole_or_none,
)
from salon.clients.odyssey.types import (
    AudioFrame,
    BroadcastInfo,
    ConnectionStatus,
    VideoFrame,
)


def test_O99_a_frame_is_frozen_slotted_and_comparable() -> None:
    data = np.zeros((2, 3, 3), np.uint8)
    frame = VideoFrame(data, 3, 2, 40)
    assert not hasattr(frame, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.width = 5  # type: ignore[misc]
    assert frame == frame
    assert frame != VideoFrame(data, 3, 2, 40)
    assert len({frame, frame}) == 1


def test_O99_sound_knows_its_length() -> None:
    frame = AudioFrame(np.zeros((960, 2), np.int16), 48000, 20)
    assert (frame.channels, frame.duration_ms) == (2, 20.0)


def test_O79_the_token_of_a_broadcast_is_not_in_repr() -> None:
    info = BroadcastInfo(None, "https://h/live/s", "secret")
    assert "secret" not in repr(info)
    assert info.hls_url is None


def test_O71_a_status_is_its_text() -> None:
    assert ConnectionStatus.CONNECTED == "connected"
    assert f"{ConnectionStatus.FAILED}" == "failed"
    assert {each.value for each in ConnectionStatus} == {
        "authenticating",
        "connecting",
        "reconnecting",
        "connected",
        "disconnected",
        "failed",
    }


def test_O89_what_must_be_there_and_is_not() -> None:
    for read in (text, whole, rows):
        with pytest.raises(MissingFieldError, match="'a'") as caught:
            read({}, "a")
        assert caught.value.field == "a"


@pytest.mark.parametrize(
    ("read", "value"),
    [(text, 5), (text, None), (whole, "5"), (whole, True), (whole, 1.5), (rows, {}), (rows, [1])],
)
def test_O89_what_is_of_the_wrong_kind(read: Any, value: Any) -> None:
    with pytest.raises(InvalidReplyError):
        read({"a": value}, "a")


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (text_or_none, "x", "x"),
        (text_or_none, 5, None),
        (whole_or_none, 5, 5),
        (whole_or_none, True, None),
        (whole_or_none, 5.5, None),
        (number_or_none, 5, 5.0),
        (number_or_none, 5.5, 5.5),
        (number_or_none, False, None),
        (number_or_none, "5", None),
    ],
)
def test_O88_optional_fields_of_the_wrong_kind_are_absent(
    read: Any, value: Any, found: Any
) -> None:
    assert read({"a": value}, "a") == found
    assert read({}, "a") is None
    assert read({"a": None}, "a") is None


def test_O88_an_answer_that_is_no_object() -> None:
    with pytest.raises(InvalidReplyError, match="a recording is not an object but list"):
        mapping([], "a recording")


@dataclasses.dataclass
class Declared:
    name: str
    size: int
    note: str | None = None
    length: float | None = None
    tries: int = 3
    parts: list[str] = dataclasses.field(default_factory=list)


def test_O89_fields_are_read_as_they_are_declared() -> None:
    whole_row = {"name": "a", "size": 1, "note": "b", "length": 2, "tries": 0, "parts": ["c"]}
    assert plain(Declared, whole_row | {"unknown": 1}) == {
        "name": "a",
        "size": 1,
        "note": "b",
        "length": 2.0,
        "tries": 0,
    }
    assert plain(Declared, {"name": "", "size": 0}) == {"name": "", "size": 0}
    wrong = {"note": 5, "length": "2", "tries": True}
    assert plain(Declared, {"name": "a", "size": 1} | wrong) == {"name": "a", "size": 1}
    for name in ("name", "size"):
        left = {key: value for key, value in whole_row.items() if key != name}
        with pytest.raises(MissingFieldError, match=name):
            plain(Declared, left)
        with pytest.raises(InvalidReplyError, match=name):
            plain(Declared, left | {name: None})
