"""The conversation about streams, without a connection."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.base import LocalProtocolError
from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.stream_core import Action, Begin, Change, Finish, Leave, StreamCore, Tell

START = {"type": "interactive_stream_start", "prompt": "a harbour", "portrait": True}
UPDATE = {"type": "update", "prompt": "a storm"}
END = {"type": "interactive_stream_end"}


def core_of(**settings: Any) -> StreamCore:
    numbers = itertools.count(1)
    return StreamCore(StandInSettings(**settings), lambda: f"stream-{next(numbers)}")


def started(core: StreamCore, now: float = 0.0, **fields: Any) -> list[Action]:
    """A start that is shown."""
    actions = core.received({**START, **fields}, now)
    assert isinstance(actions[-1], Begin)
    return [*actions, *core.begun(now)]


def told(actions: list[Action]) -> list[dict[str, Any]]:
    return [action.message for action in actions if isinstance(action, Tell)]


def test_O53_a_start_is_answered_when_it_is_shown() -> None:
    core = core_of()
    (begin,) = core.received(START, 0.0)
    assert isinstance(begin, Begin)
    assert core.running is None
    assert told(core.begun(0.0)) == [
        {"type": "stream_started", "stream_id": "stream-1", "applied_prompt": "a harbour"}
    ]
    assert core.running is begin.stream


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input_image_base64": None, "broadcast": False},
        {"input_image_base64": None, "broadcast": None, "bypass_vlm_expansion": None},
        {"input_image_base64": "", "broadcast": False, "bypass_vlm_expansion": False},
    ],
)
def test_O49_absent_null_and_false_are_the_same(fields: dict[str, Any]) -> None:
    (begin,) = core_of().received({**START, **fields}, 0.0)
    assert isinstance(begin, Begin)
    stream = begin.stream
    assert (stream.image, stream.broadcast, stream.expand) == (None, False, True)


def test_O49_the_first_generation_starts_with_less() -> None:
    (begin,) = core_of().received({"type": "interactive_stream_start"}, 0.0)
    assert isinstance(begin, Begin)
    assert (begin.stream.prompt, begin.stream.portrait) == ("", True)


def test_O58_a_start_ends_what_runs_first() -> None:
    core = core_of()
    first = core.running if started(core) else None
    actions = started(core, portrait=False)
    assert [type(action) for action in actions] == [Finish, Tell, Begin, Tell]
    assert actions[0] == Finish(first)  # type: ignore[arg-type]
    assert [one["type"] for one in told(actions)] == ["stream_ended", "stream_started"]


def test_O58_an_update_changes_what_runs() -> None:
    core = core_of()
    assert told(core.received(UPDATE, 0.0))[0]["reason"] == "no_active_stream"
    started(core)
    change, tell = core.received(UPDATE, 0.0)
    assert isinstance(change, Change)
    assert change.prompt == "a storm"
    assert tell == Tell({"type": "update_acknowledged", "prompt": "a storm"})


def test_O70_a_stream_that_can_not_be_shown() -> None:
    core = core_of()
    core.received(START, 0.0)
    (tell,) = core.refused("invalid_image", "no image")
    assert told([tell]) == [
        {"type": "interactive_stream_error", "reason": "invalid_image", "message": "no image"}
    ]
    assert core.running is None


def test_O56_a_break_ends_the_stream_too() -> None:
    core = core_of()
    started(core)
    actions = core.failed("lease_denied", "no")
    assert isinstance(actions[0], Finish)
    kinds = [one["type"] for one in told(actions)]
    assert kinds == ["interactive_stream_error", "stream_ended"]
    assert told(core.failed("lease_denied", "no")) == told(actions)[:1], "no stream, no end"


def test_O58a_a_stream_lasts_so_long() -> None:
    core = core_of(stream_s=150.0)
    assert core.due() is None
    started(core, now=10.0)
    assert core.due() == 160.0
    assert core.tick(159.9) == []
    actions = core.tick(160.0)
    assert isinstance(actions[-1], Leave)
    assert told(actions)[0]["reason"] == "session_timeout"
    assert core.due() is None


def test_O79_only_a_broadcast_gets_ready() -> None:
    core = core_of()
    started(core)
    assert core.broadcast_ready("url", "token", None) == []
    started(core, broadcast=True)
    assert told(core.broadcast_ready("url", "token", None)) == [
        {
            "type": "broadcast_ready",
            "webrtc_url": "url",
            "spectator_token": "token",
            "broadcast_url": None,
        }
    ]


def test_nobody_is_told_when_nobody_is_there() -> None:
    core = core_of()
    started(core)
    (finish,) = core.gone()
    assert isinstance(finish, Finish)
    assert core.gone() == []


def test_starts_are_settled_one_by_one() -> None:
    core = core_of()
    core.received(START, 0.0)
    with pytest.raises(LocalProtocolError):
        core.received(END, 0.0)
    core.begun(0.0)
    with pytest.raises(LocalProtocolError):
        core.begun(0.0)


STARTS = st.fixed_dictionaries(
    {"type": st.just("interactive_stream_start")},
    optional={
        "prompt": st.text(max_size=12) | st.integers() | st.none(),
        "portrait": st.booleans() | st.text(max_size=3),
        "input_image_base64": st.none() | st.text(max_size=3) | st.integers(),
        "broadcast": st.booleans() | st.none(),
    },
)
UPDATES = st.fixed_dictionaries(
    {"type": st.just("update")}, optional={"prompt": st.text(max_size=12) | st.integers()}
)
ENDS = st.just(END)


@settings(deadline=None)
@given(st.lists(st.tuples(STARTS | UPDATES | ENDS, st.booleans()), max_size=12))
def test_checklist_5_each_message_gets_exactly_one_answer(
    messages: list[tuple[dict[str, Any], bool]],
) -> None:
    core = core_of(prompt_chars=10)
    running = 0
    for message, can in messages:
        ran = core.running is not None
        actions = core.received_text(json.dumps(message), 0.0)
        if actions and isinstance(actions[-1], Begin):
            actions += core.begun(0.0) if can else core.refused("invalid_image", "no")
        kinds = [one["type"] for one in told(actions)]
        replaced = message["type"] == START["type"] and ran and kinds[:1] == ["stream_ended"]
        answers = kinds[1:] if replaced else kinds
        expected = {
            "interactive_stream_start": "stream_started",
            "update": "update_acknowledged",
            "interactive_stream_end": "stream_ended",
        }[message["type"]]
        assert len(answers) == 1
        assert answers[0] in (expected, "interactive_stream_error")
        if message["type"] == END["type"]:
            assert answers == ["stream_ended"]
        running += kinds.count("stream_started")
        running -= sum(isinstance(action, Finish) for action in actions)
        assert running == (core.running is not None)


@settings(deadline=None)
@given(st.text() | st.binary())
def test_O57_no_text_breaks_it(text: str | bytes) -> None:
    assert core_of().received_text(text, 0.0) == []
