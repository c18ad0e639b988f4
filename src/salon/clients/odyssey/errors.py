"""What can go wrong between an Odyssey client and its service (section 10, O13-O21, O72-O78).

    OdysseyError                        `status` is that of the HTTP answer, if there was one
    ├── OdysseyAuthError
    │   ├── ApiKeyError                 also ValueError: the key or token is refused
    │   │   └── MissingApiKeyError      also OdysseyConnectionError: there is no key
    │   └── DeniedError                 also ConnectionError: a call after the first is refused
    ├── OdysseyConnectionError
    │   ├── UnreachableError            also ConnectionError: no answer, or not the one wanted
    │   └── InvalidReplyError           also ValueError: an answer that can't be used
    ├── OdysseyStreamError
    ├── OdysseyUsageError               code, message, action, action_url, details
    │   ├── MonthlyLimitReachedError
    │   ├── ConcurrentLimitReachedError
    │   ├── StreamDurationExceededError
    │   ├── AccountSuspendedError
    │   └── RateLimitError
    ├── RequestError                    also ValueError: a wrong argument, or nothing of that id
    └── MissingFieldError               also KeyError: a list or job without a field it must have

Those that are also builtin exceptions stand where programs catch the builtin ones (O78). Never both
`ConnectionError` and `ValueError`: which of the two it is decides what such a program does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from salon.base import SalonError

_UNKNOWN: Final = "UNKNOWN"
_WIDTH: Final = 72
"""Columns of text inside the box of a usage error."""
_LONGEST: Final = 2000
"""Characters of a text from the service that a box shows."""


class OdysseyError(SalonError):
    """Root of all. `args[0]` is the plain message; `status` the HTTP status behind it or None."""

    code = "odyssey"

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class OdysseyAuthError(OdysseyError):
    """The service does not accept who asks."""

    code = "odyssey_auth"


class OdysseyConnectionError(OdysseyError):
    """There is no connection, or there is none any more."""

    code = "odyssey_connection"


class OdysseyStreamError(OdysseyError):
    """A stream could not be started, changed or ended."""

    code = "odyssey_stream"


class ApiKeyError(OdysseyAuthError, ValueError):
    """The key, or the token made from it, is wrong, blocked or not entitled."""


class MissingApiKeyError(ApiKeyError, OdysseyConnectionError):
    """An operation needs a key and there is none (O7). `connect` of the published client raises a
    connection error here (O72), so this is one too."""

    def __init__(self) -> None:
        super().__init__("api_key is required for this operation: give Odyssey(api_key=...)")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), ())


class DeniedError(OdysseyAuthError, ConnectionError):
    """401 or 403 for a call that carried a token which had just been given out."""


class UnreachableError(OdysseyConnectionError, ConnectionError):
    """Nobody there, too slow, or an HTTP status that says nothing of the request."""


class InvalidReplyError(OdysseyConnectionError, ValueError):
    """The service answered with something that cannot be used, or refused without a code."""


class RequestError(OdysseyError, ValueError):
    """What was asked for is not there, not allowed in that state, or an argument is wrong."""

    code = "odyssey_request"


class MissingFieldError(OdysseyError, KeyError):
    """A reply lacks a field it must have (O89, O94); `field` is its name."""

    code = "odyssey_reply"

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(f"the reply of the service has no {field!r}")

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.field,))


class OdysseyUsageError(OdysseyError):
    """A limit of the account. `args[0]` is the plain message and `repr` has code and message;
    `str` is a box of several lines, so compare `code` and not text (O76).

    `action` says what to do, `action_url` where; `details` are figures behind it, never None.
    """

    shown: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Lines of the box: what stands before a detail, and its key."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Details shown when the service gave none."""

    def __init__(
        self,
        code: str,
        message: str,
        action: str,
        action_url: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # of the account's trouble, not of the class
        self.message = message
        self.action = action
        self.action_url = action_url
        self.details: dict[str, Any] = dict(details or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, message={self.message!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.code, self.message, self.action, self.action_url, self.details)
        return (type(self), arguments, {"status": self.status})

    def __str__(self) -> str:
        title, _, rest = self.message.partition(". ")
        texts = [title.rstrip("."), rest]
        figures = {**self.defaults, **self.details}
        texts += [f"{name}: {figures[key]}" for name, key in self.shown if key in figures]
        texts += [self.action, f"-> {self.action_url}" if self.action_url else ""]
        return _box(texts)


class MonthlyLimitReachedError(OdysseyUsageError):
    """The hours of this month are used up."""

    shown = (("Used hours", "used_hours"), ("Limit", "limit_hours"), ("Resets", "reset_date"))


class ConcurrentLimitReachedError(OdysseyUsageError):
    """As many streams run as the account may have at once."""

    shown = (("Active streams", "active_count"), ("Limit", "limit"))


class StreamDurationExceededError(OdysseyUsageError):
    """A stream ran for as long as one may."""

    shown = (("Longest stream in seconds", "max_duration_seconds"),)
    defaults: ClassVar[Mapping[str, Any]] = {"max_duration_seconds": 300}


class AccountSuspendedError(OdysseyUsageError):
    """The account is suspended."""

    shown = (("Reason", "reason"),)


class RateLimitError(OdysseyUsageError):
    """Too many requests in too short a time."""

    shown = (("Try again in seconds", "retry_after_seconds"),)


_BY_CODE: Final[Mapping[str, type[OdysseyUsageError]]] = {
    "MONTHLY_LIMIT_REACHED": MonthlyLimitReachedError,
    "CONCURRENT_LIMIT_REACHED": ConcurrentLimitReachedError,
    "STREAM_DURATION_EXCEEDED": StreamDurationExceededError,
    "ACCOUNT_SUSPENDED": AccountSuspendedError,
    "RATE_LIMITED": RateLimitError,
}

_BY_REASON: Final[Mapping[str, tuple[type[OdysseyUsageError], str, str]]] = {
    "quota_exceeded": (
        MonthlyLimitReachedError,
        "MONTHLY_LIMIT_REACHED",
        "Wait for the next month or raise the limit of the account",
    ),
    "concurrent_limit_exceeded": (
        ConcurrentLimitReachedError,
        "CONCURRENT_LIMIT_EXCEEDED",
        "End another stream first",
    ),
    "session_timeout": (
        StreamDurationExceededError,
        "STREAM_DURATION_EXCEEDED",
        "Start a new stream",
    ),
}


def usage_error(payload: object) -> OdysseyUsageError | None:
    """The usage error that the body of a 429 describes, None if it describes none (O75).

    `payload` is what stands under ``detail``, or the whole body. It needs `message` and `action`;
    a code nobody knows gives the base class.
    """
    if not isinstance(payload, Mapping) or not payload.get("message") or "action" not in payload:
        return None
    named = payload.get("error") or payload.get("code")
    code = named if isinstance(named, str) and named else _UNKNOWN
    url, details = payload.get("action_url"), payload.get("details")
    return _BY_CODE.get(code, OdysseyUsageError)(
        code,
        str(payload["message"]),
        str(payload["action"] or ""),
        url if isinstance(url, str) else None,
        details if isinstance(details, Mapping) else None,
    )


def stream_error(reason: str, message: str) -> OdysseyError:
    """What a pending start or interact raises for an ``interactive_stream_error`` (O77)."""
    known = _BY_REASON.get(reason)
    if known is not None:
        kind, code, action = known
        return kind(code, message, action)
    if reason == "lease_denied":
        return OdysseyStreamError("Stream request denied - please try again")
    return OdysseyStreamError(f"{reason}: {message}")


def connect_error(error: Exception) -> OdysseyError:
    """What `connect` raises for a failure before signaling (O72, O73).

    The class follows from the HTTP status, not from words in the text (D10): what is raised for one
    is already of the right class and stays as it is; anything else is a connection error.
    """
    if isinstance(error, OdysseyAuthError | OdysseyConnectionError | OdysseyUsageError):
        return error
    status = error.status if isinstance(error, OdysseyError) else None
    return OdysseyConnectionError(plain_text(error), status=status)


def plain_text(error: BaseException) -> str:
    """The message of any exception on its own: `args[0]` if that is text, never a box."""
    if error.args and isinstance(error.args[0], str) and error.args[0]:
        return error.args[0]
    return str(error) or type(error).__name__


def _box(texts: list[str]) -> str:
    """Texts as paragraphs in a frame; control characters do not reach the terminal."""
    lines: list[str] = []
    for text in texts:
        clean = "".join(c if c.isprintable() else " " for c in text[:_LONGEST])
        lines += textwrap.wrap(clean, _WIDTH, break_on_hyphens=False)
    width = max((len(line) for line in lines), default=0)
    edge = f"+{'-' * (width + 2)}+"
    return "\n".join(["", edge, *(f"| {line:<{width}} |" for line in lines), edge])
