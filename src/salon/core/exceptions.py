"""Every error of a conversation, where RoomKit has them."""

from __future__ import annotations

from salon.core.errors import (
    ChannelAlreadyRegisteredError,
    ChannelNotFoundError,
    ChannelNotRegisteredError,
    DuplicateIndexError,
    HumanInputRejectedError,
    IdentityNotFoundError,
    ParticipantNotAdmittedError,
    ParticipantNotFoundError,
    RoomClosedError,
    RoomDeadlockError,
    RoomNotFoundError,
    SourceAlreadyAttachedError,
    SourceNotFoundError,
)
from salon.core.ports.store import AddressLinkedError, EventNotFoundError
from salon.core.rooms import TransitionRefusedError
from salon.models.errors import (
    NoProviderError,
    NoRecipientError,
    ProviderDeliveryError,
    RoomKitError,
)

__all__ = [
    "AddressLinkedError",
    "ChannelAlreadyRegisteredError",
    "ChannelNotFoundError",
    "ChannelNotRegisteredError",
    "DuplicateIndexError",
    "EventNotFoundError",
    "HumanInputRejectedError",
    "IdentityNotFoundError",
    "NoProviderError",
    "NoRecipientError",
    "ParticipantNotAdmittedError",
    "ParticipantNotFoundError",
    "ProviderDeliveryError",
    "RoomClosedError",
    "RoomDeadlockError",
    "RoomKitError",
    "RoomNotFoundError",
    "SourceAlreadyAttachedError",
    "SourceNotFoundError",
    "TransitionRefusedError",
]
