"""The answer of a provider to one send."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from salon.models.base import Fact
from salon.providers.webhooks.errors import ProviderDeliveryError


class ProviderResult(Fact):
    """What became of one message handed to a provider. Retries are the caller's.

    `error` is a stable code, `error_message` words for people, `provider_code` the other side's
    own number. `retry_after` in seconds, as the other side asked. With `outcome_unknown` the
    message may have gone out although no success was heard: sending it again may double it.
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

    def raise_for_error(self) -> ProviderResult:
        """This result if it is a success, else `ProviderDeliveryError` (R56)."""
        if self.success:
            return self
        code = self.error or "provider_delivery"
        raise ProviderDeliveryError(
            code,
            self.error_message or code,
            retryable=self.retryable,
            retry_after=self.retry_after,
        )
