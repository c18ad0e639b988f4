"""A request and its reply, as the cores see HTTP."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """`path` without a query, doubled slashes joined; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""

    def bearer(self) -> str:
        """The token of ``Authorization: Bearer``; empty without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def json_object(self) -> dict[str, Any]:
        """The body; `Refusal` 422 if it is no JSON object. An empty body is an empty object."""
        if not self.body:
            return {}
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            raise Refusal(422, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise Refusal(422, "the body is not a JSON object")
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is a JSON value, or bytes as they are; None: no body."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """Ends the handling of a request with a status and ``{"detail": …}`` (O23)."""

    def __init__(self, status: int, detail: Any) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"{status}: {detail}")

    def reply(self) -> Reply:
        """What goes out."""
        return Reply(self.status, {"detail": self.detail})


def usage_detail(error: str, message: str, action: str, **more: Any) -> dict[str, Any]:
    """The object inside ``detail`` of a 429 (O18, checklist 11)."""
    return {"error": error, "message": message, "action": action, **more}


def whole_number(value: object, name: str, *, least: int, most: int | None = None) -> int:
    """An integer out of a query; `Refusal` 422 names what is wrong."""
    try:
        number = int(str(value), 10)
    except ValueError:
        raise Refusal(422, f"{name} must be an integer") from None
    if number < least or (most is not None and number > most):
        raise Refusal(
            422, f"{name} must be at least {least}" + (f", at most {most}" if most else "")
        )
    return number


def is_number(value: object) -> bool:
    """A finite JSON number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
