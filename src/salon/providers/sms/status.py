"""What a provider reports about a message it took."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from salon.models.base import Record

_FINAL = frozenset({"delivered", "undelivered", "failed", "read", "canceled"})
_FAILED = frozenset({"undelivered", "failed", "canceled"})


class DeliveryStatus(Record):
    """One status of one sent message (R213). It changes no event.

    `status` is the provider's word in lower case. `room_id` and `channel_id` are filled in by
    whoever knows them.
    """

    provider: str
    message_id: str
    status: str
    recipient: str
    sender: str
    error_code: str | None = None
    error_message: str | None = None
    timestamp: datetime | None = None
    raw: dict[str, Any] = Field(default_factory=dict)
    room_id: str | None = None
    channel_id: str | None = None

    @property
    def final(self) -> bool:
        """No other outcome follows (a read one may still follow a delivered one)."""
        return self.status in _FINAL

    @property
    def failed(self) -> bool:
        """The message will not arrive."""
        return self.status in _FAILED

    @property
    def idempotency_key(self) -> str:
        """The same for every repetition of this report."""
        return f"{self.provider}:{self.message_id}:{self.status}"
