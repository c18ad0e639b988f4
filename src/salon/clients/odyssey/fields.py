"""Reading one field of a JSON object that came from the service.

A field that must be there and is not raises `MissingFieldError` (a `KeyError`: O89, O94), one of
the wrong kind `InvalidReplyError`. Optional fields of the wrong kind count as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Final

from salon.clients.odyssey.errors import InvalidReplyError, MissingFieldError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def mapping(payload: object, what: str) -> Mapping[str, Any]:
    """`payload` if it is an object; `what` names it in the error."""
    if not isinstance(payload, Mapping):
        raise InvalidReplyError(f"{what} is not an object but {type(payload).__name__}")
    return payload


def rows(payload: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list of objects that must be there."""
    value = required(payload, name)
    if not isinstance(value, list):
        raise _wrong(name, "a list", value)
    return [mapping(row, f"an entry of {name!r}") for row in value]


def required(payload: Mapping[str, Any], name: str) -> Any:
    """Whatever stands under `name`."""
    try:
        return payload[name]
    except KeyError:
        raise MissingFieldError(name) from None


def text(payload: Mapping[str, Any], name: str) -> str:
    """Text that must be there."""
    value = required(payload, name)
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    return value


def whole(payload: Mapping[str, Any], name: str) -> int:
    """A whole number that must be there."""
    value = required(payload, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a whole number", value)
    return value


def text_or_none(payload: Mapping[str, Any], name: str) -> str | None:
    """Text, or None."""
    value = payload.get(name)
    return value if isinstance(value, str) else None


def whole_or_none(payload: Mapping[str, Any], name: str) -> int | None:
    """A whole number, or None."""
    value = payload.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number_or_none(payload: Mapping[str, Any], name: str) -> float | None:
    """A number, or None."""
    value = payload.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_NEEDED: Final[Mapping[str, Callable[[Mapping[str, Any], str], Any]]] = {
    "str": text,
    "int": whole,
}
_OPTIONAL: Final[Mapping[str, Callable[[Mapping[str, Any], str], Any]]] = {
    "str": text_or_none,
    "int": whole_or_none,
    "float": number_or_none,
}


def plain(kind: type[DataclassInstance], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields of a dataclass (with postponed annotations) that are text or numbers, read as
    they are declared. A field with a default may be absent, and is left out then."""
    found: dict[str, Any] = {}
    for declared in fields(kind):
        readers = _NEEDED if declared.default is MISSING else _OPTIONAL
        reader = readers.get(str(declared.type).removesuffix(" | None"))
        if reader is not None and (value := reader(payload, declared.name)) is not None:
            found[declared.name] = value
    return found


def _wrong(name: str, wanted: str, value: object) -> InvalidReplyError:
    return InvalidReplyError(f"{name!r} in the reply is not {wanted} but {type(value).__name__}")
