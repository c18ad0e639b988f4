"""E-mail that a service posts as JSON."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from salon.models import InboundMessage
from salon.providers.email.address import normalize_email, parse_mailbox
from salon.providers.email.errors import InvalidEmailError
from salon.providers.email.markup import html_to_text
from salon.providers.email.parse import parse_email
from salon.providers.email.received import DEFAULT_LIMITS, Attachment, EmailLimits, ReceivedEmail
from salon.providers.email.thread import bounded, message_ids
from salon.providers.webhooks import WebhookPayloadError, WebhookVerifier

_MAX_LINE = 998
_MAX_RECIPIENTS = 50


def parse_email_webhook(
    payload: Mapping[str, Any],
    channel_id: str,
    *,
    webhook_id: str | None = None,
    limits: EmailLimits = DEFAULT_LIMITS,
) -> InboundMessage:
    """A message from ``{from, to?, cc?, subject?, text? | html?, message_id?, in_reply_to?,
    references?, attachments?}`` or from ``{raw}``, a whole message (RFC 5322) in base64.

    An attachment is ``{filename, content_type, size?, content?}``, content in base64. The
    idempotency key is the Message-ID, else the verified `webhook_id`, else a digest of the
    payload. Verify the signature first (R216); `WebhookPayloadError` if it is no e-mail. The
    payload stays untouched in `raw_payload` (R218).
    """
    try:
        if payload.get("raw") is not None:
            found = _whole(payload, channel_id, limits)
        else:
            key = webhook_id or _digest(payload)
            found = _fields(payload, limits).to_inbound(
                channel_id, key=key, raw_payload=dict(payload), limits=limits
            )
    except InvalidEmailError as error:
        raise WebhookPayloadError(str(error)) from error
    return found


class EmailWebhook:
    """A channel's door for signed e-mail: proves, bounds and reads one request.

    The HTTP server must bound the body itself before it reads it; `limits.max_bytes` bounds what
    is parsed.
    """

    def __init__(
        self, verifier: WebhookVerifier, channel_id: str, *, limits: EmailLimits = DEFAULT_LIMITS
    ) -> None:
        self._verifier = verifier
        self._channel_id = channel_id
        self._limits = limits

    def receive(self, headers: Mapping[str, str], body: bytes) -> InboundMessage:
        """The message of a request; `WebhookSignatureError` or `WebhookPayloadError`, which have
        the HTTP status to answer with. Do not answer success before the core took it."""
        if len(body) > self._limits.max_bytes:
            raise WebhookPayloadError(f"the body has over {self._limits.max_bytes} bytes")
        proof = self._verifier.verify(headers, body)
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError) as error:
            self._verifier.forget(proof)
            raise WebhookPayloadError("the body is not JSON") from error
        if not isinstance(payload, dict):
            raise WebhookPayloadError("the body is not a JSON object")
        return parse_email_webhook(
            payload, self._channel_id, webhook_id=proof.id, limits=self._limits
        )


def _whole(payload: Mapping[str, Any], channel_id: str, limits: EmailLimits) -> InboundMessage:
    raw = payload["raw"]
    if not isinstance(raw, str):
        raise WebhookPayloadError("raw must be base64 text")
    try:
        data = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WebhookPayloadError("raw is not base64") from error
    found = parse_email(data, channel_id, limits=limits)
    return found.model_copy(update={"raw_payload": dict(payload)})


def _fields(payload: Mapping[str, Any], limits: EmailLimits) -> ReceivedEmail:
    sender = parse_mailbox(_line(payload, "from"), "sender")
    ids = message_ids(_line(payload, "message_id"))
    attachments = _attachments(payload, limits)
    count = len(payload.get("attachments") or [])
    return ReceivedEmail(
        sender=sender.address.lower(),
        sender_name=sender.name,
        recipients=_list(payload, "to"),
        cc=_list(payload, "cc"),
        subject=" ".join(_line(payload, "subject").split()),
        text=_body(payload),
        message_id=next(iter(ids), None),
        in_reply_to=message_ids(payload.get("in_reply_to"))[:1],
        references=bounded(message_ids(payload.get("references"))),
        attachments=attachments,
        attachment_count=count,
        truncated=count > len(attachments),
    )


def _body(payload: Mapping[str, Any]) -> str:
    for name in ("text", "html"):
        value = payload.get(name)
        if value is not None and not isinstance(value, str):
            raise WebhookPayloadError(f"{name} must be text")
        if value:
            text = value if name == "text" else html_to_text(value)
            return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    return ""


def _line(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_LINE:
        raise WebhookPayloadError(f"{name} must be text of at most {_MAX_LINE} characters")
    return value


def _list(payload: Mapping[str, Any], name: str) -> list[str]:
    value = payload.get(name) or []
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise WebhookPayloadError(f"{name} must be an address or a list of addresses")
    return [normalize_email(item) for item in items[:_MAX_RECIPIENTS]]


def _attachments(payload: Mapping[str, Any], limits: EmailLimits) -> list[Attachment]:
    value = payload.get("attachments") or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise WebhookPayloadError("attachments must be a list of objects")
    found: list[Attachment] = []
    budget = limits.inline_bytes
    for item in value[: limits.max_attachments]:
        filename, kind = item.get("filename"), item.get("content_type")
        content, size = item.get("content"), item.get("size")
        data: bytes | None = None
        if isinstance(content, str):
            try:
                data = base64.b64decode(content, validate=True)
            except (binascii.Error, ValueError) as error:
                raise WebhookPayloadError("an attachment is not base64") from error
            size = len(data)
        keep = data is not None and 0 < len(data) <= budget
        budget -= len(data) if data is not None and keep else 0
        found.append(
            Attachment(
                filename[:128] if isinstance(filename, str) and filename else "attachment",
                kind[:127] if isinstance(kind, str) and "/" in kind else "application/octet-stream",
                size if isinstance(size, int) and size >= 0 else 0,
                data if keep else None,
            )
        )
    return found


def _digest(payload: Mapping[str, Any]) -> str:
    data = json.dumps(payload, sort_keys=True, default=str).encode("utf-8", "replace")
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
