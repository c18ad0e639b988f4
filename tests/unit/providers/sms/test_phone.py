"""Numbers as E.164 writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.providers.sms import is_valid_phone, normalize_phone


@pytest.mark.parametrize(
    ("number", "region", "expected"),
    [
        ("+15558675310", "US", "+15558675310"),
        (" +1 (555) 867-5310 ", "DE", "+15558675310"),
        ("418-555-1234", "CA", "+14185551234"),
        ("1 418 555 1234", "us", "+14185551234"),
        ("011 49 30 901820", "US", "+4930901820"),
        ("0049 30 901820", "GB", "+4930901820"),
        ("030 / 901820", "DE", "+4930901820"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("06 698 12345", "IT", "+3906698 12345".replace(" ", "")),
    ],
)
def test_a_number_becomes_international(number: str, region: str, expected: str) -> None:
    assert normalize_phone(number, region) == expected


@pytest.mark.parametrize(
    "number",
    [
        "",
        "+",
        "12",
        "+0123456789",
        "+1555867531",
        "+1055867531012",
        "+12345678901234567",
        "Bank",
        "555-CALL-NOW",
        "+155586753१0",
        "1" * 100,
        "+1 555 867 5310 ext 4",
        "whatsapp:+15558675310",
    ],
)
def test_what_no_number_can_be_is_refused(number: str) -> None:
    assert not is_valid_phone(number)
    with pytest.raises(ValueError, match="not a phone number"):
        normalize_phone(number)


def test_an_unknown_region_asks_for_the_plus() -> None:
    with pytest.raises(ValueError, match=r"write the number with \+"):
        normalize_phone("5551234567", "XX")


@given(st.text(max_size=80))
def test_normalising_is_total_and_stable(text: str) -> None:
    if is_valid_phone(text):
        found = normalize_phone(text)
        assert normalize_phone(found, "DE") == found
        assert found[1:].isascii()
        assert 8 <= len(found) <= 16
