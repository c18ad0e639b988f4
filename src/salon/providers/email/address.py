"""E-mail addresses: strict about what goes into a header, forgiving about what came in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.header import Header

from salon.providers.email.errors import InvalidEmailError

MAX_ADDRESS = 254
"""Characters of an address (RFC 5321, 4.5.3.1.3)."""
_MAX_LOCAL = 64
_MAX_NAME = 256
# every character that some line reader takes for the end of a line is among these
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NAMED = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^<>"@,;:]*))\s*<(?P<at>[^<>]+)>\s*'
)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name shown for it. `address` has its domain in ASCII."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 takes it."""
        return not self.address.isascii()

    def header(self) -> str:
        """As the value of a header."""
        return f"{phrase(self.name)} <{self.address}>" if self.name else self.address


def parse_mailbox(text: str, what: str) -> Mailbox:
    """One address, ``a@b.example`` or ``Name <a@b.example>``; `what` names it in the error."""
    error = f"invalid_{what}"
    check_line(text, error, f"the {what}")
    address, name = text.strip(), ""
    if named := _NAMED.fullmatch(text):
        address = named["at"].strip()
        quoted = named["quoted"]
        name = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else named["bare"].strip()
    if len(name) > _MAX_NAME:
        raise InvalidEmailError(error, f"the name of the {what} has over {_MAX_NAME} characters")
    local, _, domain = address.rpartition("@")
    ascii_domain = _ascii(domain)
    if not _LOCAL.fullmatch(local) or len(local.encode()) > _MAX_LOCAL or ascii_domain is None:
        raise InvalidEmailError(error, f"not one e-mail address: {text[:MAX_ADDRESS]!r}")
    found = f"{local}@{ascii_domain}"
    if len(found.encode()) > MAX_ADDRESS:
        raise InvalidEmailError(error, f"the {what} has more than {MAX_ADDRESS} characters")
    return Mailbox(found, name)


def normalize_email(address: str) -> str:
    """How an address is compared: without its name, in lower case, its domain in ASCII.
    `InvalidEmailError` if it is none."""
    return parse_mailbox(address, "address").address.lower()


def check_line(text: str, error: str, what: str) -> None:
    """`InvalidEmailError` if `text` would break out of the header it is meant for."""
    if found := _CONTROL.search(text):
        raise InvalidEmailError(
            error, f"{what} has a control character ({found[0]!r} at {found.start()})"
        )


def phrase(name: str) -> str:
    """A display name: a quoted string if it is ASCII, else encoded words (RFC 2047)."""
    if not name.isascii() or "=?" in name:
        return Header(name, "utf-8", maxlinelen=75).encode(linesep="\r\n")
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unstructured(name: str, text: str) -> str:
    """The value of a header of free text, folded; `text` is free of control characters.

    Text that looks like an encoded word is encoded, so that it arrives as it was written.
    """
    plain = text.isascii() and "=?" not in text and all(len(w) < 60 for w in text.split(" "))
    # spaces at a fold or an end are not kept by every reader, inside an encoded word they are
    plain = plain and text == text.strip() and "  " not in text
    charset = "us-ascii" if plain else "utf-8"
    return Header(text, charset, maxlinelen=76, header_name=name).encode(linesep="\r\n")


def _ascii(domain: str) -> str | None:
    try:
        found = domain.lower() if domain.isascii() else domain.encode("idna").decode().lower()
    except UnicodeError:
        return None
    labels = found.split(".")
    return found if all(_LABEL.fullmatch(label) for label in labels) else None
