"""The parameters of Twilio's messaging webhooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from salon.models import InboundMessage
from salon.providers.sms.content import MAX_MEDIA
from salon.providers.sms.meta import WebhookMeta
from salon.providers.sms.status import DeliveryStatus
from salon.providers.webhooks import WebhookPayloadError

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
"""The answer to an inbound message that says nothing back; sent as ``text/xml``."""

_SID = re.compile(r"[A-Za-z0-9]{2,64}")
_STATUSES = frozenset(
    {
        "accepted",
        "scheduled",
        "queued",
        "sending",
        "sent",
        "delivered",
        "undelivered",
        "failed",
        "read",
        "canceled",
        "partially_delivered",
    }
)
_EXTRA = {
    "NumSegments": "segments",
    "MessagingServiceSid": "messaging_service_sid",
    "OptOutType": "opt_out_type",
    "ProfileName": "profile_name",
    "OriginalRepliedMessageSid": "replied_to",
}
_MAX_VALUE = 65_536


def parse_twilio_webhook(payload: Mapping[str, Any], channel_id: str) -> InboundMessage | None:
    """The message in the form parameters of an inbound webhook, None if it is none (a status).

    `WebhookPayloadError` if it is not Twilio's. Verify the signature first (R216).
    """
    meta = extract_twilio_meta(payload)
    return meta.to_inbound(channel_id) if meta.is_inbound else None


def parse_twilio_status(
    payload: Mapping[str, Any], *, channel_id: str | None = None, room_id: str | None = None
) -> DeliveryStatus | None:
    """The report in the form parameters of a status callback, None if it is none (R213)."""
    meta = extract_twilio_meta(payload)
    return meta.to_status(channel_id=channel_id, room_id=room_id) if meta.is_status else None


def extract_twilio_meta(payload: Mapping[str, Any]) -> WebhookMeta:
    """Either kind of webhook in common words."""
    sid = _text(payload, "MessageSid") or _text(payload, "SmsSid")
    if not _SID.fullmatch(sid):
        raise WebhookPayloadError("MessageSid is missing or malformed")
    sender = _text(payload, "From")
    recipient = _text(payload, "To")
    status = _text(payload, "MessageStatus").lower()
    received = _text(payload, "SmsStatus").lower()
    if status in _STATUSES or received in _STATUSES:
        direction, kind = "outbound", status or received
    elif status in {"", "received", "receiving"} and sender:
        direction, kind = "inbound", "received"
    elif sender or recipient:
        direction, kind = "unknown", status
    else:
        raise WebhookPayloadError("From is missing")
    return WebhookMeta(
        provider="twilio",
        sender=sender,
        recipient=recipient,
        body=_text(payload, "Body"),
        external_id=sid,
        media=_media(payload),
        direction=direction,
        event_type=kind,
        error_code=_text(payload, "ErrorCode") or None,
        error_message=_text(payload, "ErrorMessage") or None,
        extra=_extra(payload),
        raw=dict(payload),
    )


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_VALUE:
        raise WebhookPayloadError(f"{name} must be text of at most {_MAX_VALUE} characters")
    return value


def _media(payload: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = []
    for number in range(MAX_MEDIA):
        url = _text(payload, f"MediaUrl{number}")
        if url.startswith(("https://", "http://")):
            kind = _text(payload, f"MediaContentType{number}")
            found.append((url, kind or "application/octet-stream"))
    return tuple(found)


def _extra(payload: Mapping[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = {
        ours: value for theirs, ours in _EXTRA.items() if (value := _text(payload, theirs))
    }
    segments = extra.get("segments", "")
    if segments:
        if not (segments.isascii() and segments.isdigit() and len(segments) < 4):
            raise WebhookPayloadError("NumSegments is not a number")
        extra["segments"] = int(segments)
    return extra
