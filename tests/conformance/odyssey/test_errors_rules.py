"""Exceptions (O72-O78)."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from salon.clients.odyssey import errors
from salon.clients.odyssey.errors import (
    AccountSuspendedError,
    ApiKeyError,
    ConcurrentLimitReachedError,
    DeniedError,
    InvalidReplyError,
    MissingApiKeyError,
    MissingFieldError,
    MonthlyLimitReachedError,
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyError,
    OdysseyStreamError,
    OdysseyUsageError,
    RateLimitError,
    RequestError,
    StreamDurationExceededError,
    UnreachableError,
    connect_error,
    stream_error,
    usage_error,
)

CODES = {
    "MONTHLY_LIMIT_REACHED": MonthlyLimitReachedError,
    "CONCURRENT_LIMIT_REACHED": ConcurrentLimitReachedError,
    "STREAM_DURATION_EXCEEDED": StreamDurationExceededError,
    "ACCOUNT_SUSPENDED": AccountSuspendedError,
    "RATE_LIMITED": RateLimitError,
}


def test_O75_the_tree_of_the_published_client() -> None:
    for kind in (OdysseyAuthError, OdysseyConnectionError, OdysseyStreamError, OdysseyUsageError):
        assert issubclass(kind, OdysseyError)
    for kind in CODES.values():
        assert issubclass(kind, OdysseyUsageError)


@pytest.mark.parametrize("code", [*CODES, "SOMETHING_NEW"])
@pytest.mark.parametrize("key", ["error", "code"])
def test_O75_the_class_follows_from_the_code(code: str, key: str) -> None:
    payload = {
        key: code,
        "message": "No more.",
        "action": "wait",
        "action_url": "https://h/billing",
        "details": {"limit": 5},
    }
    made = usage_error(payload)
    assert made is not None
    assert type(made) is CODES.get(code, OdysseyUsageError)
    assert (made.code, made.message, made.action) == (code, "No more.", "wait")
    assert (made.action_url, made.details) == ("https://h/billing", {"limit": 5})


def test_O75_error_comes_before_code_and_without_either_it_is_unknown() -> None:
    both = usage_error({"error": "RATE_LIMITED", "code": "X", "message": "m", "action": "a"})
    assert type(both) is RateLimitError
    for odd in ({}, {"error": 5}, {"error": None, "code": ""}):
        made = usage_error({**odd, "message": "m", "action": "a"})
        assert made is not None
        assert made.code == "UNKNOWN"
        assert (made.action_url, made.details) == (None, {})


@pytest.mark.parametrize(
    "payload",
    [None, "text", [], {}, {"message": "m"}, {"action": "a"}, {"message": "", "action": "a"}],
)
def test_O75_without_message_and_action_it_is_no_usage_error(payload: Any) -> None:
    assert usage_error(payload) is None


def test_O76_the_plain_message_and_repr() -> None:
    made = RateLimitError("RATE_LIMITED", "Too fast. Slow down.", "wait")
    assert made.args[0] == "Too fast. Slow down."
    assert repr(made) == "RateLimitError(code='RATE_LIMITED', message='Too fast. Slow down.')"


@pytest.mark.parametrize(
    ("kind", "details", "shown"),
    [
        (
            MonthlyLimitReachedError,
            {"used_hours": 5.2, "limit_hours": 7, "reset_date": "2026-08-01"},
            ["5.2", "7", "2026-08-01"],
        ),
        (ConcurrentLimitReachedError, {"active_count": 3, "limit": 4}, ["3", "4"]),
        (StreamDurationExceededError, {"max_duration_seconds": 150}, ["150"]),
        (StreamDurationExceededError, None, ["300"]),
        (AccountSuspendedError, {"reason": "unpaid"}, ["unpaid"]),
        (RateLimitError, {"retry_after_seconds": 9}, ["9"]),
        (OdysseyUsageError, {"anything": 77}, []),
    ],
)
def test_O76_str_is_a_box_with_title_details_and_address(
    kind: type[OdysseyUsageError], details: dict[str, Any] | None, shown: list[str]
) -> None:
    made = kind("C", "The title. The rest of it.", "do this", "https://h/x", details)
    lines = [line.strip("| ") for line in str(made).strip().splitlines()]
    assert lines[0] == lines[-1]
    assert set(lines[0]) == {"+", "-"}
    assert lines[1:3] == ["The title", "The rest of it."]
    assert lines[-3:-1] == ["do this", "-> https://h/x"]
    assert len(lines) == 6 + len(shown)
    for text, line in zip(shown, lines[3:], strict=False):
        assert line.endswith(f": {text}")


def test_O76_the_box_is_even_short_and_harmless_to_a_terminal() -> None:
    made = OdysseyUsageError("C", "\x1b[31mred " + "word " * 5000, "a\nb", "https://h/\x07")
    lines = str(made).strip().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) < 60
    assert all(line.isprintable() for line in lines)
    assert made.args[0].startswith("\x1b")


@pytest.mark.parametrize(
    ("reason", "kind", "code"),
    [
        ("quota_exceeded", MonthlyLimitReachedError, "MONTHLY_LIMIT_REACHED"),
        ("concurrent_limit_exceeded", ConcurrentLimitReachedError, "CONCURRENT_LIMIT_EXCEEDED"),
        ("session_timeout", StreamDurationExceededError, "STREAM_DURATION_EXCEEDED"),
    ],
)
def test_O77_limits_reported_in_a_stream(
    reason: str, kind: type[OdysseyUsageError], code: str
) -> None:
    made = stream_error(reason, "credit lease expired")
    assert type(made) is kind
    assert (made.code, made.args[0]) == (code, "credit lease expired")


def test_O77_other_reasons_are_stream_errors() -> None:
    denied, other = stream_error("lease_denied", "x"), stream_error("moderation", "Not this")
    assert type(denied) is type(other) is OdysseyStreamError
    assert denied.args[0] == "Stream request denied - please try again"
    assert other.args[0] == "moderation: Not this"


def test_O78_builtin_and_own_class_at_once_but_never_both_builtins() -> None:
    own = {
        ApiKeyError: (OdysseyAuthError, ValueError),
        DeniedError: (OdysseyAuthError, ConnectionError),
        UnreachableError: (OdysseyConnectionError, ConnectionError),
        InvalidReplyError: (OdysseyConnectionError, ValueError),
        MissingApiKeyError: (OdysseyConnectionError, ValueError),
        RequestError: (OdysseyError, ValueError),
        MissingFieldError: (OdysseyError, KeyError),
    }
    for kind, bases in own.items():
        assert all(issubclass(kind, base) for base in bases)
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, OdysseyError):
            assert not issubclass(kind, ConnectionError) or not issubclass(kind, ValueError)


@pytest.mark.parametrize(
    "error",
    [
        ApiKeyError("k", status=401),
        DeniedError("d", status=403),
        UnreachableError("u"),
        InvalidReplyError("i"),
        MissingApiKeyError(),
        RateLimitError("RATE_LIMITED", "m", "a"),
    ],
)
def test_O72_what_has_its_class_keeps_it(error: Exception) -> None:
    assert connect_error(error) is error


def test_O72_D10_anything_else_is_a_connection_error_whatever_its_text() -> None:
    for text in ("invalid 401", "403 refused", "plain"):
        made = connect_error(ValueError(text))
        assert type(made) is OdysseyConnectionError
        assert made.args[0] == text
    assert connect_error(TimeoutError()).args[0] == "TimeoutError"
    assert connect_error(OSError(5, "Input/output error")).args[0] == "[Errno 5] Input/output error"
    assert connect_error(RequestError("gone", status=404)).status == 404


@pytest.mark.parametrize(
    "error",
    [
        ApiKeyError("k", status=401),
        UnreachableError("u", status=500),
        MissingApiKeyError(),
        MissingFieldError("total"),
        OdysseyStreamError("s"),
        MonthlyLimitReachedError(
            "MONTHLY_LIMIT_REACHED", "m", "a", "https://h", {"limit_hours": 1}
        ),
    ],
)
def test_O75_errors_can_be_copied_and_sent_between_processes(error: OdysseyError) -> None:
    for made in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(made) is type(error)
        assert made.args == error.args
        assert made.__dict__ == error.__dict__
        assert str(made) == str(error)
