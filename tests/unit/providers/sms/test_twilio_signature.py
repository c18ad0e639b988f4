"""The vendor's signature scheme."""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.providers.sms import twilio_signature, verify_twilio_signature

TOKEN = "12345"
URL = "https://example.com/myapp.php?foo=1&bar=2"
PARAMS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675310",
    "Digits": "1234",
    "From": "+14158675310",
    "To": "+18005551212",
}
DOCUMENTED = "L/OH5YylLD5NRKLltdqwSvS0BnU="
"""What the vendor's description of the scheme gives for them."""


def body(params: dict[str, str]) -> bytes:
    return urlencode(params).encode()


def test_the_documented_example() -> None:
    assert twilio_signature(TOKEN, URL, PARAMS.items()) == DOCUMENTED
    assert verify_twilio_signature(TOKEN, URL, body(PARAMS), DOCUMENTED)
    older = PARAMS | {"Caller": "+14158675309", "From": "+14158675309"}
    url = URL.replace("example", "mycompany")
    assert twilio_signature(TOKEN, url, older.items()) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    ("token", "url", "params", "signature"),
    [
        ("12346", URL, PARAMS, DOCUMENTED),
        ("", URL, PARAMS, DOCUMENTED),
        (TOKEN, URL.replace("foo=1", "foo=2"), PARAMS, DOCUMENTED),
        (TOKEN, URL.replace("https", "http"), PARAMS, DOCUMENTED),
        (TOKEN, URL, PARAMS | {"Digits": "1235"}, DOCUMENTED),
        (TOKEN, URL, PARAMS | {"More": "x"}, DOCUMENTED),
        (TOKEN, URL, PARAMS, ""),
        (TOKEN, URL, PARAMS, DOCUMENTED.lower()),
        (TOKEN, URL, PARAMS, DOCUMENTED + "é"),
        (TOKEN, "/relative", PARAMS, DOCUMENTED),
        (TOKEN, "ftp://example.com/", PARAMS, DOCUMENTED),
        (TOKEN, "https://example.com:port/", PARAMS, DOCUMENTED),
        (TOKEN, URL, {f"p{n}": "" for n in range(300)}, DOCUMENTED),
    ],
)
def test_R216_anything_else_is_refused(
    token: str, url: str, params: dict[str, str], signature: str
) -> None:
    assert not verify_twilio_signature(token, url, body(params), signature)


def test_the_default_port_may_be_written_or_not() -> None:
    bare, full = "https://a.example/x", "https://a.example:443/x"
    for signed, seen in ((bare, full), (full, bare)):
        assert verify_twilio_signature(TOKEN, seen, b"", twilio_signature(TOKEN, signed))


def test_the_same_value_twice_counts_once() -> None:
    signature = twilio_signature(TOKEN, URL, [("a", "1"), ("a", "2")])
    assert verify_twilio_signature(TOKEN, URL, b"a=2&a=1&a=1", signature)


def test_json_needs_its_hash_in_the_url() -> None:
    data = b'{"a": 1}'
    url = f"{URL}&bodySHA256={hashlib.sha256(data).hexdigest()}"
    signature = twilio_signature(TOKEN, url)
    assert verify_twilio_signature(TOKEN, url, data, signature)
    assert not verify_twilio_signature(TOKEN, url, b'{"a": 2}', signature)
    twice = f"{url}&bodySHA256=00"
    assert not verify_twilio_signature(TOKEN, twice, data, twilio_signature(TOKEN, twice))
    assert not verify_twilio_signature(TOKEN, URL, data, signature)


def test_a_body_that_is_no_text_is_refused() -> None:
    assert not verify_twilio_signature(TOKEN, URL, b"\xff\xfe", twilio_signature(TOKEN, URL))


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=8))
def test_every_form_verifies_and_no_changed_one(params: dict[str, str]) -> None:
    signature = twilio_signature(TOKEN, URL, params.items())
    assert verify_twilio_signature(TOKEN, URL, body(params), signature)
    assert not verify_twilio_signature(TOKEN, URL, body(params | {"x-extra": "1"}), signature)
