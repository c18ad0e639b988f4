"""Notifications about the work itself, where RoomKit has them.

Made by the core, which stands above the models: loaded when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "FrameworkEvent":
        return import_module("salon.core.framework").FrameworkEvent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
