"""What is asked of a person while a tool waits (R167)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from salon.models.base import utc_now
from salon.models.enums import AnyChannelType


class PendingInputStatus(StrEnum):
    """How a request stands. Only ``pending`` ever changes, and once."""

    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"


@dataclass(slots=True)
class PendingInput:
    """A request to a person; its `status` changes in place when it is settled.

    `result` is the answer once it is resolved, `reject_reason` why it was rejected. `actor_id` is
    the participant whose message made the agent ask. Nobody waits here for the answer to a
    `detached` one.
    """

    pending_id: str
    tool_name: str
    arguments: dict[str, Any]
    room_id: str
    tool_call_id: str
    channel_id: str
    status: PendingInputStatus = PendingInputStatus.PENDING
    result: str | None = None
    reject_reason: str | None = None
    detached: bool = False
    created_at: datetime = field(default_factory=utc_now)
    actor_id: str | None = None


@dataclass(frozen=True, slots=True)
class PendingInputEvent:
    """ON_USER_INPUT_REQUIRED: a tool waits for a person. The request can be answered already; a
    block rejects it unless it was."""

    pending_id: str
    tool_name: str
    arguments: dict[str, Any]
    room_id: str
    tool_call_id: str
    channel_id: str
    channel_type: AnyChannelType
    timestamp: datetime = field(default_factory=utc_now)
    actor_id: str | None = None
