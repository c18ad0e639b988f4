"""The lines of IMAP4rev1 (RFC 3501) that a reader of one mailbox needs. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from salon.providers.email.errors import MailboxError

_TOKEN = re.compile(rb'\s*(?:([()])|"((?:[^"\\]|\\.)*)"|([^\s()"]+\[[^\]]*\][^\s()"]*|[^\s()"]+))')
_LITERAL = re.compile(rb"\{(\d{1,12})\}$")
_CODE = re.compile(rb"\[([A-Za-z-]+)(?: ([^\]]*))?\]")


@dataclass(slots=True)
class Response:
    """One response: its line without the literals, and those in their order.

    In `line` a literal is still announced by ``{n}``.
    """

    line: bytes
    literals: list[bytes] = field(default_factory=list)

    @property
    def words(self) -> list[bytes]:
        return self.line.split(b" ", 3)

    def tagged(self, tag: bytes) -> bool:
        return self.line.startswith(tag + b" ")

    @property
    def status(self) -> bytes:
        """``OK``, ``NO``, ``BAD`` or the name of an untagged response."""
        words = self.words
        return words[1].upper() if len(words) > 1 else b""

    @property
    def text(self) -> str:
        """What follows the status, for people."""
        rest = self.line.split(b" ", 2)
        return rest[2].decode("utf-8", "replace")[:300] if len(rest) > 2 else ""

    def code(self, name: bytes) -> bytes | None:
        """The argument of the response code ``[NAME argument]``, None without that code."""
        found = _CODE.search(self.line)
        return (found[2] or b"") if found and found[1].upper() == name else None


def literal_size(line: bytes) -> int | None:
    """How many bytes follow a line that ends by announcing a literal."""
    found = _LITERAL.search(line)
    return int(found[1]) if found else None


def quoted(text: str) -> bytes:
    """A quoted string; `text` is ASCII without control characters."""
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode("ascii") + b'"'


def numbers(response: Response) -> list[int]:
    """The numbers of a ``* SEARCH`` response."""
    return [int(word) for word in response.line.split()[2:] if word.isdigit()]


def fetched(response: Response) -> dict[bytes, bytes]:
    """The items of a ``* n FETCH (...)`` response, by name in upper case; nested lists whole."""
    _, _, rest = response.line.partition(b"(")
    literals = iter(response.literals)
    items: dict[bytes, bytes] = {}
    name: bytes | None = None
    depth = 0
    nested: list[bytes] = []
    for found in _TOKEN.finditer(rest):
        bracket, text, atom = found.groups()
        if bracket == b"(":
            depth += 1
            continue
        if bracket == b")":
            depth -= 1
            if depth < 0:
                break
            if depth == 0 and name is not None:
                items[name], name = b" ".join(nested), None
                nested = []
            continue
        value = atom if atom is not None else re.sub(rb"\\(.)", rb"\1", text or b"")
        if atom is not None and literal_size(atom) is not None:
            value = next(literals, b"")
        if depth:
            nested.append(value)
        elif name is None:
            name = value.upper()
        else:
            items[name], name = value, None
    return items


def check_limit(size: int, limit: int) -> int:
    """`size` if it is allowed, so that no server can fill the memory."""
    if size > limit:
        raise MailboxError(f"the server sends {size} bytes where at most {limit} were asked for")
    return size
