"""The errors of the core.

SalonError
└── RoomKitError
    ├── RoomNotFoundError
    ├── RoomClosedError
    ├── ChannelNotRegisteredError
    ├── ChannelAlreadyRegisteredError
    ├── ChannelNotFoundError            no such binding in the room
    ├── ParticipantNotFoundError
    └── DuplicateIndexError             a store was asked to number two events alike
"""

from __future__ import annotations

from salon.base import SalonError


class RoomKitError(SalonError):
    """Root of the errors of the core."""

    code = "room_kit"


class RoomNotFoundError(RoomKitError):
    """There is no such room."""

    code = "room_not_found"

    def __init__(self, room_id: str) -> None:
        super().__init__(f"there is no room {room_id!r}")


class RoomClosedError(RoomKitError):
    """The room takes no more events (R23)."""

    code = "room_closed"

    def __init__(self, room_id: str) -> None:
        super().__init__(f"room {room_id!r} is closed and takes no more events")


class ChannelNotRegisteredError(RoomKitError):
    """No channel is registered under this id."""

    code = "channel_not_registered"

    def __init__(self, channel_id: str) -> None:
        super().__init__(f"no channel is registered as {channel_id!r}")


class ChannelAlreadyRegisteredError(RoomKitError):
    """The id is taken (R45)."""

    code = "channel_already_registered"

    def __init__(self, channel_id: str) -> None:
        super().__init__(f"a channel is already registered as {channel_id!r}")


class ChannelNotFoundError(RoomKitError):
    """The channel is not bound to the room."""

    code = "channel_not_found"

    def __init__(self, room_id: str, channel_id: str) -> None:
        super().__init__(f"channel {channel_id!r} is not attached to room {room_id!r}")


class ParticipantNotFoundError(RoomKitError):
    """The room knows no such participant."""

    code = "participant_not_found"

    def __init__(self, room_id: str, participant_id: str) -> None:
        super().__init__(f"room {room_id!r} has no participant {participant_id!r}")


class DuplicateIndexError(RoomKitError):
    """Two events of a room with one index (R96)."""

    code = "duplicate_index"
