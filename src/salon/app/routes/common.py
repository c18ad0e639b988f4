"""What the routes share: the caller, the core, and how errors are documented."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from salon.app.access import Access
from salon.app.api_models import Problem
from salon.app.house import House
from salon.core.kit import RoomKit

_WORDS = {
    400: "The request can't be read",
    401: "No valid credential",
    403: "Not with this credential, or not from this page",
    404: "There is no such thing for this caller",
    408: "The body came too slowly",
    409: "Not in the present state",
    413: "The body is too long",
    422: "A field has the wrong form",
    429: "Too many attempts",
    503: "Not now",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented refusals of a route; 401 and 403 are always among them."""
    return {
        status: {"model": Problem, "description": _WORDS[status]}
        for status in sorted({401, 403, *statuses})
    }


ROOM = problems(404, 422)
"""What every route about one room may answer."""
CHANGE = problems(404, 409, 422)
"""What every route that changes a room may answer."""


def house_of(connection: HTTPConnection) -> House:
    """The house of the application that serves this request."""
    house: House = connection.app.state.house
    return house


def kit_of(connection: HTTPConnection) -> RoomKit:
    """The core."""
    return house_of(connection).kit


def access_of(connection: HTTPConnection) -> Access:
    """What the caller may reach."""
    principal = getattr(connection.state, "principal", None)
    return Access(house_of(connection).kit, principal)


Kit = Annotated[RoomKit, Depends(kit_of)]
Caller = Annotated[Access, Depends(access_of)]
