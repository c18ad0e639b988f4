"""The ephemeral side of the facade: what people and agents say without a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, new_id
from salon.core.ports.realtime import (
    EphemeralCallback,
    EphemeralEvent,
    EphemeralEventType,
    RealtimeBackend,
)

_PRESENCE: Final = {
    "online": EphemeralEventType.PRESENCE_ONLINE,
    "away": EphemeralEventType.PRESENCE_AWAY,
    "offline": EphemeralEventType.PRESENCE_OFFLINE,
}


Admit = Callable[[str, str | None], Awaitable[None]]
"""``(room_id, organization_id)``; raises for a room that is not the organization's (R267)."""


async def _anywhere(room_id: str, organization_id: str | None) -> None:
    """An `Admit` for those who have one organization."""


class EphemeralEvents:
    """Makes ephemeral events and gives them to a backend. Knows no store, hook or timer (R220);
    `admit` knows whose a room is."""

    def __init__(
        self,
        backend: RealtimeBackend,
        *,
        clock: Clock = SYSTEM_CLOCK,
        id_factory: IdFactory = new_id,
        admit: Admit = _anywhere,
    ) -> None:
        self.backend = backend
        self._clock = clock
        self._new_id = id_factory
        self._admit = admit

    async def publish_typing(
        self,
        room_id: str,
        user_id: str,
        is_typing: bool = True,
        data: Mapping[str, Any] | None = None,
        *,
        channel_id: str | None = None,
        organization_id: str | None = None,
    ) -> None:
        """Somebody began, or stopped, to write."""
        kind = EphemeralEventType.TYPING_START if is_typing else EphemeralEventType.TYPING_STOP
        await self.publish(
            room_id, kind, user_id, data, channel_id=channel_id, organization_id=organization_id
        )

    async def publish_presence(
        self,
        room_id: str,
        user_id: str,
        status: str,
        data: Mapping[str, Any] | None = None,
        *,
        channel_id: str | None = None,
        organization_id: str | None = None,
    ) -> None:
        """``online``, ``away`` or ``offline``; any other word travels as CUSTOM ``{status}``."""
        kind = _PRESENCE.get(status)
        if kind is None:
            kind, data = EphemeralEventType.CUSTOM, {**(data or {}), "status": status}
        await self.publish(
            room_id, kind, user_id, data, channel_id=channel_id, organization_id=organization_id
        )

    async def publish_read_receipt(
        self,
        room_id: str,
        user_id: str,
        event_id: str,
        *,
        channel_id: str | None = None,
        organization_id: str | None = None,
    ) -> None:
        """Somebody has seen everything up to an event. For display only: the durable read position
        is the store's, and an independent call (R215)."""
        await self.publish(
            room_id,
            EphemeralEventType.READ_RECEIPT,
            user_id,
            {"event_id": event_id},
            channel_id=channel_id,
            organization_id=organization_id,
        )

    async def publish_reaction(
        self,
        room_id: str,
        user_id: str,
        target_event_id: str,
        emoji: str,
        action: Literal["add", "remove"] = "add",
        *,
        channel_id: str | None = None,
        organization_id: str | None = None,
    ) -> None:
        """A reaction to an event, or its withdrawal; raises `ValueError` for another action."""
        if action not in ("add", "remove"):
            raise ValueError(f'action of a reaction must be "add" or "remove", not {action!r}')
        data = {"target_event_id": target_event_id, "emoji": emoji, "action": action}
        kind = EphemeralEventType.REACTION
        await self.publish(
            room_id, kind, user_id, data, channel_id=channel_id, organization_id=organization_id
        )

    async def publish_tool_call(
        self,
        room_id: str,
        channel_id: str,
        tool_calls: list[dict[str, Any]],
        event_type: EphemeralEventType = EphemeralEventType.TOOL_CALL_START,
        *,
        duration_ms: int | None = None,
        organization_id: str | None = None,
    ) -> None:
        """An agent's tools are at work, or done."""
        data: dict[str, Any] = {"tool_calls": tool_calls}
        if duration_ms is not None:
            data["duration_ms"] = duration_ms
        await self.publish(
            room_id,
            event_type,
            channel_id,
            data,
            channel_id=channel_id,
            organization_id=organization_id,
        )

    async def publish(
        self,
        room_id: str,
        type: EphemeralEventType,
        user_id: str,
        data: Mapping[str, Any] | None = None,
        *,
        channel_id: str | None = None,
        organization_id: str | None = None,
    ) -> None:
        """Any ephemeral event; those of agents (tool calls, thinking) carry the agent's channel."""
        await self._admit(room_id, organization_id)
        event = EphemeralEvent(
            id=self._new_id(),
            room_id=room_id,
            type=type,
            user_id=user_id,
            channel_id=channel_id,
            data=dict(data or {}),
            timestamp=self._clock.now(),
        )
        await self.backend.publish_to_room(room_id, event)

    async def subscribe_room(
        self, room_id: str, callback: EphemeralCallback, *, organization_id: str | None = None
    ) -> str:
        """Listen to a room's ephemeral events; the result is what `unsubscribe_room` takes."""
        await self._admit(room_id, organization_id)
        return await self.backend.subscribe_to_room(room_id, callback)

    async def unsubscribe_room(self, subscription_id: str) -> bool:
        """Stop listening; whether anybody did."""
        return await self.backend.unsubscribe(subscription_id)
