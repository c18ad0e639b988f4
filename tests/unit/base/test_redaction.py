"""Secrets never reach logs, lists or dumps."""

from __future__ import annotations

import time
from typing import Any

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
        "auth",
        "proxy-auth",
        "httpAuth",
        "auth_key",
        "private_key",
        "privateKey",
        "aws_access_key_id",
        "signature",
        "X-Twilio-Signature",
        "passphrase",
        "db_pwd",
        "Cookie",
        "JSESSIONID",
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
        ("see https://u:pw@host/x?n=1", "see https://***@host/x?n=1"),
        ("https://acct0live:@host/", "https://***@host/"),
        ("redis://:p@ss@host:6379/0", "redis://***@host:6379/0"),
        ("https://u:pw@h/x?access_token=zzz&b=1", "https://***@h/x?access_token=***&b=1"),
        ("https://ghp0abcdefghijklmnopqrst@git.example/r", "https://***@git.example/r"),
        ("https://x/a?X-Amz-Signature=ab12&x=1", "https://x/a?X-Amz-Signature=***&x=1"),
        ("https://x/a?sv=1&sig=ab%2B&se=2", "https://x/a?sv=1&sig=***&se=2"),
    ],
)
def test_credentials_in_free_text_are_masked(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact({"line": text}) == {"line": expected}


@pytest.mark.parametrize(
    "text",
    [
        "sk-short",
        "task-management-software",
        "bearer of news",
        "https://h/?q=token",
        "a ski-lift",
        "https://host:8080/a@b",
        "mail ann@x.example: see https://h/",
        "https://h/?max_tokens=5&author=ann&design=1",
        '{"a":"https://h","b":"c:d@e"}',
        "ssh://firstname.of.a.long.name@host/x",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact_text(text) == text


def test_masking_twice_changes_nothing() -> None:
    once = redact_text("?token=abc Bearer abcdefgh sk-abcdefghijklmnop")
    assert redact_text(once) == once


@pytest.mark.parametrize(
    "key",
    ["author", "authenticated", "auth_type", "signed_by", "public_key", "session_id", "keyboard"],
)
def test_words_that_only_resemble_those_of_secrets_stay(key: str) -> None:
    assert redact({key: "x1"}) == {key: "x1"}


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        ({"key": "4f9a8b7c6d5e4f3a2b1c0d9e"}, True),
        ({"license_key": "4f9a8b7c6d5e4f3a2b1c0d9e"}, True),
        ({"pass": "hunter2"}, True),
        ({"pin": "1234"}, True),
        ({"pin": 1234}, True),
        ({"otp": "123456"}, True),
        ({"key": "greeting"}, False),
        ({"key": "photos/2026/01/holiday-1.jpg"}, False),
        ({"key": "a-rather-long-name-of-a-setting"}, False),
        ({"key": {"id": "1"}}, False),
        ({"pin": "on the map"}, False),
        ({"pin": True}, False),
        ({"pass": "denied"}, False),
        ({"pass": 2}, False),
        ({"monkey": "4f9a8b7c6d5e4f3a2b1c0d9e"}, False),
    ],
)
def test_under_plain_words_only_what_looks_like_a_credential_is_masked(
    given: dict[str, Any], masked: bool
) -> None:
    assert redact(given) == (dict.fromkeys(given, MASK) if masked else given)


def test_whether_there_is_a_secret_is_none() -> None:
    assert redact({"has_token": True, "signature_valid": False}) == {
        "has_token": True,
        "signature_valid": False,
    }


def test_pairs_in_lists_are_names_and_values() -> None:
    given = [["authorization", "Bearer q"], ("api_key", "q"), (b"Cookie", b"a=b"), ["to", "ann"]]
    assert redact(given) == [
        ["authorization", MASK],
        ["api_key", MASK],
        [b"Cookie", MASK],
        ["to", "ann"],
    ]
    assert redact({"tags": ["token", "expired"]}) == {"tags": ["token", "expired"]}


@pytest.mark.parametrize(
    ("name", "value"), [("name", "value"), ("key", "value"), ("Name", "Value"), ("Key", "Value")]
)
def test_maps_in_lists_may_be_names_and_values(name: str, value: str) -> None:
    assert redact([{name: "Authorization", value: "q"}, {name: "To", value: "ann"}]) == [
        {name: "Authorization", value: MASK},
        {name: "To", value: "ann"},
    ]
    assert redact({name: "authorization", "n": 1}) == {name: "authorization", "n": 1}


@pytest.mark.parametrize(
    "piece", ["://", "://a:", "?a", "&token", "&", "a:", "://aaaaaaaaaaaaaaaaaaaa", "bearer "]
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.perf_counter()
    redact({piece * 20_000: piece * 20_000, "key": piece * 20_000})
    assert time.perf_counter() - began < 2


def test_masking_urls_twice_changes_nothing() -> None:
    once = redact_text("https://u:pw@h/?sig=abc https://ghp0abcdefghijklmnopqrst@h:1/x")
    assert redact_text(once) == once
