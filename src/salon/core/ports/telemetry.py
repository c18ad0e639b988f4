"""Where spans, metrics and events about the work go (R261)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from salon.base import new_id
from salon.models.base import utc_now

Attributes = Mapping[str, Any]


class SpanKind(StrEnum):
    """What a span is about."""

    INBOUND_PIPELINE = "framework.inbound"
    BROADCAST = "framework.broadcast"
    DELIVERY = "framework.delivery"
    HOOK_SYNC = "hook.sync"
    HOOK_ASYNC = "hook.async"
    STORE_QUERY = "store.query"
    IDENTITY_RESOLVE = "identity.resolve"
    LLM_GENERATE = "llm.generate"
    LLM_TOOL_CALL = "llm.tool_call"
    DELEGATION = "delegation"
    DELEGATION_WORKER = "delegation.worker"
    BACKEND_CONNECT = "backend.connect"
    VOICE_SESSION = "voice.session"
    VOICE_TURN = "voice.turn"
    STT_STREAM = "stt.stream"
    STT_TRANSCRIBE = "stt.transcribe"
    TTS_SYNTHESIZE = "tts.synthesize"
    PIPELINE_INBOUND = "pipeline.inbound"
    PIPELINE_OUTBOUND = "pipeline.outbound"
    PIPELINE_SPEECH_SEGMENT = "pipeline.speech_segment"
    REALTIME_SESSION = "realtime.session"
    REALTIME_TURN = "realtime.turn"
    REALTIME_TOOL_CALL = "realtime.tool_call"
    REALTIME_TOOL_RECOVERY = "realtime.tool_recovery"
    CUSTOM = "custom"


class Attr:
    """Names of attributes. RoomKit's; not all of them are used here, and those that would carry
    words or addresses never are."""

    ROOM_ID = "room_id"
    CHANNEL_ID = "channel_id"
    SESSION_ID = "session_id"
    EVENT_ID = "event_id"
    EVENT_INDEX = "event.index"
    CHAIN_DEPTH = "chain_depth"
    STATUS = "status"
    ERROR_CODE = "error.code"
    PROVIDER = "provider"
    MODEL = "model"
    DURATION_MS = "duration_ms"
    TTFB_MS = "ttfb_ms"
    BACKEND_TYPE = "backend.type"
    DELEGATION_CHILD_ROOM_ID = "delegation.child_room_id"
    DELEGATION_MODE = "delegation.mode"
    DELEGATION_PARENT_ROOM_ID = "delegation.parent_room_id"
    DELEGATION_STATUS = "delegation.status"
    DELEGATION_TASK_ID = "delegation.task_id"
    DELEGATION_WORKER_ID = "delegation.worker_id"
    DELIVERY_CHANNEL_TYPE = "delivery.channel_type"
    DELIVERY_ERROR = "delivery.error"
    DELIVERY_MESSAGE_ID = "delivery.message_id"
    DELIVERY_RECIPIENT = "delivery.recipient"
    DELIVERY_SUCCESS = "delivery.success"
    DELIVERY_TARGETS = "delivery.targets"
    HOOK_NAME = "hook.name"
    HOOK_RESULT = "hook.result"
    HOOK_TRIGGER = "hook.trigger"
    LLM_INPUT_TOKENS = "llm.input_tokens"
    LLM_OUTPUT_TOKENS = "llm.output_tokens"
    LLM_STREAMING = "llm.streaming"
    LLM_TOOL_COUNT = "llm.tool_count"
    LLM_ROUNDS = "llm.rounds"
    LLM_ANSWERED = "llm.answered"
    TOOL_NAME = "tool.name"
    PIPELINE_BYTES_PROCESSED = "pipeline.bytes_processed"
    PIPELINE_FRAMES = "pipeline.frames"
    PIPELINE_FRAME_COUNT = "pipeline.frame_count"
    PIPELINE_STAGES = "pipeline.stages"
    REALTIME_PROVIDER = "realtime.provider"
    REALTIME_TOOL_DENIED = "realtime.tool_denied"
    REALTIME_TOOL_NAME = "realtime.tool_name"
    STORE_OPERATION = "store.operation"
    STORE_TABLE = "store.table"
    STT_CONFIDENCE = "stt.confidence"
    STT_IS_FINAL = "stt.is_final"
    STT_MODE = "stt.mode"
    STT_TEXT = "stt.text"
    STT_TEXT_LENGTH = "stt.text_length"
    TTS_CHAR_COUNT = "tts.char_count"
    TTS_TEXT_LENGTH = "tts.text_length"
    TTS_VOICE = "tts.voice"


@dataclass(slots=True)
class Span:
    """A span as a provider keeps it; `end_time` is None while it is open."""

    id: str = field(default_factory=new_id)
    kind: SpanKind = SpanKind.CUSTOM
    name: str = ""
    parent_id: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    start_time: datetime = field(default_factory=utc_now)
    end_time: datetime | None = None
    status: str = "ok"
    error_message: str | None = None
    room_id: str | None = None
    session_id: str | None = None
    channel_id: str | None = None

    @property
    def duration_ms(self) -> float | None:
        """How long it took; None while it is open."""
        if self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds() * 1000


class TelemetryProvider(ABC):
    """Takes what is measured. Every method is called on the event loop and must return at once;
    what it raises is logged once and costs the room nothing.

    Spans are named by ids of the provider's own. The framework opens them through
    `salon.core.telemetry.Tracer`, which knows the parent; `span` is for the host's own ones.

    What was measured is told when it is over. A provider with `takes_times` is given its instants
    then: `start_time` to `start_span` and `end_time` to `end_span`, aware datetimes, optional in
    both. Any other one is told such spans all at once; how long they took is in their attributes.
    """

    takes_times: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for logs."""

    @abstractmethod
    def start_span(
        self,
        kind: SpanKind,
        name: str,
        *,
        parent_id: str | None = None,
        attributes: dict[str, Any] | None = None,
        room_id: str | None = None,
        session_id: str | None = None,
        channel_id: str | None = None,
    ) -> str:
        """Begin a span; the result names it in the other methods."""

    @abstractmethod
    def end_span(
        self,
        span_id: str,
        *,
        status: str = "ok",
        error_message: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """End a span; `status` is ``"ok"`` or ``"error"``. One that is unknown is ignored."""

    @abstractmethod
    def set_attribute(self, span_id: str, key: str, value: Any) -> None:
        """Add to a span that is open."""

    @abstractmethod
    def record_metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """One measurement."""

    def record_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:  # noqa: B027 - optional
        """Something happened at one moment; ignored unless overridden."""

    @contextmanager
    def span(self, kind: SpanKind, name: str, **kwargs: Any) -> Iterator[str]:
        """A span around a block; its id. An error that rises through the block ends it as
        ``"error"``."""
        span_id = self.start_span(kind, name, **kwargs)
        try:
            yield span_id
        except BaseException as error:
            self.end_span(span_id, status="error", error_message=error_code(error))
            raise
        self.end_span(span_id)

    def activate(self, span_id: str) -> Any:
        """Make a span the current one of the provider's own library, so that instruments outside
        this framework find it; the result goes to `deactivate`, in the same task."""
        return None

    def deactivate(self, token: Any) -> None:  # noqa: B027 - optional
        """Undo an `activate`."""

    def get_span_context(self, span_id: str) -> Any:
        """The context of the provider's own library, or None."""
        return None

    def inject_context(self, span_id: str) -> dict[str, str]:
        """Headers that name the span to another process."""
        return {}

    def extract_context(self, carrier: Mapping[str, str]) -> Any:
        """The other way round."""
        return None

    def flush(self) -> None:  # noqa: B027 - optional
        """Hand over what is buffered."""

    def reset(self) -> None:  # noqa: B027 - optional
        """Forget what is kept, for tests."""

    def close(self) -> None:  # noqa: B027 - optional
        """End what is open and hand over what is buffered. Idempotent."""


class NoopTelemetryProvider(TelemetryProvider):
    """Takes everything and keeps nothing; the framework does not even ask it."""

    @property
    def name(self) -> str:
        return "noop"

    def start_span(
        self,
        kind: SpanKind,
        name: str,
        *,
        parent_id: str | None = None,
        attributes: dict[str, Any] | None = None,
        room_id: str | None = None,
        session_id: str | None = None,
        channel_id: str | None = None,
    ) -> str:
        return ""

    def end_span(
        self,
        span_id: str,
        *,
        status: str = "ok",
        error_message: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        pass

    def set_attribute(self, span_id: str, key: str, value: Any) -> None:
        pass

    def record_metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> None:
        pass


@dataclass(slots=True)
class TelemetryConfig:
    """A provider and what it is to be told.

    `sample_rate` (0 to 1) is the share of calls from outside that are traced, each with all that it
    leads to or not at all. `enabled_spans` names the kinds that are wanted (None: all); what lies
    below a kind left out hangs on the span above it. `metadata` is added to every span. Hooks at
    `suppressed_hook_triggers` get no spans.
    """

    provider: TelemetryProvider | None = None
    sample_rate: float = 1.0
    enabled_spans: set[SpanKind] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    suppressed_hook_triggers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not 0.0 <= self.sample_rate <= 1.0:
            raise ValueError(f"sample_rate must be between 0 and 1, not {self.sample_rate}")


def error_code(error: BaseException) -> str:
    """An error as telemetry may know it: its code, else its type. Never its words, which may quote
    a message or an address."""
    code = getattr(error, "code", None)
    return str(code) if isinstance(code, str | int) and code else type(error).__name__


__all__ = [
    "Attr",
    "NoopTelemetryProvider",
    "Span",
    "SpanKind",
    "TelemetryConfig",
    "TelemetryProvider",
    "error_code",
]
