"""A message that came in, whichever way, before it becomes an `InboundMessage`."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

from salon.models import CompositeContent, EventContent, InboundMessage, MediaContent, TextContent
from salon.providers.email.quoted import split_reply
from salon.providers.email.thread import bounded, thread_of

_MAX_KEY = 200


@dataclass(frozen=True, slots=True)
class EmailLimits:
    """Of one message that comes in.

    `max_bytes` of it are read; `max_text` characters of words and of quote each are kept;
    `max_attachments` are listed; `inline_bytes` of attachments become content as ``data:`` URIs
    (0: none), the others are only listed.
    """

    max_bytes: int = 10_485_760
    max_text: int = 65_536
    max_attachments: int = 20
    inline_bytes: int = 0

    def __post_init__(self) -> None:
        if self.max_bytes < 1024 or self.max_text < 1:
            raise ValueError("max_bytes must be at least 1024, max_text at least 1")
        if self.max_attachments < 0 or self.inline_bytes < 0:
            raise ValueError("limits can't be negative")


DEFAULT_LIMITS = EmailLimits()


@dataclass(frozen=True, slots=True)
class Attachment:
    """`size` in bytes; `data` only if it was asked for and fits."""

    filename: str
    mime_type: str
    size: int
    data: bytes | None = None


@dataclass(slots=True)
class ReceivedEmail:
    """The parts of a message that matter, decoded."""

    sender: str
    sender_name: str = ""
    recipients: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    subject: str = ""
    text: str = ""
    message_id: str | None = None
    in_reply_to: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    date: str | None = None
    automatic: str | None = None
    attachments: list[Attachment] = field(default_factory=list)
    attachment_count: int = 0
    truncated: bool = False

    def to_inbound(
        self,
        channel_id: str,
        *,
        key: str,
        raw_payload: dict[str, Any],
        limits: EmailLimits = DEFAULT_LIMITS,
    ) -> InboundMessage:
        """The message for the core; `key` stands in for a missing Message-ID."""
        words, quoted = split_reply(self.text[: 4 * limits.max_text])
        metadata = self._metadata(quoted[: limits.max_text])
        cut = max(len(words), len(quoted), len(self.text) // 4) > limits.max_text
        if cut or self.truncated:
            metadata["truncated"] = True
        identity = self.message_id or key
        return InboundMessage(
            channel_id=channel_id,
            sender_id=self.sender,
            content=self._content(words[: limits.max_text]),
            raw_payload=raw_payload,
            provider_message_id=self.message_id,
            idempotency_key=_bounded_key(identity),
            external_id=self.message_id,
            thread_id=thread_of(self.references, self.in_reply_to, self.message_id),
            metadata=metadata,
        )

    def _content(self, words: str) -> EventContent:
        files: list[EventContent] = [
            MediaContent(
                url=f"data:{item.mime_type};base64,{base64.b64encode(item.data).decode()}",
                mime_type=item.mime_type,
                filename=item.filename,
                size_bytes=item.size,
            )
            for item in self.attachments
            if item.data is not None
        ]
        text = TextContent(body=words)
        return CompositeContent(parts=[text, *files]) if files else text

    def _metadata(self, quoted: str) -> dict[str, Any]:
        known: dict[str, Any] = {
            "subject": self.subject,
            "from_name": self.sender_name,
            "to": self.recipients,
            "cc": self.cc,
            "message_id": self.message_id,
            "in_reply_to": next(iter(self.in_reply_to), None),
            # with its own id last, as an answer needs them
            "references": bounded([*self.references, *filter(None, [self.message_id])]),
            "date": self.date,
            "quoted": quoted,
            "automatic": self.automatic,
            "attachments": [
                {"filename": item.filename, "mime_type": item.mime_type, "size": item.size}
                for item in self.attachments
            ],
            "attachment_count": self.attachment_count,
        }
        return {name: value for name, value in known.items() if value not in (None, "", [], 0)}


def _bounded_key(key: str) -> str:
    return key if len(key) <= _MAX_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
