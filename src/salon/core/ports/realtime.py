"""What passes through a room without becoming part of it (chapter 22), and who carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, auto
from typing import Any, Final

from salon.base import new_id
from salon.models.base import utc_now

ROOM_TOPIC: Final = "room:"


class EphemeralEventType(StrEnum):
    """What an ephemeral event says (R221). A presence word outside the three is CUSTOM."""

    TYPING_START = auto()
    TYPING_STOP = auto()
    PRESENCE_ONLINE = auto()
    PRESENCE_AWAY = auto()
    PRESENCE_OFFLINE = auto()
    READ_RECEIPT = auto()
    REACTION = auto()
    TOOL_CALL_START = auto()
    TOOL_CALL_DELTA = auto()
    TOOL_CALL_END = auto()
    THINKING_START = auto()
    THINKING_DELTA = auto()
    THINKING_END = auto()
    CUSTOM = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class EphemeralEvent:
    """Never stored, without an index, seen by no hook, and no timer notices it (R220).

    `data` is shared by all who receive the event: read only.
    """

    room_id: str
    type: EphemeralEventType
    user_id: str
    channel_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    timestamp: datetime = field(default_factory=utc_now)

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON values, for backends that leave the process."""
        return {
            "id": self.id,
            "room_id": self.room_id,
            "type": self.type.value,
            "user_id": self.user_id,
            "channel_id": self.channel_id,
            "data": dict(self.data),
            "timestamp": self.timestamp.isoformat(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EphemeralEvent:
        """The event `to_dict` told; raises `ValueError` for anything else."""
        texts = {name: data.get(name) for name in ("id", "room_id", "user_id", "timestamp")}
        for name, value in texts.items():
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} of an ephemeral event must be a string, not {value!r}")
        channel_id, extra = data.get("channel_id"), data.get("data") or {}
        if channel_id is not None and not isinstance(channel_id, str):
            raise ValueError(f"channel_id of an ephemeral event must be a string: {channel_id!r}")
        if not isinstance(extra, Mapping):
            raise ValueError(f"data of an ephemeral event must be a map, not {extra!r}")
        stamp = datetime.fromisoformat(str(texts["timestamp"]))
        if stamp.tzinfo is None:
            raise ValueError(f"timestamp of an ephemeral event must have a time zone: {stamp}")
        return cls(
            id=str(texts["id"]),
            room_id=str(texts["room_id"]),
            type=EphemeralEventType(str(data.get("type"))),
            user_id=str(texts["user_id"]),
            channel_id=channel_id,
            data=dict(extra),
            timestamp=stamp,
        )


EphemeralCallback = Callable[[EphemeralEvent], Awaitable[None]]


def room_topic(room_id: str) -> str:
    """The channel on which a room's ephemeral events travel."""
    return ROOM_TOPIC + room_id


class RealtimeBackend(ABC):
    """Carries ephemeral events to whoever listens at the moment (R219).

    Guarantees: `publish` waits for no callback. A subscriber gets the events of its channel, one
    at a time, in the order in which one publisher published them, from the moment `subscribe`
    returns. What it does not take in time is dropped, oldest first; a slow, failing or hanging
    callback touches no other subscriber (R222). Nothing is kept for those who come later.
    """

    @abstractmethod
    async def publish(self, channel: str, event: EphemeralEvent) -> None:
        """Hand an event to the subscribers of `channel`. After `close` it goes nowhere."""

    @abstractmethod
    async def subscribe(self, channel: str, callback: EphemeralCallback) -> str:
        """Listen; the result is the subscription's id. Callbacks run in a context of their own,
        never inside a room lock (R202). Raises `UnavailableError` after `close`."""

    @abstractmethod
    async def unsubscribe(self, subscription_id: str) -> bool:
        """Stop listening; whether there was such a subscription (R222). No callback starts after
        this; one that runs is cancelled, unless it is the caller."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """End every subscription and free everything; idempotent."""

    async def publish_to_room(self, room_id: str, event: EphemeralEvent) -> None:
        """Publish on the room's own channel."""
        await self.publish(room_topic(room_id), event)

    async def subscribe_to_room(self, room_id: str, callback: EphemeralCallback) -> str:
        """Listen to everything ephemeral of a room."""
        return await self.subscribe(room_topic(room_id), callback)
