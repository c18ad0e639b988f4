"""The contract of a provider behind an e-mail channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from salon.models import InboundMessage, RoomEvent
from salon.providers.email.webhook import parse_email_webhook
from salon.providers.webhooks import ProviderResult


class EmailProvider(ABC):
    """Sends e-mail and reads a service's webhooks."""

    name: str = "email"

    @abstractmethod
    async def send(
        self, event: RoomEvent, to: str, from_: str | None = None, subject: str | None = None
    ) -> ProviderResult:
        """Send an event to one address; what fails is in the result, not raised.

        One attempt: whether to try again is the caller's, by `retryable` and `retry_after`.
        Cancellation breaks off the connection; the message may have gone out.
        """

    def parse_inbound(self, payload: Mapping[str, Any], channel_id: str) -> InboundMessage:
        """The message in a verified payload (R216); `WebhookPayloadError` if there is none."""
        return parse_email_webhook(payload, channel_id)

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections. Idempotent."""
