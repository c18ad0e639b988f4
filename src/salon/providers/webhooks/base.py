"""The contract of a provider behind an HTTP channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from salon.models import InboundMessage, RoomEvent, UnsupportedError
from salon.providers.webhooks.intake import parse_http_webhook
from salon.providers.webhooks.result import ProviderResult
from salon.providers.webhooks.signing import SignedWebhook


class HTTPProvider(ABC):
    """Hands events to another system over HTTP, and takes what it posts."""

    name: str = "http"

    @abstractmethod
    async def send(self, event: RoomEvent, to: str) -> ProviderResult:
        """Deliver to the recipient with that id. What fails is in the result, not raised."""

    def verify(self, headers: Mapping[str, str], body: bytes) -> SignedWebhook:
        """Prove an incoming request; `WebhookSignatureError` if it is not genuine (R216)."""
        raise UnsupportedError(f"{type(self).__name__} takes no webhooks")

    def parse_webhook(
        self, payload: Mapping[str, Any], channel_id: str, *, webhook_id: str | None = None
    ) -> InboundMessage:
        """The message in a verified payload; `WebhookPayloadError` if there is none."""
        return parse_http_webhook(payload, channel_id, webhook_id=webhook_id)

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections. Idempotent."""
