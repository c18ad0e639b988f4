"""What is told of a protocol, for whoever wants to watch it (V212)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

TraceDirection = Literal["inbound", "outbound"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ProtocolTrace:
    """One message or step of a protocol, or several that belong together.

    `summary` is one line for people; `raw` the message itself, where it is worth keeping. Neither
    holds keys that were pressed (V207).
    """

    channel_id: str
    direction: TraceDirection
    protocol: str
    summary: str
    raw: bytes | str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime = field(default_factory=_utc_now)
    session_id: str | None = None
    room_id: str | None = None
