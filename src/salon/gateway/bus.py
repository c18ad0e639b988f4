"""Who is told what happens on the calls of this process.

One bus belongs to one application. `get_event_bus` gives the bus of the application that runs in
this process, for code written against the old global; it creates none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from salon.base import UnavailableError

_log = logging.getLogger("salon.gateway.bus")

EventListener = Callable[[str, dict[str, Any]], None]
"""Called on the event loop with the session id and the event as sent; must return at once."""


class EventBus:
    """Fans call events out to listeners, synchronously and in order. A listener that raises is
    logged and disturbs nobody."""

    def __init__(self) -> None:
        self.published = 0
        self._all: list[EventListener] = []
        self._by_session: dict[str, list[EventListener]] = {}

    @property
    def wanted(self) -> bool:
        """Anybody listens at all; lets the hot path skip building what nobody reads."""
        return bool(self._all or self._by_session)

    def subscribe(
        self, listener: EventListener, session_id: str | None = None
    ) -> Callable[[], None]:
        """Listen to one session or, without an id, to all; call the result to stop."""
        listeners = self._all if session_id is None else self._by_session.setdefault(session_id, [])
        listeners.append(listener)

        def unsubscribe() -> None:
            if listener in listeners:
                listeners.remove(listener)
            if session_id is not None and not listeners:
                self._by_session.pop(session_id, None)

        return unsubscribe

    def publish(self, session_id: str, event: dict[str, Any]) -> None:
        """Tell the listeners of this session, then those of all."""
        self.published += 1
        for listener in (*self._by_session.get(session_id, ()), *self._all):
            try:
                listener(session_id, event)
            except Exception:  # noqa: BLE001 - user code at the edge; logged, others go on
                _log.exception("an event listener failed on %s", event.get("event"))


_application: list[EventBus] = []


def install_event_bus(bus: EventBus) -> Callable[[], None]:
    """Make `bus` the one `get_event_bus` gives; call the result to take it back."""
    _application.append(bus)

    def remove() -> None:
        if bus in _application:
            _application.remove(bus)

    return remove


def get_event_bus() -> EventBus:
    """The running application's bus; `UnavailableError` if no application runs."""
    bus = _application[-1] if _application else None
    if bus is None:
        raise UnavailableError("no Salon application is running in this process")
    return bus
