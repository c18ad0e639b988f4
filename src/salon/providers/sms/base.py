"""The contract of a provider behind an SMS channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from salon.models import InboundMessage, RoomEvent, UnsupportedError
from salon.providers.sms.meta import extract_sms_meta
from salon.providers.sms.status import DeliveryStatus
from salon.providers.webhooks import ProviderResult


class SMSProvider(ABC):
    """Sends text messages and reads a vendor's webhooks."""

    name: str = "sms"
    signature_header: str | None = None
    """The HTTP header to hand to `verify_signature`."""

    @property
    def from_number(self) -> str | None:
        """The number that messages come from if none is given."""
        return None

    @abstractmethod
    async def send(self, event: RoomEvent, to: str, from_: str | None = None) -> ProviderResult:
        """Send the words and media of an event; what fails is in the result, not raised.

        One attempt: whether to try again is the caller's, by `retryable` and `retry_after`.
        Cancellation breaks off the request; the message may have gone out.
        """

    def verify_signature(
        self,
        payload: bytes,
        signature: str,
        timestamp: str | None = None,
        *,
        url: str | None = None,
    ) -> bool:
        """Whether the body of a webhook, exactly as received at the public `url`, is genuine."""
        raise UnsupportedError(f"{type(self).__name__} can't verify webhooks")

    def parse_webhook(self, payload: Mapping[str, Any], channel_id: str) -> InboundMessage | None:
        """The message in a verified webhook, None if it is something else."""
        meta = extract_sms_meta(self.name, payload)
        return meta.to_inbound(channel_id) if meta.is_inbound else None

    def parse_status(
        self, payload: Mapping[str, Any], *, channel_id: str | None = None
    ) -> DeliveryStatus | None:
        """The report in a verified webhook, None if it is something else."""
        meta = extract_sms_meta(self.name, payload)
        return meta.to_status(channel_id=channel_id) if meta.is_status else None

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Release connections. Idempotent."""
