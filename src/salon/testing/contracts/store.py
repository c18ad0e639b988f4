"""The contract of `ConversationStore`."""

from __future__ import annotations

from salon.testing.contracts.changes import ChangeContract
from salon.testing.contracts.events import CommitContract
from salon.testing.contracts.members import MarkerContract, MemberContract
from salon.testing.contracts.people import PeopleContract
from salon.testing.contracts.rooms import RoomContract
from salon.testing.contracts.search import SearchContract
from salon.testing.contracts.timeline import TimelineContract


class StoreContract(
    RoomContract,
    SearchContract,
    CommitContract,
    ChangeContract,
    TimelineContract,
    MemberContract,
    MarkerContract,
    PeopleContract,
):
    """All of chapter 20. Give it a `store` fixture: a new, open, empty store per test."""
