"""Models to rows and back. Values from outside must be what JSON can hold; else `ValueError`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from salon.core.ports.calls import CallRecord
from salon.core.ports.store import due_at
from salon.models import (
    ChannelBinding,
    Observation,
    Participant,
    Room,
    RoomEvent,
    RoomTimers,
    Task,
)
from salon.models.identity import Identity

Row = Mapping[Any, Any]

_OBJECT = TypeAdapter(dict[str, Any])
_APART = {"index", "delivery_results"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_json(value: Mapping[str, Any]) -> str:
    """A JSON object as text."""
    return _OBJECT.dump_json(dict(value)).decode()


def from_json(text: str) -> dict[str, Any]:
    """The JSON object in `text`."""
    value: dict[str, Any] = json.loads(text)
    return value


def microseconds(at: datetime | None) -> int | None:
    """Since 1970. A naive instant counts as UTC."""
    if at is None:
        return None
    return (utc(at) - _EPOCH) // _MICROSECOND


def utc(at: datetime) -> datetime:
    """A naive instant counts as UTC. `ValueError` if it is in no year from 1 to 9999 there."""
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{at.isoformat()} is before the year 1 or after 9999 in UTC") from None


def room_row(room: Room) -> dict[str, Any]:
    return {
        "id": room.id,
        "organization_id": room.organization_id,
        "status": str(room.status),
        "created_at": room.created_at,
        "updated_at": room.updated_at,
        "paused_at": room.paused_at,
        "closed_at": room.closed_at,
        "inactive_after_seconds": room.timers.inactive_after_seconds,
        "closed_after_seconds": room.timers.closed_after_seconds,
        "last_activity_at": room.timers.last_activity_at,
        "metadata": to_json(room.metadata),
        "event_count": room.event_count,
        "latest_index": room.latest_index,
        "agent_response_policy": str(room.agent_response_policy),
        "delivered_index": room.delivered_index,
        "revision": room.revision,
        "due_at": microseconds(due_at(room)),
        "pending": room.delivered_index < (-1 if room.latest_index is None else room.latest_index),
    }


def room_from(row: Row) -> Room:
    return Room(
        id=row["id"],
        organization_id=row["organization_id"],
        status=row["status"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        paused_at=row["paused_at"],
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
        revision=row["revision"],
    )


def event_row(event: RoomEvent) -> dict[str, Any]:
    """All but the index, which the transaction assigns (R95)."""
    key = event.idempotency_key
    return changed_event_row(event) | {
        "room_id": event.room_id,
        "id": event.id,
        "idempotency_key": key,
        "idempotency_channel_id": None if key is None else event.source.channel_id,
        "delivery_results": to_json(event.delivery_results),
    }


def changed_event_row(event: RoomEvent) -> dict[str, Any]:
    """What may differ once an event is stored; `set_delivery_results` has its own way."""
    return {
        "type": str(event.type),
        "status": str(event.status),
        "visibility": event.visibility,
        "channel_id": event.source.channel_id,
        "channel_type": str(event.source.channel_type),
        "participant_id": event.source.participant_id,
        "correlation_id": event.correlation_id,
        "parent_event_id": event.parent_event_id,
        "responds_to": event.responds_to,
        "created_at": utc(event.created_at),
        "document": event.model_dump_json(exclude=_APART),
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
        "recipient": binding.recipient,
        "document": binding.model_dump_json(),
    }


def binding_from(row: Row) -> ChannelBinding:
    return ChannelBinding.model_validate_json(row["document"])


def participant_row(participant: Participant) -> dict[str, Any]:
    return {
        "room_id": participant.room_id,
        "id": participant.id,
        "status": str(participant.status),
        "external_id": participant.external_id,
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


def identity_row(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "organization_id": identity.organization_id,
        "document": identity.model_dump_json(),
    }


def identity_from(row: Row) -> Identity:
    return Identity.model_validate_json(row["document"])


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
