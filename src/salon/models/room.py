"""The unit of state, and who is in it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, model_validator

from salon.base import new_id
from salon.models.base import Fact, Record, utc_now
from salon.models.enums import (
    AgentResponsePolicy,
    IdentificationStatus,
    ParticipantRole,
    ParticipantStatus,
    RoomStatus,
)


class RoomTimers(Record):
    """When an idle room is paused and closed (R28, R29)."""

    inactive_after_seconds: int | None = Field(default=None, ge=0)
    closed_after_seconds: int | None = Field(default=None, ge=0)
    last_activity_at: datetime | None = None


class Room(Record):
    """One conversation. It holds no message content; that lives in its events (R5).

    `paused_at` is set while PAUSED. `revision` counts the changes of its bindings and participants,
    and of events already stored; the store moves it, nobody else.
    """

    id: str = Field(default_factory=new_id)
    organization_id: str | None = None
    status: RoomStatus = RoomStatus.ACTIVE
    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)
    paused_at: datetime | None = None
    closed_at: datetime | None = None
    timers: RoomTimers = Field(default_factory=RoomTimers)
    metadata: dict[str, Any] = Field(default_factory=dict)
    event_count: int = Field(default=0, ge=0)
    latest_index: int | None = None
    agent_response_policy: AgentResponsePolicy = AgentResponsePolicy.AGENT_CHAIN
    delivered_index: int = Field(default=-1, ge=-1)
    revision: int = Field(default=0, ge=0)


class Participant(Fact):
    """A person or system identity in a room; one record per room and id (R35).

    `channel_id` is the primary channel, `connected_via` all of them, the primary one first.
    """

    id: str
    room_id: str
    channel_id: str
    display_name: str | None = None
    role: ParticipantRole = ParticipantRole.MEMBER
    status: ParticipantStatus = ParticipantStatus.ACTIVE
    identification: IdentificationStatus = IdentificationStatus.PENDING
    identity_id: str | None = None
    candidates: list[str] | None = None
    connected_via: list[str] = Field(default_factory=list)
    external_id: str | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    joined_at: datetime = Field(default_factory=utc_now)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _primary_is_connected(cls, data: Any) -> Any:
        if isinstance(data, dict) and "channel_id" in data and not data.get("connected_via"):
            return data | {"connected_via": [data["channel_id"]]}
        return data
