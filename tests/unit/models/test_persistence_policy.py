"""Which types of events are stored (R101)."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

import salon
from salon.models import EventType, PersistencePolicy
from salon.models.store_filter import PersistencePolicy as AtRoomKitsPlace

MESSAGE, EDIT = EventType.MESSAGE, EventType.EDIT


@pytest.mark.parametrize(
    ("policy", "stored"),
    [
        (PersistencePolicy(), {MESSAGE, EDIT}),
        (PersistencePolicy(exclude_types={EDIT}), {MESSAGE}),
        (PersistencePolicy(persist_types={EDIT}), {EDIT}),
        (PersistencePolicy(persist_types=set()), set()),
        (PersistencePolicy(persist_types={MESSAGE, EDIT}, exclude_types={EDIT}), {MESSAGE}),
    ],
)
def test_R101_exclusion_wins(policy: PersistencePolicy, stored: set[EventType]) -> None:
    assert {kind for kind in (MESSAGE, EDIT) if policy.should_persist(kind)} == stored


def test_R101_types_may_be_given_by_name_and_unknown_ones_are_refused() -> None:
    policy = PersistencePolicy.model_validate({"exclude_types": ["edit"]})
    assert not policy.should_persist(EDIT)
    with pytest.raises(ValidationError):
        PersistencePolicy.model_validate({"exclude_types": ["no such type"]})


def test_R101_it_is_found_where_roomkit_has_it() -> None:
    assert salon.PersistencePolicy is PersistencePolicy is AtRoomKitsPlace
