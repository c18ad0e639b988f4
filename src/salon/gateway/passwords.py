"""Passwords in addresses of SIP (``sip:user:password@host``), in time linear in the text: it comes
from outside, and every call waits meanwhile."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"(?i)\b(?:sips?|tel):")
# Greedy from the start: each goes to the end of a part and back to its last break, once.
_BREAKS = re.compile(r"(?s).*[\s<>]")
_JSON_BREAKS = re.compile(r"(?s).*[\s<>\"\\]")
_ADDRESS_BREAKS = re.compile(r"(?s).*[<>]")


def hide_passwords(text: str, instead: str, *, json: bool = False) -> str:
    """Any text, each ``:password`` of an address in it replaced by `instead`. In `json` no address
    goes beyond its string."""
    return _hide(text, instead, _JSON_BREAKS if json else _BREAKS)


def hide_password(address: str, instead: str) -> str:
    """The same for one address, which is of SIP although it need not say so (G60)."""
    return _hide(address, instead, _ADDRESS_BREAKS, bare=True)


def _hide(text: str, instead: str, breaks: re.Pattern[str], *, bare: bool = False) -> str:
    *parts, rest = text.split("@")
    hidden = [_hidden(part, instead, breaks, bare=bare) if ":" in part else part for part in parts]
    return "@".join([*hidden, rest])


def _hidden(part: str, instead: str, breaks: re.Pattern[str], *, bare: bool) -> str:
    """What lies before an @."""
    last = breaks.match(part)
    user = last.end() if last is not None else 0
    scheme = _SCHEME.search(part, user)
    if scheme is not None:
        user = scheme.end()
    elif not bare:
        return part
    colon = part.find(":", user)
    return part if colon <= user else part[:colon] + instead
