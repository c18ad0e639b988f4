"""What of an address may lie on a disk: G213."""

from __future__ import annotations

import pytest

from salon.gateway.journal import kept_text


@pytest.mark.parametrize("scheme", ["sip", "sips", "SIP"])
def test_G213_a_password_within_a_text_is_masked(scheme: str) -> None:
    kept = kept_text({"error": f"<{scheme}:ann:secret-1@example.org> did not answer"})
    assert "secret-1" not in kept
    assert f"{scheme}:ann:" in kept
    assert "@example.org" in kept


def test_G213_an_address_without_a_password_stays() -> None:
    assert "sip:ann@example.org:5060" in kept_text({"to": "sip:ann@example.org:5060"})
