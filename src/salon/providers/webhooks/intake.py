"""From the JSON of a generic webhook to a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from salon.models import EventContent, InboundMessage, TextContent
from salon.providers.webhooks.errors import WebhookPayloadError

MAX_BODY = 65_536
"""Characters of a text body."""
_MAX_NAME = 512
_FROM_OUTSIDE = frozenset({"text", "rich", "media", "location", "audio", "video", "composite"})
_CONTENT: TypeAdapter[EventContent] = TypeAdapter(EventContent)


def parse_http_webhook(
    payload: Mapping[str, Any], channel_id: str, *, webhook_id: str | None = None
) -> InboundMessage:
    """A message from ``{sender_id, body | content, external_id?, thread_id?, metadata?}``.

    `content` is an event content of a kind that people send. The idempotency key is the external
    id, else the verified `webhook_id`. Verify the signature first (R216); the payload stays
    untouched in `raw_payload` (R218).
    """
    sender = _name(payload, "sender_id")
    if sender is None:
        raise WebhookPayloadError("sender_id is missing")
    external_id = _name(payload, "external_id")
    metadata = payload.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise WebhookPayloadError("metadata must be an object")
    return InboundMessage(
        channel_id=channel_id,
        sender_id=sender,
        content=_content(payload),
        raw_payload=dict(payload),
        provider_message_id=external_id or webhook_id,
        idempotency_key=external_id or webhook_id,
        external_id=external_id,
        thread_id=_name(payload, "thread_id"),
        metadata=dict(metadata),
    )


def _name(payload: Mapping[str, Any], field: str) -> str | None:
    value = payload.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _MAX_NAME:
        raise WebhookPayloadError(f"{field} must be text of at most {_MAX_NAME} characters")
    return value


def _content(payload: Mapping[str, Any]) -> EventContent:
    raw = payload.get("content")
    if raw is None:
        body = payload.get("body")
        if not isinstance(body, str) or not body:
            raise WebhookPayloadError("body or content is missing")
        if len(body) > MAX_BODY:
            raise WebhookPayloadError(f"body has more than {MAX_BODY} characters")
        return TextContent(body=body)
    try:
        content = _CONTENT.validate_python(raw)
    except ValidationError as error:
        raise WebhookPayloadError(f"content: {error.errors()[0]['msg']}") from error
    _check_kind(content)
    return content


def _check_kind(content: Any) -> None:
    """What only the framework may say does not come in by the door for people."""
    if content.type not in _FROM_OUTSIDE:
        raise WebhookPayloadError(f"content of type {content.type!r} is not taken from outside")
    if len(getattr(content, "body", "")) > MAX_BODY:
        raise WebhookPayloadError(f"body has more than {MAX_BODY} characters")
    for part in getattr(content, "parts", ()):
        _check_kind(part)
