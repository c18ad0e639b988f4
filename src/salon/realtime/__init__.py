"""Floor 4: events that live only while somebody looks: typing, presence, receipts, reactions.

`RealtimeBackend` is the contract, `InMemoryRealtime` the default for one process.
"""

from salon.core.ephemeral import EphemeralEvents
from salon.core.memory.realtime import InMemoryRealtime, RealtimeStatistics
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
    "EphemeralEvents",
    "InMemoryRealtime",
    "RealtimeBackend",
    "RealtimeStatistics",
    "room_topic",
]
