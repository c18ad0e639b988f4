"""Every enumeration of the conversation model. On the wire a member is its lower-case name."""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Annotated

from pydantic import Field


class ChannelCategory(StrEnum):
    """Moves messages to and from the outside, or reacts and produces."""

    TRANSPORT = auto()
    INTELLIGENCE = auto()


class ChannelDirection(StrEnum):
    """Which way a channel, or an event on it, goes."""

    INBOUND = auto()
    OUTBOUND = auto()
    BIDIRECTIONAL = auto()


class ChannelMediaType(StrEnum):
    """What a channel can carry."""

    TEXT = auto()
    RICH = auto()
    MEDIA = auto()
    AUDIO = auto()
    VIDEO = auto()
    LOCATION = auto()
    TEMPLATE = auto()


class ChannelType(StrEnum):
    """The known channel types; others are spelled ``custom:<name>`` (R12)."""

    SMS = auto()
    MMS = auto()
    RCS = auto()
    EMAIL = auto()
    WHATSAPP = auto()
    WHATSAPP_PERSONAL = auto()
    WEBSOCKET = auto()
    MESSENGER = auto()
    TEAMS = auto()
    TELEGRAM = auto()
    DISCORD = auto()
    WEBHOOK = auto()
    CLI = auto()
    PUSH = auto()
    VOICE = auto()
    REALTIME_VOICE = auto()
    AUDIO_VIDEO = auto()
    REALTIME_AUDIO_VIDEO = auto()
    VIDEO = auto()
    CONFERENCE = auto()
    AI = auto()
    SYSTEM = auto()


AnyChannelType = Annotated[ChannelType | str, Field(union_mode="left_to_right")]
"""A known type as its member, any other as its string."""


class Access(StrEnum):
    """What a binding may do in its room (R70, R71)."""

    READ_WRITE = auto()
    READ_ONLY = auto()
    WRITE_ONLY = auto()
    NONE = auto()

    @property
    def can_read(self) -> bool:
        return self in (Access.READ_WRITE, Access.READ_ONLY)

    @property
    def can_write(self) -> bool:
        return self in (Access.READ_WRITE, Access.WRITE_ONLY)


class RoomStatus(StrEnum):
    """A room accepts events while ACTIVE or PAUSED."""

    ACTIVE = auto()
    PAUSED = auto()
    CLOSED = auto()
    ARCHIVED = auto()

    @property
    def accepts_events(self) -> bool:
        return self in (RoomStatus.ACTIVE, RoomStatus.PAUSED)


class EventStatus(StrEnum):
    """DELIVERED and BLOCKED are set at the commit; neither changes after it (R100)."""

    PENDING = auto()
    DELIVERED = auto()
    READ = auto()
    FAILED = auto()
    BLOCKED = auto()


class EventType(StrEnum):
    """What an event of a timeline is."""

    MESSAGE = auto()
    SYSTEM = auto()
    TYPING = auto()
    PRESENCE = auto()
    READ_RECEIPT = auto()
    DELIVERY_RECEIPT = auto()
    REACTION = auto()
    EDIT = auto()
    DELETE = auto()
    PARTICIPANT_JOINED = auto()
    PARTICIPANT_LEFT = auto()
    PARTICIPANT_IDENTIFIED = auto()
    PARTICIPANT_UPDATED = auto()
    CHANNEL_ATTACHED = auto()
    CHANNEL_DETACHED = auto()
    CHANNEL_MUTED = auto()
    CHANNEL_UNMUTED = auto()
    CHANNEL_UPDATED = auto()
    TASK_CREATED = auto()
    OBSERVATION = auto()
    DTMF = auto()
    RECORDING_STARTED = auto()
    RECORDING_STOPPED = auto()
    TOOL_CALL_START = auto()
    TOOL_CALL_END = auto()
    TASK_DELEGATED = auto()
    TASK_COMPLETED = auto()


class DeleteType(StrEnum):
    """Who may delete, and on whose authority (R105-R107)."""

    SENDER = auto()
    SYSTEM = auto()
    ADMIN = auto()


class ParticipantRole(StrEnum):
    """AGENT is a human advisor, BOT a program."""

    OWNER = auto()
    AGENT = auto()
    MEMBER = auto()
    OBSERVER = auto()
    BOT = auto()


class ParticipantStatus(StrEnum):
    """Whether someone is in the room."""

    ACTIVE = auto()
    INACTIVE = auto()
    LEFT = auto()
    BANNED = auto()


class IdentificationStatus(StrEnum):
    """How sure the room is of who someone is."""

    IDENTIFIED = auto()
    PENDING = auto()
    AMBIGUOUS = auto()
    UNKNOWN = auto()
    CHALLENGE_SENT = auto()
    REJECTED = auto()


class TaskStatus(StrEnum):
    """The life of a task."""

    PENDING = auto()
    IN_PROGRESS = auto()
    COMPLETED = auto()
    FAILED = auto()
    CANCELLED = auto()


class AgentResponsePolicy(StrEnum):
    """Whether an agent's words ask the other agents (R91)."""

    AGENT_CHAIN = auto()
    ADDRESSED_ONLY = auto()


class HookExecution(StrEnum):
    """SYNC hooks may block and modify; ASYNC ones observe."""

    SYNC = auto()
    ASYNC = auto()


class HookTrigger(StrEnum):
    """The points at which hooks run."""

    BEFORE_BROADCAST = auto()
    AFTER_BROADCAST = auto()
    ON_CHANNEL_ATTACHED = auto()
    ON_CHANNEL_DETACHED = auto()
    ON_CHANNEL_MUTED = auto()
    ON_CHANNEL_UNMUTED = auto()
    ON_ROOM_CREATED = auto()
    ON_ROOM_CLOSED = auto()
    ON_PARTICIPANT_JOINED = auto()
    ON_PARTICIPANT_LEFT = auto()
    ON_PARTICIPANT_UPDATED = auto()
    ON_TASK_CREATED = auto()
    ON_ERROR = auto()
    ON_AI_RESPONSE = auto()
    ON_TRANSCRIPTION = auto()
    ON_PARTIAL_TRANSCRIPTION = auto()
    BEFORE_TTS = auto()
    AFTER_TTS = auto()
    ON_SPEECH_START = auto()
    ON_SPEECH_END = auto()
    ON_BARGE_IN = auto()

    @property
    def is_async(self) -> bool:
        """Whether the operation goes on without waiting for the hooks."""
        return self not in _SYNC

    @property
    def fails_closed(self) -> bool:
        """Whether a broken hook blocks instead of allowing (R160)."""
        return self in _FAIL_CLOSED


_FAIL_CLOSED = frozenset({HookTrigger.BEFORE_TTS, HookTrigger.ON_TRANSCRIPTION})
_SYNC = _FAIL_CLOSED | {HookTrigger.BEFORE_BROADCAST}
