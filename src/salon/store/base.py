"""The contract of stores, where RoomKit has it."""

from __future__ import annotations

from salon.core.ports.store import ConversationStore

__all__ = ["ConversationStore"]
