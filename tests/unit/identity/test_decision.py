"""Every row of the table of chapter 16."""

from __future__ import annotations

import pytest

from salon.identity import (
    Actions,
    Block,
    Identity,
    IdentityHook,
    IdentityHookResult,
    IdentityResult,
    KeepPending,
    SendChallenge,
    StoreIdentity,
    UseIdentity,
    decide,
    hook_for,
    identified,
    kept_pending,
)
from salon.models import IdentificationStatus as Status
from salon.models import InjectedEvent
from salon.testing.contracts.samples import later, make_event, make_participant

ANN, BOB = Identity(id="ann", display_name="Ann"), Identity(id="bob")
INJECT = InjectedEvent(make_event(words="who is it?"), ("phone",))
CHALLENGED = Block("identity_challenge_sent")

SHARED = IdentityResult(status=Status.AMBIGUOUS, candidates=(ANN, BOB))
OPEN = IdentityResult(status=Status.PENDING, candidates=(ANN,))
UNKNOWN = IdentityResult(status=Status.UNKNOWN)
REFUSED = IdentityResult(status=Status.REJECTED)
BOTH = ("ann", "bob")

ROWS: list[tuple[IdentityResult, IdentityHookResult | None, Actions]] = [
    (IdentityResult(status=Status.IDENTIFIED, identity=ANN), None, (UseIdentity(ANN, "auto"),)),
    (SHARED, IdentityHookResult.resolved(BOB), (UseIdentity(BOB, "pick"),)),
    (SHARED, IdentityHookResult.create(BOB), (StoreIdentity(BOB), UseIdentity(BOB, "pick"))),
    (SHARED, IdentityHookResult.pending(), (KeepPending(BOTH),)),
    (SHARED, IdentityHookResult.pending("X", [BOB]), (KeepPending(("bob",), "X"),)),
    (SHARED, IdentityHookResult.pending(candidates=[]), (KeepPending(()),)),
    (SHARED, None, (KeepPending(BOTH),)),
    (SHARED, IdentityHookResult.challenge(INJECT), (SendChallenge(INJECT), CHALLENGED)),
    (SHARED, IdentityHookResult.challenge(), (CHALLENGED,)),
    (SHARED, IdentityHookResult.reject("spam"), (Block("spam"),)),
    (SHARED, IdentityHookResult.reject(), (Block("identity_rejected"),)),
    (OPEN, IdentityHookResult.resolved(ANN), (UseIdentity(ANN, "pick"),)),
    (OPEN, None, (KeepPending(("ann",)),)),
    (OPEN, IdentityHookResult.reject(), (Block("identity_rejected"),)),
    (UNKNOWN, IdentityHookResult.create(ANN), (StoreIdentity(ANN), UseIdentity(ANN, "pick"))),
    (UNKNOWN, IdentityHookResult.resolved(ANN), (UseIdentity(ANN, "pick"),)),
    (UNKNOWN, IdentityHookResult.pending("X"), (KeepPending((), "X"),)),
    (UNKNOWN, IdentityHookResult.challenge(INJECT), (SendChallenge(INJECT), CHALLENGED)),
    (UNKNOWN, IdentityHookResult.reject(), (Block("unknown_sender"),)),
    (UNKNOWN, IdentityHookResult.reject("spam"), (Block("spam"),)),
    (UNKNOWN, None, ()),
    (REFUSED, IdentityHookResult.resolved(ANN), (UseIdentity(ANN, "pick"),)),
    (REFUSED, IdentityHookResult.reject(), (Block("unknown_sender"),)),
    (REFUSED, None, ()),
    (IdentityResult(status=Status.CHALLENGE_SENT), None, (CHALLENGED,)),
    (IdentityResult(status=Status.CHALLENGE_SENT, identity=ANN), None, (CHALLENGED,)),
]


@pytest.mark.parametrize(("result", "answer", "actions"), ROWS)
def test_chapter_16_what_becomes_of_a_message(
    result: IdentityResult, answer: IdentityHookResult | None, actions: Actions
) -> None:
    assert decide(result, answer, answered_by="pick") == actions


@pytest.mark.parametrize(
    ("status", "hook"),
    [
        (Status.AMBIGUOUS, IdentityHook.ON_IDENTITY_AMBIGUOUS),
        (Status.PENDING, IdentityHook.ON_IDENTITY_AMBIGUOUS),
        (Status.UNKNOWN, IdentityHook.ON_IDENTITY_UNKNOWN),
        (Status.REJECTED, IdentityHook.ON_IDENTITY_UNKNOWN),
        (Status.CHALLENGE_SENT, None),
        (Status.IDENTIFIED, None),
    ],
)
def test_chapter_16_which_hooks_are_asked(status: Status, hook: IdentityHook | None) -> None:
    identity = ANN if status is Status.IDENTIFIED else None
    assert hook_for(IdentityResult(status=status, identity=identity)) is hook


def test_chapter_16_an_answer_to_what_needs_none_changes_nothing() -> None:
    known = IdentityResult(status=Status.IDENTIFIED, identity=ANN)
    assert decide(known, IdentityHookResult.reject()) == (UseIdentity(ANN, "auto"),)


def test_chapter_16_a_hook_without_a_name_is_still_told_apart() -> None:
    assert decide(SHARED, IdentityHookResult.resolved(ANN)) == (UseIdentity(ANN, "hook"),)


def test_R44_a_settled_record() -> None:
    pending = make_participant(
        "+1", identification=Status.PENDING, candidates=["ann", "bob"], display_name="somebody"
    )
    settled = identified(pending, ANN, at=later(7), by="manual")
    assert settled.identification is Status.IDENTIFIED
    assert (settled.id, settled.identity_id, settled.candidates) == ("+1", "ann", None)
    assert (settled.resolved_at, settled.resolved_by) == (later(7), "manual")
    assert settled.display_name == "Ann"
    assert settled.connected_via == pending.connected_via
    assert pending.identification is Status.PENDING


def test_R44_an_identity_without_a_name_takes_none_away() -> None:
    named = make_participant(display_name="somebody")
    assert identified(named, BOB, at=later(7), by="auto").display_name == "somebody"


def test_R41_a_name_given_later_survives_the_next_message() -> None:
    settled = identified(make_participant(), ANN, at=later(7), by="auto")
    renamed = settled.model_copy(update={"display_name": "Annie"})
    assert identified(renamed, ANN, at=later(8), by="auto") is renamed
    other = identified(renamed, BOB, at=later(9), by="manual")
    assert (other.identity_id, other.resolved_at) == ("bob", later(9))


def test_chapter_16_a_pending_record_lists_its_candidates() -> None:
    kept = kept_pending(make_participant(), KeepPending(BOTH, "X"))
    assert kept.identification is Status.PENDING
    assert (kept.candidates, kept.display_name) == (["ann", "bob"], "X")
    again = kept_pending(kept, KeepPending((), "Y"))
    assert (again.candidates, again.display_name) == (None, "X")


def test_R172_who_was_identified_meanwhile_stays_so() -> None:
    settled = identified(make_participant(), ANN, at=later(7), by="manual")
    assert kept_pending(settled, KeepPending(BOTH)) is settled
