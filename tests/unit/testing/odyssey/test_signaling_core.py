"""One signaling socket, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.signaling_core import (
    MOST_WAITING,
    Hang,
    Say,
    SignalingCore,
    TakeAnswer,
    TakeCandidate,
    TakeStart,
)

HOST = "candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host"
LOCAL = "candidate:1 1 udp 2130706431 0af4e2e4-1e3d.local 4000 typ host"


def candidate(text: Any, mid: Any = "0", index: Any = 0) -> str:
    return json.dumps(
        {"type": "ice_candidate", "candidate": text, "sdpMid": mid, "sdpMLineIndex": index}
    )


def answer(sdp: str = "v=0\r\n") -> str:
    return json.dumps({"type": "answer", "sdp": sdp})


@pytest.fixture
def core() -> SignalingCore:
    return SignalingCore(StandInSettings(silence_s=40.0), now=0.0)


def test_O37_only_the_first_answer_counts(core: SignalingCore) -> None:
    assert core.received(answer("a"), 1.0) == [TakeAnswer("a")]
    assert core.received(answer("b"), 1.0) == []
    assert core.ignored == 1


def test_O41_names_are_cut_from_an_answer(core: SignalingCore) -> None:
    sdp = f"v=0\r\na={LOCAL} generation 0\r\na={HOST}\r\na=mid:0\r\n"
    assert core.received(answer(sdp), 1.0) == [TakeAnswer(f"v=0\r\na={HOST}\r\na=mid:0\r\n")]
    assert core.unresolvable == 1


def test_O42_candidates_wait_for_the_answer_and_keep_their_order(core: SignalingCore) -> None:
    bare = HOST.removeprefix("candidate:")
    assert core.received(candidate(HOST, "0", 0), 1.0) == []
    assert core.received(candidate(bare, None, None), 1.0) == []
    assert core.received(answer(), 2.0) == [
        TakeAnswer("v=0\r\n"),
        TakeCandidate(bare, "0", 0),
        TakeCandidate(bare, None, None),
    ]
    assert core.received(candidate(f"a={HOST}", "0", 0), 3.0) == [TakeCandidate(bare, "0", 0)]


def test_O42_candidates_before_the_answer_are_bounded(core: SignalingCore) -> None:
    for _ in range(MOST_WAITING + 5):
        core.received(candidate(HOST), 1.0)
    assert len(core.received(answer(), 2.0)) == 1 + MOST_WAITING
    assert core.ignored == 5


@pytest.mark.parametrize("text", ["", " ", None, 7, LOCAL, "candidate:1 1 udp"])
def test_O41_O42_candidates_that_lead_nowhere(core: SignalingCore, text: object) -> None:
    core.received(answer(), 1.0)
    assert core.received(candidate(text), 2.0) == []


def test_O50_a_start_is_handed_on(core: SignalingCore) -> None:
    start = {"type": "interactive_stream_start", "prompt": "x"}
    assert core.received(json.dumps(start), 1.0) == [TakeStart(start)]


def test_O32_a_goodbye_ends_it_and_nothing_comes_after(core: SignalingCore) -> None:
    (hang,) = core.received('{"type": "client_disconnecting"}', 1.0)
    assert isinstance(hang, Hang)
    assert hang.code == 1000
    assert core.left
    assert core.received(answer(), 2.0) == []
    assert core.tick(1000.0) == []


def test_O35_silence_ends_it_and_any_message_breaks_silence(core: SignalingCore) -> None:
    assert core.due() == 40.0
    core.received('{"type": "keepalive"}', 30.0)
    assert core.keepalives == 1
    assert core.tick(69.9) == []
    (hang,) = core.tick(70.0)
    assert isinstance(hang, Hang)
    assert core.tick(71.0) == []


def test_O35_a_connection_without_a_stream_ends_only_when_told_to() -> None:
    never = SignalingCore(StandInSettings(silence_s=1e9), now=0.0)
    assert never.tick(1e6) == []
    core = SignalingCore(StandInSettings(silence_s=1e9, idle_s=40.0), now=0.0)
    core.stream_runs(True, 30.0)
    assert core.tick(100.0) == []
    core.stream_runs(False, 100.0)
    assert core.tick(139.0) == []
    (hang,) = core.tick(140.0)
    assert isinstance(hang, Hang)


def test_O30_O58a_a_connection_lasts_so_long() -> None:
    core = SignalingCore(StandInSettings(connection_s=3600.0, silence_s=1e9), now=10.0)
    assert core.tick(3609.0) == []
    say, hang = core.tick(3610.0)
    assert say == Say({"type": "error", "reason": "duration_limit_reached"})
    assert isinstance(hang, Hang)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KINDS = ["answer", "ice_candidate", "keepalive", "interactive_stream_start", "error"]
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | JSON},
    optional={"sdp": JSON, "candidate": JSON, "sdpMid": JSON, "sdpMLineIndex": JSON},
)


@settings(deadline=None)
@given(st.lists(st.text() | MESSAGES.map(json.dumps), max_size=8))
def test_O28_no_text_breaks_it(texts: list[str]) -> None:
    core = SignalingCore(StandInSettings(), now=0.0)
    answers = 0
    for text in texts:
        for action in core.received(text, 1.0):
            answers += isinstance(action, TakeAnswer)
            if isinstance(action, TakeCandidate):
                assert action.mid is None or isinstance(action.mid, str)
                assert action.index is None or isinstance(action.index, int)
    assert answers <= 1
