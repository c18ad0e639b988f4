"""Identities, findings and decisions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from salon.identity import Identity, IdentityHookResult, IdentityResult
from salon.identity.base import Identity as FromBase
from salon.models import IdentificationStatus, InjectedEvent
from salon.testing.contracts.samples import make_event

ANN, BOB = Identity(id="ann"), Identity(id="bob")
INJECT = InjectedEvent(make_event(), ("phone",))


def test_names_are_where_users_look_for_them() -> None:
    assert FromBase is Identity


def test_models_are_frozen() -> None:
    result = IdentityResult(status=IdentificationStatus.AMBIGUOUS, candidates=[ANN, BOB])
    assert result.candidates == (ANN, BOB)
    for model, name in ((ANN, "id"), (result, "status"), (IdentityHookResult.reject(), "reason")):
        with pytest.raises(ValidationError):
            setattr(model, name, "x")


def test_an_identity_survives_json() -> None:
    full = Identity(
        id="ann",
        organization_id="o",
        display_name="Ann",
        email="a@b",
        phone="+1",
        channel_addresses={"sms": ["+1"]},
        external_id="7",
        external_ids={"crm": "7"},
        metadata={"n": 1},
    )
    assert Identity.model_validate_json(full.model_dump_json()) == full


def test_an_identified_result_names_somebody() -> None:
    with pytest.raises(ValidationError, match="needs its identity"):
        IdentityResult(status=IdentificationStatus.IDENTIFIED)


@pytest.mark.parametrize(
    ("made", "status", "fields"),
    [
        (IdentityHookResult.resolved(ANN), "identified", {"identity": ANN}),
        (IdentityHookResult.create(BOB), "identified", {"new_identity": BOB}),
        (IdentityHookResult.pending(), "pending", {}),
        (
            IdentityHookResult.pending("X", [ANN]),
            "pending",
            {"display_name": "X", "candidates": (ANN,)},
        ),
        (IdentityHookResult.pending(candidates=()), "pending", {"candidates": ()}),
        (IdentityHookResult.challenge(), "challenge_sent", {}),
        (
            IdentityHookResult.challenge(inject=INJECT, message="who?", challenge_type="pin"),
            "challenge_sent",
            {"inject": INJECT, "message": "who?", "challenge_type": "pin"},
        ),
        (IdentityHookResult.reject(), "rejected", {}),
        (IdentityHookResult.reject(reason="no"), "rejected", {"reason": "no"}),
    ],
)
def test_what_the_constructors_make(
    made: IdentityHookResult, status: str, fields: dict[str, Any]
) -> None:
    assert made.status == status
    for name in IdentityHookResult.model_fields:
        if name != "status":
            assert getattr(made, name) == fields.get(name)


def test_an_injected_event_is_not_copied() -> None:
    assert IdentityHookResult.challenge(INJECT).inject is INJECT


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "ambiguous"},
        {"status": "unknown"},
        {"status": "identified"},
        {"status": "identified", "identity": ANN, "new_identity": BOB},
    ],
)
def test_a_hook_decides(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IdentityHookResult(**fields)
