"""What is kept of a tool call, and of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from salon.base import redact, redact_text

MAX_RESULT_CHARS = 500
"""How much of a result is kept (R263)."""
_MAX_READ_CHARS = 1_000_000
"""Longer results are not searched for what must be masked, so nothing of them is kept."""


class ToolStatus(StrEnum):
    """How a call ended: FAILED, where the result is an object that says so, ERROR, where the
    handler raised."""

    OK = "ok"
    FAILED = "failed"
    ERROR = "error"


class SessionEntryType(StrEnum):
    """What an entry of a session is about."""

    SPEECH = "speech"
    TOOL_CALL = "tool_call"
    VISION = "vision"
    BARGE_IN = "barge_in"
    SESSION = "session"
    ERROR = "error"


class ToolAuditEntry(BaseModel):
    """One call. `ts` is ISO 8601, UTC; `result` a text, cut to 500 characters."""

    ts: str
    agent_id: str
    tool_name: str
    arguments: dict[str, Any]
    result: str
    status: str
    duration_ms: float
    metadata: dict[str, Any] = Field(default_factory=dict)

    def masked(self) -> ToolAuditEntry:
        """A copy fit for keeping: without secrets, the result cut."""
        return self.model_copy(
            update={
                "arguments": redact(self.arguments),
                "result": shown(self.result),
                "metadata": redact(self.metadata),
            }
        )


class SessionAuditEntry(BaseModel):
    """One thing that happened in a session; `ts` is ISO 8601, UTC, `type` a `SessionEntryType`,
    `role` who spoke (``user`` or ``assistant``)."""

    ts: str
    type: str
    role: str | None = None
    content: str = ""
    duration_ms: float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    def masked(self) -> SessionAuditEntry:
        """A copy fit for keeping: without secrets."""
        return self.model_copy(
            update={"content": redact_text(self.content), "metadata": redact(self.metadata)}
        )


def status_of(result: object) -> ToolStatus:
    """FAILED if a result is an object with the status ``failed``, in JSON or not."""
    value = _value(result) if isinstance(result, str) else result
    failed = isinstance(value, Mapping) and value.get("status") == ToolStatus.FAILED
    return ToolStatus.FAILED if failed else ToolStatus.OK


def shown(result: object) -> str:
    """A result as it is kept: its JSON with every secret masked, cut to 500 characters."""
    try:
        if not isinstance(result, str):
            text = json.dumps(redact(result), ensure_ascii=False, default=str, skipkeys=True)
            return redact_text(text)[:MAX_RESULT_CHARS]
        value = _value(result)
        masked = redact(value)
        if masked != value:
            return json.dumps(masked, ensure_ascii=False)[:MAX_RESULT_CHARS]
    except (ValueError, RecursionError):  # it contains itself
        return f"({type(result).__name__})"
    if len(result) > _MAX_READ_CHARS:
        return f"({len(result)} characters)"
    return redact_text(result)[:MAX_RESULT_CHARS]


def _value(text: str) -> object:
    """The JSON object or list that a text is, else None."""
    if len(text) > _MAX_READ_CHARS or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found
