"""Which events of a room somebody sees, and how much of each (R73, R83)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from salon.channels.websocket import event_json
from salon.core.delivery import INJECTED_FOR
from salon.core.permissions import may_read, scope_includes
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

    @classmethod
    def of(
        cls,
        bindings: Iterable[ChannelBinding],
        *,
        internal: bool = False,
        blocked: bool = False,
        guest: bool = False,
    ) -> Observer:
        """The bindings are those of the room."""
        return cls({item.channel_id: item for item in bindings}, internal, blocked, guest)

    def with_bindings(self, bindings: Iterable[ChannelBinding]) -> Observer:
        """The same eyes, the room having changed."""
        return Observer.of(bindings, internal=self.internal, blocked=self.blocked, guest=self.guest)

    def sees(self, event: RoomEvent) -> bool:
        """Whether the event is for these eyes."""
        if event.status is EventStatus.BLOCKED and not self.blocked:
            return False
        return self.internal or self._shown(event)

    def shows(self, event: RoomEvent) -> dict[str, Any]:
        """The event as JSON."""
        made = event_json(event)
        if self.guest:
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
