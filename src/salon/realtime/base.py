"""The contract of ephemeral backends, under the names their users know."""

from salon.core.ports.realtime import (
    EphemeralCallback,
    EphemeralEvent,
    EphemeralEventType,
    RealtimeBackend,
    room_topic,
)

__all__ = [
    "EphemeralCallback",
    "EphemeralEvent",
    "EphemeralEventType",
    "RealtimeBackend",
    "room_topic",
]
