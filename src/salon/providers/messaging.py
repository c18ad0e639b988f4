"""What the providers of messaging services have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from salon.models import InboundMessage, ProviderResult, RoomEvent, UnsupportedError


class MessagingProvider(ABC):
    """Sends messages over a service, and reads what its webhooks bring."""

    name: str = "messaging"

    @abstractmethod
    async def send(self, event: RoomEvent, to: str) -> ProviderResult:
        """Send the content of an event to whom the service knows as `to`; what fails is in the
        result. One attempt: whether to try again is the caller's, by `retryable` and
        `retry_after`.
        """

    def verify_signature(self, payload: bytes, signature: str) -> bool:
        """Whether the body of a webhook, exactly as received, is genuine (R216).
        `UnsupportedError` unless the provider takes webhooks."""
        raise UnsupportedError(f"{type(self).__name__} can't verify webhooks")

    def parse_webhook(self, payload: Mapping[str, Any], channel_id: str) -> list[InboundMessage]:
        """The messages in a verified webhook, none if it is something else. `UnsupportedError`
        unless the provider takes webhooks."""
        raise UnsupportedError(f"{type(self).__name__} takes no webhooks")

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections. Idempotent."""
