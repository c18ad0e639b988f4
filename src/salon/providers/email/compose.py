"""From an event to the bytes of an e-mail (RFC 5322). No I/O: nothing is ever fetched."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Any
from urllib.parse import unquote_to_bytes

from salon.models import (
    AudioContent,
    ChannelType,
    CompositeContent,
    EventContent,
    MediaContent,
    RichContent,
    RoomEvent,
    SystemContent,
    TemplateContent,
    TextContent,
    VideoContent,
)
from salon.providers.email.address import Mailbox, check_line, unstructured
from salon.providers.email.errors import InvalidEmailError
from salon.providers.email.markup import html_to_text, markdown_to_html
from salon.providers.email.thread import message_id_for, references_for

MAX_SUBJECT = 998
_POLICY = policy.SMTP.clone(cte_type="7bit")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_FILENAME = re.compile(r"[^\w. ()+,-]+")


@dataclass(frozen=True, slots=True)
class OutgoingEmail:
    """`data` has CRLF line ends and is ASCII, unless `needs_utf8`."""

    sender: Mailbox
    recipient: Mailbox
    message_id: str
    data: bytes

    @property
    def needs_utf8(self) -> bool:
        return self.sender.needs_utf8 or self.recipient.needs_utf8


@dataclass(frozen=True, slots=True)
class _Attachment:
    mime_type: str
    filename: str
    data: bytes


@dataclass(slots=True)
class _Body:
    """What is collected from a content. `html` stays parallel to `texts`."""

    budget: int
    texts: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    rich: bool = False
    attachments: list[_Attachment] = field(default_factory=list)

    def say(self, text: str, html: str | None = None) -> None:
        if text or html:
            text = _text(text)
            self.texts.append(text)
            plain = f"<p>{escape(text).replace(chr(10), '<br>' + chr(10))}</p>"
            self.html.append(plain if html is None else _text(html))
            self.rich |= html is not None


def compose(
    event: RoomEvent,
    *,
    sender: Mailbox,
    recipient: Mailbox,
    subject: str,
    now: datetime,
    max_attachment_bytes: int,
) -> OutgoingEmail:
    """The e-mail of an event, `InvalidEmailError` if it can't be one.

    Rich content is sent as HTML with a plain alternative. Media in ``data:`` URIs are attached
    (together at most `max_attachment_bytes`), all others are links.
    """
    check_line(subject, "invalid_subject", "the subject")
    if len(subject) > MAX_SUBJECT:
        raise InvalidEmailError("invalid_subject", f"the subject has over {MAX_SUBJECT} characters")
    body = _Body(max_attachment_bytes)
    _collect(event.content, body)
    if not body.attachments and not any(text.strip() for text in body.texts):
        raise InvalidEmailError("empty_message", "the event has neither words nor media")
    message_id = message_id_for(event.id, recipient.address, sender.domain)
    headers = [
        ("Date", format_datetime(now)),
        ("From", sender.header()),
        ("To", recipient.header()),
        ("Message-ID", message_id),
        ("Subject", unstructured("Subject", subject)),
    ]
    if references := references_for(event, recipient.address, sender.domain):
        headers.append(("In-Reply-To", references[-1]))
        headers.append(("References", "\r\n ".join(references)))
    if event.source.channel_type == ChannelType.AI:
        # so that two programs don't answer each other for ever (RFC 3834)
        headers.append(("Auto-Submitted", "auto-replied" if references else "auto-generated"))
    # written here, not by EmailMessage: that decodes and writes anew what looks encoded
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    data = head.encode() + _mime(body).as_bytes(policy=_POLICY)
    return OutgoingEmail(sender, recipient, message_id, data)


def _mime(body: _Body) -> EmailMessage:
    message = EmailMessage(policy=_POLICY)
    message.set_content("\n\n".join(body.texts) or "", charset="utf-8")
    if body.rich:
        page = f"<!DOCTYPE html><html><body>{chr(10).join(body.html)}</body></html>"
        message.add_alternative(page, subtype="html", charset="utf-8")
    for item in body.attachments:
        kind, _, subtype = item.mime_type.partition("/")
        message.add_attachment(item.data, kind, subtype, filename=item.filename, cte="base64")
    return message


def _collect(content: EventContent, body: _Body) -> None:
    match content:
        case CompositeContent():
            for part in content.parts:
                _collect(part, body)
        case TextContent() | SystemContent():
            body.say(content.body)
        case TemplateContent():
            body.say(content.body or "")
        case RichContent():
            _collect_rich(content, body)
        case MediaContent():
            body.say(content.caption or "")
            _collect_file(content.url, content.mime_type, content.filename, body)
        case AudioContent():
            body.say(content.transcript or "")
            _collect_file(content.url, content.mime_type, None, body)
        case VideoContent():
            _collect_file(content.url, content.mime_type, None, body)
        case _:
            pass  # has no words of its own: the transcoder's to replace


def _collect_rich(content: RichContent, body: _Body) -> None:
    html = content.body
    if content.format == "markdown":
        text, html = content.plain_text or content.body, markdown_to_html(content.body)
    else:
        text = content.plain_text or html_to_text(content.body)
    body.say(text, html)
    for item in [*content.cards, *content.buttons]:
        _collect_item(item, body)
    body.say("\n".join(f"- {_text(reply)}" for reply in content.quick_replies))


def _collect_item(item: dict[str, Any], body: _Body) -> None:
    names = ("title", "label", "text", "description", "url")
    words = {name: item[name] for name in names if isinstance(item.get(name), str) and item[name]}
    url = words.pop("url", "")
    text = " - ".join(words.values())
    if url.startswith(("https://", "http://")):
        _link(url, text, body)
    else:
        body.say(text)


def _link(url: str, text: str, body: _Body) -> None:
    shown = f"{text}: {url}" if text else url
    body.say(shown, f'<p><a href="{escape(url)}">{escape(text or url)}</a></p>')


def _collect_file(url: str, mime_type: str, filename: str | None, body: _Body) -> None:
    if not url.startswith("data:"):
        _link(url, filename or "", body)
        return
    data, declared = _data_uri(url, body.budget)
    if len(data) > body.budget:
        raise InvalidEmailError("attachments_too_large", "the attachments are larger than allowed")
    body.budget -= len(data)
    known = declared if _TYPE.fullmatch(declared) else mime_type.partition(";")[0].strip().lower()
    if not _TYPE.fullmatch(known) or known.startswith(("multipart/", "message/")):
        known = "application/octet-stream"
    name = _FILENAME.sub("_", _text(filename or ""))[:128].strip(" .")
    if not name:
        extension = re.sub(r"[^a-z0-9]+.*", "", known.partition("/")[2]) or "bin"
        name = f"attachment-{len(body.attachments) + 1}.{extension}"
    body.attachments.append(_Attachment(known, name, data))


def _data_uri(url: str, limit: int) -> tuple[bytes, str]:
    """Bytes and declared type of a data: URI (RFC 2397)."""
    head, comma, encoded = url.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidEmailError("invalid_attachment", "a data: URI has no comma")
    declared = head.partition(";")[0].strip().lower()
    if not head.rstrip().lower().endswith(";base64"):
        return unquote_to_bytes(encoded[: 3 * limit + 1]), declared
    if len(encoded) // 4 * 3 > limit + 3:
        raise InvalidEmailError("attachments_too_large", "the attachments are larger than allowed")
    try:
        return base64.b64decode(unquote_to_bytes(encoded), validate=True), declared
    except (binascii.Error, ValueError) as error:
        raise InvalidEmailError("invalid_attachment", "a data: URI is not base64") from error


def _text(text: str) -> str:
    """Line ends as ``\\n``; what UTF-8 can't carry, and NUL, replaced."""
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return clean.replace("\r\n", "\n").replace("\r", "\n")
