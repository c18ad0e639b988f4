"""One view of what the webhooks of all SMS providers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from salon.models import InboundMessage
from salon.providers.sms.content import incoming
from salon.providers.sms.phone import is_valid_phone, normalize_phone
from salon.providers.sms.status import DeliveryStatus
from salon.providers.webhooks import WebhookPayloadError


@dataclass(frozen=True, slots=True)
class WebhookMeta:
    """What a webhook says, in the words of no particular provider.

    `direction` is ``"inbound"`` for a message, ``"outbound"`` for the status of one, ``"unknown"``
    for anything else. `media` holds (URL, MIME type). `raw` is the payload, untouched (R218).
    """

    provider: str
    sender: str
    recipient: str
    body: str = ""
    external_id: str | None = None
    timestamp: datetime | None = None
    media: tuple[tuple[str, str], ...] = ()
    direction: str = "unknown"
    event_type: str = ""
    error_code: str | None = None
    error_message: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_inbound(self) -> bool:
        """Somebody wrote to us."""
        return self.direction == "inbound"

    @property
    def is_status(self) -> bool:
        """The provider reports on what we sent."""
        return self.direction == "outbound"

    @property
    def media_urls(self) -> list[str]:
        """Where the media are."""
        return [url for url, _ in self.media]

    def to_inbound(self, channel_id: str) -> InboundMessage:
        """The message; its id is the idempotency key, so a repeated webhook is a duplicate.

        The sender is in E.164 if it is a number, else as it came (a short code, a name).
        """
        if not self.is_inbound:
            raise WebhookPayloadError(f"the webhook is no message but {self.event_type!r}")
        return InboundMessage(
            channel_id=channel_id,
            sender_id=normal_address(self.sender),
            content=incoming(self.body, self.media),
            raw_payload=dict(self.raw),
            provider_message_id=self.external_id,
            idempotency_key=self.external_id,
            external_id=self.external_id,
            metadata={
                "provider": self.provider,
                "channel_type": "mms" if self.media else "sms",
                "from_number": normal_address(self.sender),
                "to_number": normal_address(self.recipient),
            }
            | dict(self.extra),
        )

    def to_status(
        self, *, channel_id: str | None = None, room_id: str | None = None
    ) -> DeliveryStatus:
        """The report (R213)."""
        if not self.is_status or self.external_id is None:
            raise WebhookPayloadError("the webhook is no delivery status")
        return DeliveryStatus(
            provider=self.provider,
            message_id=self.external_id,
            status=self.event_type,
            recipient=normal_address(self.recipient),
            sender=normal_address(self.sender),
            error_code=self.error_code,
            error_message=self.error_message,
            timestamp=self.timestamp,
            raw=dict(self.raw),
            room_id=room_id,
            channel_id=channel_id,
        )


def normal_address(address: str) -> str:
    """An international number without its filling; anything else as it is."""
    if address.lstrip().startswith("+") and is_valid_phone(address):
        return normalize_phone(address)
    return address


def extract_sms_meta(provider: str, payload: Mapping[str, Any]) -> WebhookMeta:
    """Read the webhook of a provider, by its name. `WebhookPayloadError` (a `ValueError`) if the
    provider is unknown or the payload is not its own. Verify its signature first (R216)."""
    from salon.providers.sms.twilio_webhook import extract_twilio_meta

    readers = {"twilio": extract_twilio_meta}
    reader = readers.get(provider.lower())
    if reader is None:
        known = ", ".join(sorted(readers))
        raise WebhookPayloadError(f"SMS provider {provider[:64]!r} is unknown, known are: {known}")
    return reader(payload)
