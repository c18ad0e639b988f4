"""Framework events: notifications about the work itself, never stored (chapter 15)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from salon.models.base import utc_now

_log = logging.getLogger("salon.core.framework")


@dataclass(frozen=True, slots=True)
class FrameworkEvent:
    """One notification."""

    type: str
    room_id: str | None = None
    channel_id: str | None = None
    event_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime = field(default_factory=utc_now)


Listener = Callable[[FrameworkEvent], None]


class FrameworkEvents:
    """Subscribe by name, or to everything with ``"*"``. Listeners run at once and must be quick;
    what they raise is logged (R169)."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """Listen; the result stops it."""
        self._listeners.setdefault(name, []).append(listener)

        def forget() -> None:
            if listener in self._listeners.get(name, ()):
                self._listeners[name].remove(listener)

        return forget

    def emit(
        self,
        name: str,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
        event_id: str | None = None,
        **data: Any,
    ) -> None:
        """Tell the listeners."""
        listeners = (*self._listeners.get(name, ()), *self._listeners.get("*", ()))
        if not listeners:
            return
        event = FrameworkEvent(name, room_id, channel_id, event_id, data)
        for listener in listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - the host's code
                _log.exception("a listener of %s failed", name)
