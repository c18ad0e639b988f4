"""RFC 5322 messages from outside. Knows their defects, never raises for one but a missing sender.

The parser of the standard library runs with its oldest policy: the newer ones raise on headers
that are broken in ways they did not foresee.
"""

from __future__ import annotations

import binascii
import hashlib
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.policy import Compat32
from email.utils import getaddresses, parsedate_to_datetime
from typing import TYPE_CHECKING

from salon.models import InboundMessage
from salon.providers.email.address import normalize_email
from salon.providers.email.errors import InvalidEmailError
from salon.providers.email.markup import html_to_text
from salon.providers.email.received import DEFAULT_LIMITS, Attachment, EmailLimits, ReceivedEmail
from salon.providers.email.thread import bounded, message_ids

_MAX_HEADER = 16_384
_MAX_PARTS = 200
_MAX_RECIPIENTS = 50
_MAX_RAW_HEADERS = 65_536
_MAX_HEADERS = 10_000
_MAX_BOUNDARIES = 10_000
if TYPE_CHECKING:
    _Parsed = Message[str, str]
else:
    _Parsed = Message


class _Bounded(Compat32):
    """Cuts every header, the time that parameters take grows with their square, and counts them.

    `count` is a list of one number, since policies can't change.
    """

    count: list[int] = [0]  # noqa: RUF012 - a default, each message brings its own

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        self.count[0] += 1
        if self.count[0] > _MAX_HEADERS:
            raise MessageError(f"more than {_MAX_HEADERS} headers")
        kept: list[str] = []
        left = _MAX_HEADER
        for line in sourcelines:
            kept.append(line[:left])
            left -= len(line)
            if left <= 0:
                break
        return super().header_source_parse(kept)


def parse_email(
    raw: bytes,
    channel_id: str,
    *,
    size: int | None = None,
    source: dict[str, str | int] | None = None,
    limits: EmailLimits = DEFAULT_LIMITS,
) -> InboundMessage:
    """The message in `raw`; `InvalidEmailError` if nobody is named as its sender.

    `size` is that of the whole message if `raw` is only its beginning. The idempotency key is the
    Message-ID, without one a digest of `raw`. `raw_payload` has the headers as they came (up to
    64 KiB) with `source` beside them. CPU time grows with the size: call it in a thread.
    """
    whole = len(raw) if size is None else size
    raw = raw[: limits.max_bytes]
    found = read_email(raw, limits)
    found.truncated |= whole > len(raw)
    headers = raw.partition(b"\r\n\r\n")[0][:_MAX_RAW_HEADERS].decode("utf-8", "replace")
    return found.to_inbound(
        channel_id,
        key=f"sha256:{hashlib.sha256(raw).hexdigest()}",
        raw_payload={"headers": headers.replace("\x00", "\ufffd"), "size": whole, **(source or {})},
        limits=limits,
    )


def read_email(raw: bytes, limits: EmailLimits = DEFAULT_LIMITS) -> ReceivedEmail:
    """The parts of a message; `InvalidEmailError` without a sender."""
    raw, cut = _few_parts(raw)
    try:
        policy = _Bounded(count=[0])  # type: ignore[call-arg] # every attribute is an argument
        message = message_from_bytes(raw, policy=policy)
    except (MessageError, ValueError, LookupError, RecursionError) as error:
        raise InvalidEmailError("invalid_message", f"not a message: {error}") from error
    sender, name = _sender(message)
    parts = _parts(message, limits)
    return ReceivedEmail(
        sender=sender,
        sender_name=name,
        recipients=_addresses(message, "To"),
        cc=_addresses(message, "Cc"),
        subject=" ".join(_header(message, "Subject").split())[:998],
        text=parts.words(),
        message_id=next(iter(message_ids(_header(message, "Message-ID"))), None),
        in_reply_to=message_ids(_header(message, "In-Reply-To"))[:1],
        references=bounded(message_ids(_header(message, "References"))),
        date=_date(message),
        automatic=_automatic(message),
        attachments=parts.attachments,
        attachment_count=parts.count,
        truncated=parts.truncated or cut,
    )


def _few_parts(raw: bytes) -> tuple[bytes, bool]:
    """The message up to the part that is one too many, since the parser makes objects of all."""
    at = -1
    for _ in range(_MAX_BOUNDARIES):
        at = raw.find(b"\n--", at + 1)
        if at < 0:
            return raw, False
    return raw[:at], True


@dataclass(slots=True)
class _Parts:
    """What the leaves of a message hold."""

    limits: EmailLimits
    texts: list[str]
    pages: list[str]
    attachments: list[Attachment]
    count: int = 0
    budget: int = 0
    truncated: bool = False

    def words(self) -> str:
        """Plain text if there is any, else that of the HTML."""
        text = "\n\n".join(text for text in self.texts if text.strip())
        return text or "\n\n".join(html_to_text(page) for page in self.pages[:4])

    def add(self, part: _Parsed) -> None:
        kind = part.get_content_type()
        try:
            filename = part.get_filename() or ""
        except (ValueError, LookupError, TypeError):
            filename = ""
        attached = part.get_content_disposition() == "attachment" or bool(filename)
        if kind in ("text/plain", "text/html") and not attached:
            (self.texts if kind == "text/plain" else self.pages).append(_decoded(part))
            return
        self.count += 1
        if len(self.attachments) >= self.limits.max_attachments:
            self.truncated = True
            return
        data = _payload(part)
        keep = 0 < len(data) <= self.budget
        self.budget -= len(data) if keep else 0
        shown = _printable(_unworded(filename)).replace("/", "_").replace("\\", "_")[:128]
        self.attachments.append(
            Attachment(shown or "attachment", kind[:127], len(data), data if keep else None)
        )


def _parts(message: _Parsed, limits: EmailLimits) -> _Parts:
    found = _Parts(limits, [], [], [], budget=limits.inline_bytes)
    waiting: list[_Parsed] = [message]
    seen = 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > _MAX_PARTS:
            found.truncated = True
            break
        children = part.get_payload()
        if isinstance(children, list) and part.get_content_maintype() == "multipart":
            waiting.extend(child for child in reversed(children) if isinstance(child, Message))
        else:
            found.add(part)
    return found


def _payload(part: _Parsed) -> bytes:
    """The decoded bytes of a leaf; a message inside a message as it is written."""
    if part.get_content_maintype() == "message":
        inner = part.get_payload()
        if isinstance(inner, list):
            return _written(inner[0]) if inner and isinstance(inner[0], Message) else b""
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, binascii.Error):
        return b""
    return data if isinstance(data, bytes) else b""


def _written(message: _Parsed) -> bytes:
    try:
        return message.as_bytes()
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError):
        return b""


def _decoded(part: _Parsed) -> str:
    data = _payload(part)
    charset = _charset(part)
    try:
        text = data.decode(charset, "replace")
    except (LookupError, ValueError):
        text = data.decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")


def _charset(part: _Parsed) -> str:
    try:
        return part.get_content_charset("utf-8") or "utf-8"
    except (ValueError, LookupError, TypeError):
        return "utf-8"


def _header(message: _Parsed, name: str) -> str:
    """A header's first occurrence, decoded, on one line."""
    value = message.get(name)
    return "" if value is None else _printable(_unworded(str(value)[:_MAX_HEADER]))


def _unworded(text: str) -> str:
    """Encoded words (RFC 2047) decoded, raw bytes taken for UTF-8."""
    text = text.replace("\r", "").replace("\n", "")  # unfolded: the space behind them stays
    try:
        pieces = decode_header(text)
    except (MessageError, ValueError, binascii.Error):
        pieces = [(text, None)]
    words: list[str] = []
    for piece, charset in pieces:
        if isinstance(piece, str):
            words.append(piece.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
            continue
        try:
            words.append(piece.decode(charset or "utf-8", "replace"))
        except (LookupError, ValueError):
            words.append(piece.decode("utf-8", "replace"))
    return "".join(words)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _raw_addresses(message: _Parsed, name: str) -> list[tuple[str, str]]:
    values = [str(value)[:_MAX_HEADER] for value in message.get_all(name, [])[:5]]
    clean = [
        value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for value in values
    ]
    try:
        return getaddresses(clean)
    except RecursionError:  # comments inside comments
        return []


def _sender(message: _Parsed) -> tuple[str, str]:
    """The one author. Headers that different programs would read differently are refused, since
    the address decides who somebody is."""
    if len(message.get_all("From", [])) > 1:
        raise InvalidEmailError("invalid_sender", "the message has several From headers")
    named = [(name, address) for name, address in _raw_addresses(message, "From") if address]
    if len(named) != 1:
        raise InvalidEmailError("invalid_sender", "the From header does not name one address")
    name, address = named[0]
    return normalize_email(address), " ".join(_printable(_unworded(name)).split())[:256]


def _addresses(message: _Parsed, name: str) -> list[str]:
    found: list[str] = []
    for _, address in _raw_addresses(message, name):
        try:
            found.append(normalize_email(address))
        except InvalidEmailError:
            continue
        if len(found) == _MAX_RECIPIENTS:
            break
    return found


def _date(message: _Parsed) -> str | None:
    try:
        return parsedate_to_datetime(_header(message, "Date")).isoformat()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _automatic(message: _Parsed) -> str | None:
    """Why nobody should answer the message by a program (RFC 3834), None if a person wrote it."""
    submitted = _header(message, "Auto-Submitted").partition(";")[0].strip().lower()
    if submitted and submitted != "no":
        return "auto-submitted"
    if message.get_content_type() == "multipart/report":
        return "report"
    if "Return-Path" in message and _header(message, "Return-Path") == "<>":
        return "bounce"
    if _header(message, "Precedence").lower() in ("bulk", "junk", "list"):
        return "bulk"
    return "list" if "List-Id" in message else None
