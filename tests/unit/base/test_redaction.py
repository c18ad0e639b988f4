"""Secrets never reach logs, lists or dumps."""

from __future__ import annotations

import pytest

from salon.base import MASK, redact, redact_text
from salon.base.redaction import is_secret_key


@pytest.mark.parametrize(
    "key",
    [
        "secretKey",
        "api_key",
        "apiKey",
        "APIKEY",
        "Authorization",
        "password",
        "db_passwd",
        "access_token",
        "Set-Cookie",
        "credentials",
    ],
)
def test_values_under_the_names_of_secrets_are_masked(key: str) -> None:
    assert is_secret_key(key)
    assert redact({key: "x"}) == {key: MASK}


@pytest.mark.parametrize("key", ["X-API-Key", "x-api-key", "api-key"])
def test_the_header_of_our_own_credential_is_masked(key: str) -> None:
    assert redact({key: "a-key-of-enough-length"}) == {key: MASK}


@pytest.mark.parametrize("key", ["max_tokens", "tokens_used", "total_tokens", "name", "monkey"])
def test_counts_of_tokens_and_harmless_names_stay(key: str) -> None:
    assert not is_secret_key(key)
    assert redact({key: 3}) == {key: 3}


def test_secrets_are_found_at_any_depth_and_the_original_stays() -> None:
    given = {"tts": [{"secretKey": {"id": 1}}, ("plain", 2)], "n": None, 5: "five"}
    assert redact(given) == {"tts": [{"secretKey": MASK}, ["plain", 2]], "n": None, 5: "five"}
    assert given["tts"][0] == {"secretKey": {"id": 1}}  # type: ignore[index]


def test_an_empty_secret_shows_that_it_is_empty() -> None:
    assert redact({"token": "", "password": None}) == {"token": "", "password": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wss://h/ws?token=abc&x=1", "wss://h/ws?token=***&x=1"),
        ("/ws?x=1&api_key=abc#top", "/ws?x=1&api_key=***#top"),
        ("GET /ws?Key=abc HTTP/1.1", "GET /ws?Key=*** HTTP/1.1"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("basic dXNlcjpwYXNz", "basic ***"),
        ("wrong key sk-abcdefghijklmnop given", "wrong key sk-*** given"),
        ("sk-proj-AbC_123-xyz890000", "sk-***"),
        ("bearer sk-abcdefghijklmnop", "bearer ***"),
        ("two: sk-aaaaaaaaaaaa, pk-bbbbbbbbbbbb", "two: sk-***, pk-***"),
    ],
)
def test_credentials_in_free_text_are_masked(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact({"line": text}) == {"line": expected}


@pytest.mark.parametrize(
    "text",
    ["sk-short", "task-management-software", "bearer of news", "https://h/?q=token", "a ski-lift"],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact_text(text) == text


def test_masking_twice_changes_nothing() -> None:
    once = redact_text("?token=abc Bearer abcdefgh sk-abcdefghijklmnop")
    assert redact_text(once) == once
