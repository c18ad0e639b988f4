"""What went wrong, as HTTP: ``{"detail": words, "code": stable name}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ValidationException
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from salon.base import SalonError, UnavailableError
from salon.core.errors import ProviderDeliveryError, RoomKitError
from salon.store import DatabaseUnavailableError

_log = logging.getLogger("salon.app")

STATUS: Final[Mapping[str, int]] = {
    # there is no such thing, or not for this caller (R267)
    "room_not_found": 404,
    "channel_not_registered": 404,
    "channel_not_found": 404,
    "participant_not_found": 404,
    "identity_not_found": 404,
    "source_not_found": 404,
    "event_not_found": 404,
    "task_not_found": 404,
    "target_event_not_found": 404,
    # there is, and it is not to be had now
    "room_closed": 409,
    "room_deadlock": 409,
    "event_refused": 409,
    "room_exists": 409,
    "identity_exists": 409,
    "address_linked": 409,
    "transition_refused": 409,
    "channel_already_registered": 409,
    "source_already_attached": 409,
    "duplicate": 409,
    # not by this caller
    "forbidden": 403,
    "participant_not_admitted": 403,
    "sender_not_admitted": 403,
    "identity_required_for_edit": 403,
    "not_original_author": 403,
    "not_authorized": 403,
    "identity_challenge_sent": 403,
    "identity_rejected": 403,
    "unknown_sender": 403,
    # not like this
    "invalid": 422,
    "bad_name": 422,
    "invalid_event": 422,
    # not now
    "rate_limited": 429,
    "too_many_connections": 429,
    "room_busy": 503,
    "too_many_listeners": 503,
    "process_timeout": 504,
}
"""By code (chapter 34). Codes that are not here: 409 for errors of the core, else 500."""

_NAMES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    422: "invalid",
    429: "rate_limited",
    503: "unavailable",
}
"""The code of an answer that no error of ours stands behind, by status."""


class RefusedError(SalonError):
    """An event did not get into its room; `code` is the reason (chapter 34)."""

    code = "refused"

    def __init__(self, reason: str) -> None:
        self.code = reason  # type: ignore[misc] # the class has the default, the instance the cause
        super().__init__(f"the event was refused: {reason}")


class InvalidError(SalonError):
    """A value has the right form and can't be used."""

    code = "invalid"


class ExistsError(SalonError):
    """The id is taken."""

    def __init__(self, what: str, taken: str) -> None:
        self.code = f"{what}_exists"  # type: ignore[misc]
        super().__init__(f"there is a {what} {taken!r} already")


def problem(
    status: int, detail: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An answer that says what went wrong."""
    name = code or _NAMES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    return JSONResponse({"detail": detail, "code": name}, status, headers=dict(headers or {}))


def words_of(error: Exception) -> str:
    """What an error says to who asks from outside: nothing of the inside of the database."""
    if isinstance(error, DatabaseUnavailableError):
        _log.warning("%s", error)
        return "the database cannot be used now"
    return str(error)


def status_of(error: SalonError) -> int:
    """The HTTP status of an error."""
    if error.code in STATUS:
        return STATUS[error.code]
    if isinstance(error, ProviderDeliveryError):
        return 502
    if isinstance(error, RefusedError | RoomKitError):
        return 409
    return 503 if isinstance(error, UnavailableError) else 500


def install(app: FastAPI) -> None:
    """Answer every error of ours in this form."""
    app.add_exception_handler(SalonError, _ours)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(RequestValidationError, _wrong_form)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SalonError)
    status = status_of(error)
    if status == 500:
        _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        return problem(500, "the server failed", "internal")
    headers = {"Retry-After": "1"} if status in {429, 503} else None
    return problem(status, words_of(error), error.code, headers)


async def _plain(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, headers=error.headers)


async def _wrong_form(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, ValidationException)
    return problem(422, wrong_form(error))


def wrong_form(error: ValidationException) -> str:
    """What is wrong, in words, without what was sent: that may be a mistyped key."""
    words = "; ".join(
        f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    )
    return words[:2000] or "the request has the wrong form"
