"""Passwords of addresses are hidden whatever surrounds them, and however much there is: G213."""

from __future__ import annotations

import subprocess
import sys

import pytest

from salon.gateway.passwords import hide_password, hide_passwords

HOSTILE = ("sip:", "sip:a:", "sip:a:b@", "<a:", "a:", "://", "://a:", "@", "a ", ":")
LONG = 100_000


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("sip:ann:pw@x", "sip:ann*@x"),
        ("call SIPS:ann:pw@x or <sip:bob:pw:pw@y:5060>", "call SIPS:ann*@x or <sip:bob*@y:5060>"),
        ("sip:ann@x:5060 sip:x:5060", "sip:ann@x:5060 sip:x:5060"),
        ("gossip:ann:pw@x", "gossip:ann:pw@x"),
        ("ann:pw@x", "ann:pw@x"),
        ("sip:x;y sip:ann:pw@x", "sip:x;y sip:ann*@x"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_G213_a_password_within_any_text(text: str, hidden: str) -> None:
    assert hide_passwords(text, "*") == hidden


@pytest.mark.parametrize(
    ("address", "hidden"),
    [
        ("sip:ann:pw@x", "sip:ann@x"),
        ("ann:p w@x", "ann@x"),
        ('"Ann: B" <ann:pw@x:5060>;tag=1', '"Ann: B" <ann@x:5060>;tag=1'),
        ('"Ann" <sip:ann@x>', '"Ann" <sip:ann@x>'),
        ("sip:ann@x:5060", "sip:ann@x:5060"),
        ("tel:+4930", "tel:+4930"),
        ("1001", "1001"),
        ("", ""),
    ],
)
def test_G200_the_password_of_one_address(address: str, hidden: str) -> None:
    assert hide_password(address, "") == hidden


def test_G213_in_json_no_address_goes_beyond_its_string() -> None:
    text = '{"a":"sip:x","b":"y@z","c":"sip:ann:pw@x"}'
    assert hide_passwords(text, "*", json=True) == text.replace(":pw@", "*@")


def test_G213_no_text_takes_more_than_its_length() -> None:
    """In a process of its own, which is given up on: what looks at everything twice takes hours."""
    script = (
        "from salon.gateway.farewell import party\n"
        "from salon.gateway.journal import kept_text\n"
        "from salon.gateway.options import masked_data\n"
        f"for part in {HOSTILE!r}:\n"
        f"    text = part * ({LONG} // len(part))\n"
        "    for one in (text, text + '@'):\n"
        "        masked_data({'data': one, 'caller': one})\n"
        "        kept_text({'data': one})\n"
        "        party(one)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)
