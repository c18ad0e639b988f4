"""Floor 3: what happens to an event.

`RoomKit` is a facade over small services, each with its own state: `Timeline` (the way in),
`Delivery` and `Answers` (the way out), `Rooms`, `Participants`, `HookRegistry`. `core.ports` holds
every ABC they call, `core.memory` the in-process defaults.
"""

from __future__ import annotations

from salon.core.errors import (
    ChannelAlreadyRegisteredError,
    ChannelNotFoundError,
    ChannelNotRegisteredError,
    DuplicateIndexError,
    ParticipantNotFoundError,
    RoomClosedError,
    RoomKitError,
    RoomNotFoundError,
)
from salon.core.framework import FrameworkEvent
from salon.core.hooks import HookOutcome, HookRegistration
from salon.core.kit import RoomKit

__all__ = [
    "ChannelAlreadyRegisteredError",
    "ChannelNotFoundError",
    "ChannelNotRegisteredError",
    "DuplicateIndexError",
    "FrameworkEvent",
    "HookOutcome",
    "HookRegistration",
    "ParticipantNotFoundError",
    "RoomClosedError",
    "RoomKit",
    "RoomKitError",
    "RoomNotFoundError",
]
