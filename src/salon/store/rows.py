"""Models to rows and back. Values from outside must be what JSON can hold; else `ValueError`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from salon.core.ports.calls import CallRecord
from salon.models import (
    ChannelBinding,
    Observation,
    Participant,
    Room,
    RoomEvent,
    RoomTimers,
    Task,
)

Row = RowMapping

_OBJECT = TypeAdapter(dict[str, Any])
_APART = {"index", "delivery_results"}


def to_json(value: Mapping[str, Any]) -> str:
    """A JSON object as text."""
    return _OBJECT.dump_json(dict(value)).decode()


def from_json(text: str) -> dict[str, Any]:
    """The JSON object in `text`."""
    value: dict[str, Any] = json.loads(text)
    return value


def room_row(room: Room) -> dict[str, Any]:
    return {
        "id": room.id,
        "organization_id": room.organization_id,
        "status": str(room.status),
        "created_at": room.created_at,
        "updated_at": room.updated_at,
        "closed_at": room.closed_at,
        "inactive_after_seconds": room.timers.inactive_after_seconds,
        "closed_after_seconds": room.timers.closed_after_seconds,
        "last_activity_at": room.timers.last_activity_at,
        "metadata": to_json(room.metadata),
        "event_count": room.event_count,
        "latest_index": room.latest_index,
        "agent_response_policy": str(room.agent_response_policy),
        "delivered_index": room.delivered_index,
    }


def room_from(row: Row) -> Room:
    return Room(
        id=row["id"],
        organization_id=row["organization_id"],
        status=row["status"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        closed_at=row["closed_at"],
        timers=RoomTimers(
            inactive_after_seconds=row["inactive_after_seconds"],
            closed_after_seconds=row["closed_after_seconds"],
            last_activity_at=row["last_activity_at"],
        ),
        metadata=from_json(row["metadata"]),
        event_count=row["event_count"],
        latest_index=row["latest_index"],
        agent_response_policy=row["agent_response_policy"],
        delivered_index=row["delivered_index"],
    )


def event_row(event: RoomEvent) -> dict[str, Any]:
    """All but the index, which the transaction assigns (R95)."""
    return {
        "room_id": event.room_id,
        "id": event.id,
        "idempotency_key": event.idempotency_key,
        "type": str(event.type),
        "status": str(event.status),
        "visibility": event.visibility,
        "channel_id": event.source.channel_id,
        "channel_type": str(event.source.channel_type),
        "participant_id": event.source.participant_id,
        "correlation_id": event.correlation_id,
        "parent_event_id": event.parent_event_id,
        "created_at": event.created_at,
        "document": event.model_dump_json(exclude=_APART),
        "delivery_results": to_json(event.delivery_results),
    }


def event_from(row: Row) -> RoomEvent:
    head, index, results = row["document"], row["index"], row["delivery_results"]
    # The document is a JSON object: one parse reads it with what is kept apart.
    text = f'{head[:-1]},"index":{index},"delivery_results":{results}}}'
    return RoomEvent.model_validate_json(text)


def binding_row(binding: ChannelBinding) -> dict[str, Any]:
    return {
        "room_id": binding.room_id,
        "channel_id": binding.channel_id,
        "channel_type": str(binding.channel_type),
        "document": binding.model_dump_json(),
    }


def binding_from(row: Row) -> ChannelBinding:
    return ChannelBinding.model_validate_json(row["document"])


def participant_row(participant: Participant) -> dict[str, Any]:
    return {
        "room_id": participant.room_id,
        "id": participant.id,
        "status": str(participant.status),
        "document": participant.model_dump_json(),
    }


def participant_from(row: Row) -> Participant:
    return Participant.model_validate_json(row["document"])


def task_row(task: Task) -> dict[str, Any]:
    return {
        "room_id": task.room_id,
        "id": task.id,
        "status": str(task.status),
        "document": task.model_dump_json(),
    }


def task_from(row: Row) -> Task:
    return Task.model_validate_json(row["document"])


def observation_row(observation: Observation) -> dict[str, Any]:
    return {
        "room_id": observation.room_id,
        "id": observation.id,
        "document": observation.model_dump_json(),
    }


def observation_from(row: Row) -> Observation:
    return Observation.model_validate_json(row["document"])


def call_row(record: CallRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "handler": record.handler,
        "room_id": record.room_id,
        "participant_id": record.participant_id,
        "state": record.state,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "reason": record.reason,
    }


def call_from(row: Row) -> CallRecord:
    return CallRecord(
        id=row["id"],
        handler=row["handler"],
        started_at=row["started_at"],
        room_id=row["room_id"],
        participant_id=row["participant_id"],
        state=row["state"],
        ended_at=row["ended_at"],
        reason=row["reason"],
    )
