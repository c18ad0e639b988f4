"""Copies that share everything immutable: what a store in memory keeps of what it is given (R102).

`copy.deepcopy` gives the same result at many times the cost.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel

from salon.core.copying import altered
from salon.models import Room, RoomEvent

M = TypeVar("M", bound=BaseModel)

_PLAIN = frozenset({str, int, float, bool, type(None), datetime, bytes})
_mutable: dict[type[BaseModel], tuple[str, ...]] = {}


def owned(model: M, **changes: Any) -> M:
    """`model`, if nothing in it can change, else a copy whose maps and lists are its own."""
    kind = type(model)
    names = _mutable.get(kind)
    if names is None:
        names = _mutable[kind] = _mutable_fields(kind)
    state = model.__dict__
    for name in names:
        value = state[name]
        if value is None or name in changes:
            continue
        copied = _own(value)
        if copied is not value:
            changes[name] = copied
    return altered(model, changes) if changes else model


def owned_event(event: RoomEvent, index: int) -> RoomEvent:
    """An event under its number."""
    return owned(event, index=index)


def owned_room(room: Room, **changes: Any) -> Room:
    """A room that its reader may change."""
    return owned(room, timers=altered(room.timers, {}), **changes)


def owned_map(value: Any) -> dict[str, Any]:
    """A map and all in it."""
    return {key: _own(item) for key, item in dict(value).items()}


def _own(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {key: _own(item) for key, item in value.items()} if value else {}
    if kind is list:
        return [_own(item) for item in value]
    if kind is tuple:
        return tuple([_own(item) for item in value])
    if isinstance(value, BaseModel):
        frozen = value.model_config.get("frozen", False)
        return owned(value) if frozen else value.model_copy(deep=True)
    return value if isinstance(value, Enum) else deepcopy(value)


def _mutable_fields(kind: type[BaseModel]) -> tuple[str, ...]:
    fields = kind.model_fields.items()
    return tuple(name for name, field in fields if not _is_plain(field.annotation))


def _is_plain(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return annotation in _PLAIN or issubclass(annotation, Enum)
    if get_origin(annotation) is Literal:
        return True
    parts = get_args(annotation)
    return (
        get_origin(annotation) not in (dict, list, tuple)
        and bool(parts)
        and all(_is_plain(part) for part in parts)
    )
