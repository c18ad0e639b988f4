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


EventDirection = ChannelDirection
"""What RoomKit calls the direction of an event."""


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


class SourceStatus(StrEnum):
    """The life of a long-lived inbound connection."""

    STOPPED = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    RECONNECTING = auto()
    ERROR = auto()


class DeliveryMode(StrEnum):
    """How a channel with several recipients delivers."""

    BROADCAST = auto()
    DIRECT = auto()
    ROUND_ROBIN = auto()


class Visibility(StrEnum):
    """The words of a visibility scope; anything else is a list of channel ids."""

    ALL = auto()
    NONE = auto()
    TRANSPORT = auto()
    INTELLIGENCE = auto()
    INTERNAL = auto()


class HookExecution(StrEnum):
    """SYNC hooks may block and modify; ASYNC ones observe."""

    SYNC = auto()
    ASYNC = auto()


class HookTrigger(StrEnum):
    """The points at which hooks run."""

    BEFORE_BROADCAST = auto()
    AFTER_BROADCAST = auto()
    ON_EVENT_UPDATED = auto()
    ON_EVENT_DELETED = auto()
    ON_CHANNEL_ATTACHED = auto()
    ON_CHANNEL_DETACHED = auto()
    ON_CHANNEL_MUTED = auto()
    ON_CHANNEL_UNMUTED = auto()
    ON_ROOM_CREATED = auto()
    ON_ROOM_PAUSED = auto()
    ON_ROOM_CLOSED = auto()
    ON_IDENTITY_AMBIGUOUS = auto()
    ON_IDENTITY_UNKNOWN = auto()
    ON_PARTICIPANT_IDENTIFIED = auto()
    ON_PARTICIPANT_JOINED = auto()
    ON_PARTICIPANT_LEFT = auto()
    ON_PARTICIPANT_UPDATED = auto()
    ON_TASK_CREATED = auto()
    ON_DELIVERY_STATUS = auto()
    ON_ERROR = auto()
    ON_SESSION_STARTED = auto()
    BEFORE_DELIVER = auto()
    AFTER_DELIVER = auto()
    BEFORE_AI_CONTEXT_BUILD = auto()
    BEFORE_AI_GENERATION = auto()
    ON_AI_THINKING = auto()
    ON_AI_RESPONSE = auto()
    BEFORE_TOOL_USE = auto()
    ON_TOOL_CALL = auto()
    ON_USER_INPUT_REQUIRED = auto()
    ON_PHASE_TRANSITION = auto()
    ON_HANDOFF = auto()
    ON_HANDOFF_REJECTED = auto()
    ON_STATUS_POSTED = auto()
    ON_TASK_DELEGATED = auto()
    ON_TASK_COMPLETED = auto()
    ON_PLAN_UPDATED = auto()
    ON_FEEDBACK = auto()
    ON_PROTOCOL_TRACE = auto()
    ON_TRANSCRIPTION = auto()
    BEFORE_TTS = auto()
    BEFORE_BRIDGE_AUDIO = auto()
    BEFORE_BRIDGE_VIDEO = auto()
    ON_REALTIME_TOOL_CALL = auto()
    ON_SPEECH_START = auto()
    ON_SPEECH_END = auto()
    AFTER_TTS = auto()
    ON_BARGE_IN = auto()
    ON_TTS_CANCELLED = auto()
    ON_PARTIAL_TRANSCRIPTION = auto()
    ON_VAD_SILENCE = auto()
    ON_VAD_AUDIO_LEVEL = auto()
    ON_INPUT_AUDIO_LEVEL = auto()
    ON_OUTPUT_AUDIO_LEVEL = auto()
    ON_SPEAKER_CHANGE = auto()
    ON_DTMF = auto()
    ON_TURN_COMPLETE = auto()
    ON_TURN_INCOMPLETE = auto()
    ON_BACKCHANNEL = auto()
    ON_RECORDING_STARTED = auto()
    ON_RECORDING_STOPPED = auto()
    ON_REALTIME_TEXT_INJECTED = auto()
    ON_VIDEO_SESSION_STARTED = auto()
    ON_VIDEO_SESSION_ENDED = auto()
    ON_VIDEO_TRACK_ADDED = auto()
    ON_VIDEO_TRACK_REMOVED = auto()
    ON_VISION_RESULT = auto()
    ON_SCREEN_SHARE_STARTED = auto()
    ON_SCREEN_SHARE_STOPPED = auto()
    ON_VIDEO_DETECTION = auto()
    ON_CONFERENCE_PARTICIPANT_JOINED = auto()
    ON_CONFERENCE_PARTICIPANT_LEFT = auto()
    ON_CONFERENCE_TRACK_PUBLISHED = auto()
    ON_CONFERENCE_TRACK_UNPUBLISHED = auto()
    ON_CONFERENCE_TRACK_MUTED = auto()
    ON_CONFERENCE_TRACK_UNMUTED = auto()
    ON_ACTIVE_SPEAKER_CHANGED = auto()
    ON_CONNECTION_QUALITY_CHANGED = auto()

    @property
    def is_async(self) -> bool:
        """Whether the operation goes on without waiting for the hooks."""
        return self not in _SYNC

    @property
    def fails_closed(self) -> bool:
        """Whether a broken hook blocks instead of allowing (R160)."""
        return self in _FAIL_CLOSED


_FAIL_CLOSED = frozenset(
    {HookTrigger.BEFORE_TTS, HookTrigger.ON_TRANSCRIPTION, HookTrigger.BEFORE_TOOL_USE}
)
_SYNC = _FAIL_CLOSED | {
    HookTrigger.BEFORE_BROADCAST,
    HookTrigger.ON_IDENTITY_AMBIGUOUS,
    HookTrigger.ON_IDENTITY_UNKNOWN,
    HookTrigger.BEFORE_DELIVER,
    HookTrigger.BEFORE_AI_CONTEXT_BUILD,
    HookTrigger.BEFORE_AI_GENERATION,
    HookTrigger.ON_TOOL_CALL,
    HookTrigger.ON_USER_INPUT_REQUIRED,
    HookTrigger.BEFORE_BRIDGE_AUDIO,
    HookTrigger.BEFORE_BRIDGE_VIDEO,
}
