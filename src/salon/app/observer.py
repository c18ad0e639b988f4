"""Which events of a room somebody sees, and how much of each (R73, R83)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from salon.app.idempotency import shown_key
from salon.channels.websocket import event_json
from salon.core.permissions import INJECTED_FOR, may_read, scope_includes
from salon.models import (
    ChannelBinding,
    ChannelType,
    EventStatus,
    EventType,
    RoomEvent,
)

TEXT_CHANNEL: Final = "websocket"
"""The channel that stands for the people at pages and programs."""
REBINDING: Final = frozenset(
    {EventType.CHANNEL_ATTACHED, EventType.CHANNEL_DETACHED, EventType.CHANNEL_UPDATED}
)
"""Events after which a room's bindings are others."""


def bars(event: RoomEvent, participant_id: str) -> bool:
    """Whether it tells that this participant is barred from now on."""
    data = getattr(event.content, "data", {})
    return (
        event.type is EventType.PARTICIPANT_LEFT
        and data.get("participant_id") == participant_id
        and data.get("status") == "banned"
    )


@dataclass(frozen=True, slots=True)
class Observer:
    """A pair of eyes. By default they see what people at pages are shown.

    `internal` adds what is kept from them, framework records among it, `blocked` what was
    refused. A `guest` gets less of each event: nothing of what its provider told.
    """

    bindings: Mapping[str, ChannelBinding]
    internal: bool = False
    blocked: bool = False
    guest: bool = False
    participant_id: str | None = None
    """Who a guest is: of idempotency keys they are shown their own."""

    @classmethod
    def of(
        cls,
        bindings: Iterable[ChannelBinding],
        *,
        internal: bool = False,
        blocked: bool = False,
        guest: bool = False,
        participant_id: str | None = None,
    ) -> Observer:
        """The bindings are those of the room."""
        known = {item.channel_id: item for item in bindings}
        return cls(known, internal, blocked, guest, participant_id)

    def with_bindings(self, bindings: Iterable[ChannelBinding]) -> Observer:
        """The same eyes, the room having changed."""
        return replace(self, bindings={item.channel_id: item for item in bindings})

    def sees(self, event: RoomEvent) -> bool:
        """Whether the event is for these eyes."""
        if event.status is EventStatus.BLOCKED and not self.blocked:
            return False
        return self.internal or self._shown(event)

    def shows(self, event: RoomEvent) -> dict[str, Any]:
        """The event as JSON."""
        made = event_json(event)
        made["idempotency_key"] = shown_key(event.idempotency_key)
        if self.guest:
            if event.source.participant_id is None or (
                event.source.participant_id != self.participant_id
            ):
                made["idempotency_key"] = None
            del made["channel_data"]
            for name in ("external_id", "provider_message_id"):
                del made["source"][name]
        return made

    def _shown(self, event: RoomEvent) -> bool:
        target = self.bindings.get(TEXT_CHANNEL)
        if target is None:
            target = ChannelBinding(
                channel_id=TEXT_CHANNEL, room_id=event.room_id, channel_type=ChannelType.WEBSOCKET
            )
        if self.guest and not may_read(target):
            return False
        injected = event.metadata.get(INJECTED_FOR)
        if isinstance(injected, list) and target.channel_id not in injected:
            return False
        if not scope_includes(event.visibility, target):
            return False
        source = self.bindings.get(event.source.channel_id)
        if source is None or source.channel_id == target.channel_id:
            return True
        return scope_includes(source.visibility, target)
