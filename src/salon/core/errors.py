"""The errors of the core.

SalonError
└── RoomKitError
    ├── ProviderDeliveryError           a provider did not send (salon.models.errors)
    ├── RoomNotFoundError
    ├── RoomClosedError
    ├── RoomDeadlockError               rooms that would wait for each other
    ├── InvalidEventError               text that is no Unicode, values nested too deep
    ├── EventRefusedError               an event was not taken, for a `reason`
    ├── ChannelNotRegisteredError
    ├── ChannelAlreadyRegisteredError
    ├── ChannelNotFoundError            no such binding in the room
    ├── ParticipantNotFoundError
    ├── ParticipantNotAdmittedError     barred from the room
    ├── IdentityNotFoundError
    ├── SourceAlreadyAttachedError
    ├── SourceNotFoundError
    ├── AgentBusyError                  too many questions wait for an agent
    ├── HumanInputRejectedError         a person, or a hook, refused to answer an agent
    ├── PendingInputNotFoundError       no such question to a person, or no longer
    └── DuplicateIndexError             a store was asked to number two events alike
"""

from __future__ import annotations

from collections.abc import Iterable

from salon.models.errors import ProviderDeliveryError, RoomKitError

__all__ = [
    "AgentBusyError",
    "ChannelAlreadyRegisteredError",
    "ChannelNotFoundError",
    "ChannelNotRegisteredError",
    "DuplicateIndexError",
    "EventRefusedError",
    "HumanInputRejectedError",
    "IdentityNotFoundError",
    "InvalidEventError",
    "ParticipantNotAdmittedError",
    "ParticipantNotFoundError",
    "PendingInputNotFoundError",
    "ProviderDeliveryError",
    "RoomClosedError",
    "RoomDeadlockError",
    "RoomKitError",
    "RoomNotFoundError",
    "SourceAlreadyAttachedError",
    "SourceNotFoundError",
]


class RoomNotFoundError(RoomKitError):
    """There is no such room."""

    code = "room_not_found"

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        super().__init__(f"there is no room {room_id!r}")


class RoomClosedError(RoomKitError):
    """The room takes no more events (R23)."""

    code = "room_closed"

    def __init__(self, room_id: str) -> None:
        super().__init__(f"room {room_id!r} is closed and takes no more events")


class RoomDeadlockError(RoomKitError):
    """The room is not to be had: who has it waits for a room that the caller has (R128)."""

    code = "room_deadlock"

    def __init__(self, room_id: str, held: Iterable[str]) -> None:
        names = ", ".join(repr(name) for name in dict.fromkeys(held))
        super().__init__(
            f"room {room_id!r} waits for the caller, who has {names}: "
            "they would wait for each other"
        )


class InvalidEventError(RoomKitError, ValueError):
    """The event is made of what not every store and client can hold."""

    code = "invalid_event"


class EventRefusedError(RoomKitError):
    """The room did not take the event; `reason` is the code of the refusal (chapter 34)."""

    code = "event_refused"

    def __init__(self, room_id: str, reason: str | None) -> None:
        self.reason = reason or "refused"
        super().__init__(f"room {room_id!r} refused the event: {self.reason}")


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


class ParticipantNotAdmittedError(RoomKitError):
    """The participant was barred from the room."""

    code = "participant_not_admitted"

    def __init__(self, room_id: str, participant_id: str) -> None:
        super().__init__(f"participant {participant_id!r} is barred from room {room_id!r}")


class IdentityNotFoundError(RoomKitError):
    """Nobody, or nobody of this organization, has this identity."""

    code = "identity_not_found"

    def __init__(self, identity_id: str) -> None:
        super().__init__(f"there is no identity {identity_id!r}")


class SourceAlreadyAttachedError(RoomKitError):
    """The channel has a source (R69)."""

    code = "source_already_attached"

    def __init__(self, channel_id: str) -> None:
        super().__init__(f"channel {channel_id!r} already has a source")


class SourceNotFoundError(RoomKitError):
    """The channel has no source."""

    code = "source_not_found"

    def __init__(self, channel_id: str) -> None:
        super().__init__(f"channel {channel_id!r} has no source")


class AgentBusyError(RoomKitError):
    """An agent was not asked, because of the questions that wait for it in the room."""

    code = "agent_busy"

    def __init__(self, channel_id: str, waiting: int) -> None:
        super().__init__(f"agent {channel_id!r} has {waiting} questions to answer already")


class HumanInputRejectedError(RoomKitError, RuntimeError):
    """What a tool asked of a person was refused or given up (R167). The message says why, and the
    model reads it."""

    code = "human_input_rejected"


class PendingInputNotFoundError(RoomKitError, ValueError):
    """There is no such question to a person, or it was forgotten."""

    code = "pending_input_not_found"

    def __init__(self, pending_id: str) -> None:
        super().__init__(f"nothing is asked under {pending_id!r}")


class DuplicateIndexError(RoomKitError):
    """Two events of a room with one index (R96)."""

    code = "duplicate_index"
