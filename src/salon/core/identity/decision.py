"""What becomes of a message, given what is known of its sender (the table of chapter 16).

Pure: a resolver's result and a hook's answer in, actions out. Whoever runs them decides when:
`Block` before anything of the message is written, the participant's record under the room lock,
after the status gate (R173).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import Final

from salon.models import IdentificationStatus, InjectedEvent, Participant
from salon.models.identity import Identity, IdentityHookResult, IdentityResult

CHALLENGED: Final = "identity_challenge_sent"


class IdentityHook(StrEnum):
    """The two triggers at which identity hooks are asked, equal to those of `HookTrigger`."""

    ON_IDENTITY_AMBIGUOUS = auto()
    ON_IDENTITY_UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Somebody new: store first."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class UseIdentity:
    """The sender is known: the event's participant becomes the identity's id, its record
    IDENTIFIED; ``identity_resolved`` is emitted."""

    identity: Identity
    resolved_by: str


@dataclass(frozen=True, slots=True)
class KeepPending:
    """The message passes; the sender's record becomes PENDING with these candidates."""

    candidates: tuple[str, ...] = ()
    display_name: str | None = None


@dataclass(frozen=True, slots=True)
class SendChallenge:
    """Put the question to the sender. Into a closed room it is refused like any event (R176)."""

    inject: InjectedEvent


@dataclass(frozen=True, slots=True)
class Block:
    """Hold the message back; nothing of it is written."""

    reason: str


IdentityAction = StoreIdentity | UseIdentity | KeepPending | SendChallenge | Block
Actions = tuple[IdentityAction, ...]

_HOOKS: Final = {
    IdentificationStatus.AMBIGUOUS: IdentityHook.ON_IDENTITY_AMBIGUOUS,
    IdentificationStatus.PENDING: IdentityHook.ON_IDENTITY_AMBIGUOUS,
    IdentificationStatus.UNKNOWN: IdentityHook.ON_IDENTITY_UNKNOWN,
    IdentificationStatus.REJECTED: IdentityHook.ON_IDENTITY_UNKNOWN,
}
_REJECTIONS: Final = {
    IdentityHook.ON_IDENTITY_AMBIGUOUS: "identity_rejected",
    IdentityHook.ON_IDENTITY_UNKNOWN: "unknown_sender",
}


def hook_for(result: IdentityResult) -> IdentityHook | None:
    """Which hooks are asked about a result; None: it speaks for itself."""
    return _HOOKS.get(result.status)


def decide(
    result: IdentityResult, answer: IdentityHookResult | None = None, *, answered_by: str = "hook"
) -> Actions:
    """The actions, in order, for a resolver's result and the answer of its hook, if any.

    No action: the message goes on with the participant id that its channel set.
    """
    hook = hook_for(result)
    if hook is None:
        if result.identity is not None and result.status is IdentificationStatus.IDENTIFIED:
            return (UseIdentity(result.identity, "auto"),)
        return (Block(CHALLENGED),)
    if answer is None:
        return _pending(result, None) if hook is IdentityHook.ON_IDENTITY_AMBIGUOUS else ()
    return _ANSWERS[answer.status](result, answer, hook, answered_by)


def _pending(result: IdentityResult, answer: IdentityHookResult | None) -> Actions:
    candidates, name = result.candidates, None
    if answer is not None:
        name = answer.display_name
        candidates = result.candidates if answer.candidates is None else answer.candidates
    return (KeepPending(tuple(item.id for item in candidates), name),)


_Answer = Callable[[IdentityResult, IdentityHookResult, IdentityHook, str], Actions]


def _resolved(
    result: IdentityResult, answer: IdentityHookResult, hook: IdentityHook, by: str
) -> Actions:
    del result, hook
    if answer.new_identity is not None:
        return (StoreIdentity(answer.new_identity), UseIdentity(answer.new_identity, by))
    assert answer.identity is not None  # the model sees to it
    return (UseIdentity(answer.identity, by),)


def _kept(
    result: IdentityResult, answer: IdentityHookResult, hook: IdentityHook, by: str
) -> Actions:
    del hook, by
    return _pending(result, answer)


def _challenged(
    result: IdentityResult, answer: IdentityHookResult, hook: IdentityHook, by: str
) -> Actions:
    del result, hook, by
    if answer.inject is None:
        return (Block(CHALLENGED),)
    return (SendChallenge(answer.inject), Block(CHALLENGED))


def _rejected(
    result: IdentityResult, answer: IdentityHookResult, hook: IdentityHook, by: str
) -> Actions:
    del result, by
    return (Block(answer.reason or _REJECTIONS[hook]),)


_ANSWERS: Final[dict[IdentificationStatus, _Answer]] = {
    IdentificationStatus.IDENTIFIED: _resolved,
    IdentificationStatus.PENDING: _kept,
    IdentificationStatus.CHALLENGE_SENT: _challenged,
    IdentificationStatus.REJECTED: _rejected,
}


def identified(known: Participant, identity: Identity, *, at: datetime, by: str) -> Participant:
    """The record of a participant whose identity is settled (R44). One settled before, with this
    identity, is returned as it is: a name given since then stays."""
    settled = known.identification is IdentificationStatus.IDENTIFIED
    if settled and known.identity_id == identity.id:
        return known
    return known.model_copy(
        update={
            "identification": IdentificationStatus.IDENTIFIED,
            "identity_id": identity.id,
            "candidates": None,
            "display_name": identity.display_name or known.display_name,
            "resolved_at": at,
            "resolved_by": by,
        }
    )


def kept_pending(known: Participant, action: KeepPending) -> Participant:
    """The record of a participant who may be one of several. One identified meanwhile stays so."""
    if known.identification is IdentificationStatus.IDENTIFIED:
        return known
    return known.model_copy(
        update={
            "identification": IdentificationStatus.PENDING,
            "candidates": list(action.candidates) or None,
            "display_name": known.display_name or action.display_name,
        }
    )
