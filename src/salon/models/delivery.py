"""What a provider answers to one message, and what it reports about it later."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import Field, model_validator

from salon.models.base import Fact, Record
from salon.models.errors import ProviderDeliveryError
from salon.models.exchange import DeliveryError, DeliveryResult, InboundMessage, InboundResult

__all__ = [
    "DeliveryError",
    "DeliveryResult",
    "DeliveryStatus",
    "InboundMessage",
    "InboundResult",
    "ProviderResult",
]

_FINAL = frozenset({"delivered", "undelivered", "failed", "read", "canceled"})
_FAILED = frozenset({"undelivered", "failed", "canceled"})


class ProviderResult(Fact):
    """What became of one message handed to a provider. Retries are the caller's.

    `error` is a stable code, `error_message` words for people, `provider_code` the other side's
    own number. `retry_after` in seconds, as the other side asked. With `outcome_unknown` the
    message may have gone out although no success was heard: sending it again may double it.
    A failure that doesn't say whether it is `retryable` is (``metadata["retryable"]`` may say it
    too), unless its outcome is unknown.
    """

    success: bool
    provider_message_id: str | None = None
    error: str | None = None
    error_message: str | None = None
    provider_code: int | None = None
    status_code: int | None = None
    retryable: bool = False
    retry_after: float | None = Field(default=None, ge=0)
    outcome_unknown: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _retryable_unless_said(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "retryable" in data or data.get("success") is not False:
            return data
        said = (data.get("metadata") or {}).get("retryable")
        assumed = not data.get("outcome_unknown", False)
        return data | {"retryable": said if isinstance(said, bool) else assumed}

    def raise_for_error(self) -> Self:
        """This result if it is a success, else `ProviderDeliveryError` (R56)."""
        if self.success:
            return self
        raise ProviderDeliveryError(self)


class DeliveryStatus(Record):
    """One status of one sent message (R213). It changes no event.

    `status` is the provider's word in lower case. `room_id` and `channel_id` are filled in by
    whoever knows them.
    """

    provider: str
    message_id: str
    status: str
    recipient: str = ""
    sender: str = ""
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
