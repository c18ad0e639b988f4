"""Who is told what happens on the calls of this process.

One bus belongs to one application. `get_event_bus` gives the bus of the application that runs in
this process, for code written against the old global; it creates none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from salon.base import UnavailableError

_log = logging.getLogger("salon.gateway.bus")

EventListener = Callable[[str, dict[str, Any]], None]
"""Called on the event loop with the session id and the event as sent; must return at once."""


class CallWatcher(Protocol):
    """Follows one call more closely than a listener. Called on the event loop, must return at once;
    secrets are masked in what it gets."""

    def event(self, data: dict[str, Any]) -> None:
        """An event the client was told; also ``ping`` (G18)."""

    def command(self, data: dict[str, Any]) -> None:
        """A command that was taken, from wherever."""

    def binary(self, data: bytes) -> None:
        """One packet of sound on its way to the client."""

    def ended(self) -> None:
        """The call is over: nothing comes after this."""


class EventBus:
    """Fans call events out to listeners, synchronously and in order. A listener that raises is
    logged and disturbs nobody."""

    def __init__(self) -> None:
        self.published = 0
        self.on_watched: Callable[[str], None] = lambda _session_id: None
        """Told when the first watcher of a call comes and when the last one goes."""
        self._watchers: dict[str, tuple[CallWatcher, ...]] = {}
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

    def watch(self, session_id: str, watcher: CallWatcher) -> Callable[[], None]:
        """Follow one call until it ends; call the result to stop before."""
        others = self._watchers.get(session_id, ())
        self._watchers[session_id] = (*others, watcher)
        if not others:
            self.on_watched(session_id)

        def stop() -> None:
            left = tuple(w for w in self._watchers.get(session_id, ()) if w is not watcher)
            if left:
                self._watchers[session_id] = left
            elif self._watchers.pop(session_id, None) is not None:
                self.on_watched(session_id)

        return stop

    def watchers(self, session_id: str) -> tuple[CallWatcher, ...]:
        """Who follows this call now."""
        return self._watchers.get(session_id, ())

    def show(self, session_id: str, what: str, *data: Any) -> None:
        """Call the method `what` of each watcher of a call; one that raises is logged."""
        for watcher in self._watchers.get(session_id, ()):
            try:
                getattr(watcher, what)(*data)
            except Exception:  # noqa: BLE001 - the edge to other parts; logged, the call goes on
                _log.exception("a watcher failed on %s of call %s", what, session_id)

    def end(self, session_id: str) -> None:
        """The call is over; its watchers are told and let go of."""
        if session_id in self._watchers:
            self.show(session_id, "ended")
            self._watchers.pop(session_id, None)

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
