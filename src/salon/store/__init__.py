"""Floor 4: rooms, timelines and calls that survive a restart.

`make_stores` needs nothing for ``memory://``; the SQL classes need the "store" extra and are
loaded when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salon.base import MissingExtraError
from salon.store.factory import Stores, make_stores

if TYPE_CHECKING:
    from salon.store.calls import SqlCallLog
    from salon.store.database import Database
    from salon.store.sql import SqlStore

__all__ = ["Database", "SqlCallLog", "SqlStore", "Stores", "make_stores"]

_LAZY = {"Database": "database", "SqlCallLog": "calls", "SqlStore": "sql"}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingExtraError("store", "a database store") from error
