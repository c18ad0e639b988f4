"""What hooks are told of an agent's turn (chapter 14)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from salon.models.base import utc_now
from salon.models.enums import AnyChannelType
from salon.models.event import RoomEvent


@dataclass(frozen=True, slots=True)
class AIGenerationEvent:
    """BEFORE_AI_GENERATION: the model is about to be asked. `ai_context` (an `AIContext`) may be
    changed in place; a tool taken out of it can't be called in this turn. `trigger` is what is
    answered."""

    ai_context: Any
    channel_id: str
    room_id: str | None = None
    provider_name: str | None = None
    timestamp: datetime = field(default_factory=utc_now)
    trigger: RoomEvent | None = None
    purpose: str = "answer"


@dataclass(frozen=True, slots=True)
class ThinkingEvent:
    """ON_AI_THINKING: the model began to think; `thinking` is how it begins."""

    room_id: str
    channel_id: str
    thinking: str = ""
    round_index: int = 0
    timestamp: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class AIResponseEvent:
    """ON_AI_RESPONSE: a turn completed (R66). `latency_ms` is how long it took in all, `usage` the
    provider's token counts, unaltered. `loop_end_reason` is ``completed``, ``max_rounds`` where
    the model had to end without its tools, or ``room_ended`` where a person was asked when the
    agent lost its room."""

    channel_id: str
    response_content: str
    room_id: str | None = None
    tool_calls_count: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    thinking: str = ""
    round_count: int = 0
    loop_end_reason: str | None = None
    latency_ms: int = 0
    streaming: bool = True
    timestamp: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class ToolCallEvent:
    """BEFORE_TOOL_USE (`result` None; other `arguments` may replace these) and ON_TOOL_CALL (the
    outcome; another `result` may replace it).

    At ON_TOOL_CALL a `result` of None that is no error means that nobody served the call yet.
    `refused` says that it did not run, `error_detail` why something failed, for the host's eyes.
    """

    channel_id: str
    channel_type: AnyChannelType
    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    result: Any = None
    room_id: str | None = None
    session: Any = None
    timestamp: datetime = field(default_factory=utc_now)
    is_error: bool = False
    cancelled: bool = False
    structured_content: dict[str, Any] | None = None
    error_detail: str | None = None
    refused: bool = False
