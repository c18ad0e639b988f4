"""The contract of `ConversationStore`."""

from __future__ import annotations

from salon.testing.contracts.events import CommitContract, TimelineContract
from salon.testing.contracts.members import MemberContract
from salon.testing.contracts.rooms import RoomContract


class StoreContract(RoomContract, CommitContract, TimelineContract, MemberContract):
    """All of chapter 20. Give it a `store` fixture: a new, open, empty store per test."""
