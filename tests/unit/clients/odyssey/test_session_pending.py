"""Calls that wait: order, limits, what is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.clients.odyssey.core_stage import CoreStage

from salon.clients.odyssey.errors import OdysseyStreamError
from salon.clients.odyssey.pending import FORGET_S, MAX_WAITING, CallKind, PendingCalls

ACK = "update_acknowledged"


def test_answers_belong_to_the_oldest_call() -> None:
    stage = CoreStage().connected()
    first, second = stage.interact("one"), stage.interact("two")
    stage.say(type=ACK, prompt="rewritten")
    stage.say(type=ACK, prompt="rewritten too")
    stage.say(type=ACK, prompt="nobody asked")
    assert stage.resolved == [(first, "rewritten"), (second, "rewritten too")]
    assert [one[0] for one in stage.told] == ["interact_acknowledged"] * 3


def test_a_late_answer_is_not_taken_for_the_next() -> None:
    stage = CoreStage().connected()
    late = stage.interact("one", timeout=5)
    stage.wait(5)
    assert isinstance(stage.rejected[late], OdysseyStreamError)
    current = stage.interact("two")
    stage.say(type=ACK, prompt="one, rewritten")
    assert stage.resolved == []
    stage.say(type=ACK, prompt="two, rewritten")
    assert stage.resolved == [(current, "two, rewritten")]
    assert stage.core.stream.pending.late == 1


def test_an_answer_that_repeats_the_prompt_skips_what_was_given_up() -> None:
    stage = CoreStage().connected()
    stage.interact("one", timeout=5)
    stage.wait(5)
    current = stage.interact("two")
    stage.say(type=ACK, prompt="two")
    assert stage.resolved == [(current, "two")]
    assert stage.core.stream.pending.deadline() is None


def test_what_was_given_up_is_forgotten_in_the_end() -> None:
    stage = CoreStage().connected()
    ticket = stage.interact("one", timeout=None)
    assert stage.core.stream.deadline() is None
    stage.core.stream.abandon(ticket, stage.now)
    stage.wait(FORGET_S)
    assert stage.rejected == {}
    current = stage.interact("two")
    stage.say(type=ACK, prompt="rewritten")
    assert stage.resolved == [(current, "rewritten")]


@pytest.mark.parametrize("kind", ["start", "interact", "end"])
def test_too_many_calls_are_refused(kind: str) -> None:
    stage = CoreStage().connected()
    for _ in range(MAX_WAITING):
        getattr(stage, kind)()
    with pytest.raises(OdysseyStreamError, match="64 such calls wait already"):
        getattr(stage, kind)()


def test_a_stream_that_is_over_answers_nothing_more() -> None:
    stage = CoreStage().connected()
    calls = {stage.interact(str(number)) for number in range(3)} | {stage.start()}
    end = stage.end()
    stage.say(type="interactive_stream_error", reason="session_timeout", message="150 s")
    assert set(stage.rejected) == calls
    assert stage.core.stream.pending.waiting(CallKind.END) == 1
    stage.say(type="stream_ended")
    assert stage.resolved == [(end, None)]


def test_another_error_answers_the_oldest_only() -> None:
    stage = CoreStage().connected()
    first, second = stage.interact("one"), stage.interact("two")
    stage.say(type="interactive_stream_error", reason="bad_prompt", message="no")
    stage.say(type=ACK, prompt="two")
    assert list(stage.rejected) == [first]
    assert stage.resolved == [(second, "two")]


def test_a_call_that_was_never_sent_keeps_no_place() -> None:
    stage = CoreStage().connected()
    stage.core.stream.withdraw(stage.interact("one"))
    current = stage.interact("two")
    stage.say(type=ACK, prompt="rewritten")
    assert stage.resolved == [(current, "rewritten")]


@given(st.lists(st.sampled_from(["add", "settle", "abandon", "expire"]), max_size=60))
def test_no_call_is_answered_twice_and_the_order_is_kept(steps: list[str]) -> None:
    pending, tickets, answered, now = PendingCalls(), 0, [], 0.0
    given_up: set[int] = set()
    for step in steps:
        now += 1
        if step == "add" and not pending.full(CallKind.START):
            tickets += 1
            pending.add(CallKind.START, tickets, due=now + 3)
        elif step == "settle":
            ticket = pending.settle(CallKind.START)
            if ticket is not None:
                answered.append(ticket)
        elif step == "abandon" and tickets:
            pending.abandon(tickets, now)
            given_up.add(tickets)
        elif step == "expire":
            expired = {ticket for _, ticket in pending.expire(now)}
            assert not expired & (given_up | set(answered))
            given_up |= expired
    assert answered == sorted(set(answered))
    assert not set(answered) & (given_up - set(answered))
    left = {ticket for _, ticket in pending.clear()}
    assert not left & (set(answered) | given_up)
    assert pending.deadline() is None


def test_D2_an_end_that_was_lost_does_not_take_the_answer_of_the_next_stream() -> None:
    stage = CoreStage().connected()
    lost = stage.end(timeout=5)
    stage.wait(5)
    assert isinstance(stage.rejected[lost], OdysseyStreamError)
    stage.start()
    stage.say(type="stream_started", stream_id="second")
    current = stage.end(timeout=5)
    stage.say(type="stream_ended")
    assert current in dict(stage.resolved)
