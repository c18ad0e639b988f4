"""All calls of one process: admission, registry, shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from salon.base import new_session_id
from salon.gateway.commands import HangupReason
from salon.gateway.endpoints import SOCKET_ENDPOINTS, Endpoint, Endpoints
from salon.gateway.errors import QueryError
from salon.gateway.query import CallQuery
from salon.gateway.services import SessionServices
from salon.gateway.session import Session
from salon.gateway.transports import BaseTransport
from salon.transport.sockets import MediaSocket, Refusal, SocketHandler, UpgradeRequest

_log = logging.getLogger("salon.gateway")

RETRY_AFTER_S = 5
POLITE = frozenset({1000, 1001})
"""Close codes of a client that leaves on purpose."""


class _SessionSocket(SocketHandler):
    """Glue between a carrier and a session."""

    def __init__(self, session: Session, endpoint: Endpoint) -> None:
        self._session = session
        self._endpoint = endpoint
        self._transport: BaseTransport

    def connected(self, socket: MediaSocket) -> None:
        socket.overflow_notice = self._session.overflow_notice
        self._transport = self._endpoint.connect(socket, self._session)
        self._session.attach(self._transport)

    def text(self, data: str) -> None:
        self._session.text(data)

    def binary(self, data: bytes) -> None:
        self._transport.binary(data)

    def closed(self, code: int, reason: str) -> None:
        self._session.lost(polite=code in POLITE)


class Gateway:
    """Registry and front door of the calls.

    Admission is exact: a call counts from the moment its upgrade is accepted until its session has
    ended, so that 100 simultaneous connects against a limit of 10 give exactly 10 calls.
    """

    def __init__(
        self,
        services: SessionServices,
        *,
        max_calls: int,
        unique_ids: bool = True,
        endpoints: Endpoints = SOCKET_ENDPOINTS,
    ) -> None:
        """With `unique_ids` a second connection with a live id is refused, else it takes over and
        the call that had it ends (G16)."""
        self.services = services
        self.endpoints = endpoints
        """By path; may be replaced, for the calls that come then."""
        self.max_calls = max_calls
        self.refused = 0
        self.finished = 0
        self._unique_ids = unique_ids
        self._sessions: dict[str, Session] = {}
        self._leaving: set[Session] = set()
        """Calls whose id another one has taken over, until they have ended."""
        self._draining = False
        self._on_ended: list[Callable[[Session], None]] = [services.on_ended]
        services.on_ended = self._ended
        services.find = self.get
        services.bus.on_watched = self._watched

    @property
    def calls(self) -> int:
        """Calls that are live now."""
        return len(self._sessions) + len(self._leaving)

    def acceptor(self, request: UpgradeRequest) -> SocketHandler | Refusal | None:
        """Decide over an upgrade (G10-G16, G286)."""
        endpoint = self.endpoints.get(request.path)
        if endpoint is None or isinstance(endpoint, Refusal):
            return endpoint
        try:
            query = CallQuery.parse(request.query)
        except QueryError as error:
            return Refusal(400, str(error))
        if query.forward and query.id not in self._sessions:
            return Refusal(404, "call not found on this node")
        session_id = query.id or new_session_id()
        if session_id in self._sessions and self._unique_ids:
            return Refusal(409, "a call with this id is live")
        if self._draining or self.calls >= self.max_calls:
            self.refused += 1
            why = "the server is stopping" if self._draining else "all calls are taken"
            return Refusal(503, why, {"Retry-After": str(RETRY_AFTER_S)})
        replaced = self._sessions.get(session_id)
        session = Session(
            session_id,
            query,
            self.services,
            call_type=endpoint.call_type,
            rights=self.services.rights_for(query),
        )
        if replaced is not None:  # never two live calls under one id (G16)
            self._leaving.add(replaced)
            replaced.hangup("replaced", outcome="killed")
        self._sessions[session_id] = session
        return _SessionSocket(session, endpoint)

    def get(self, session_id: str) -> Session | None:
        """A live session."""
        return self._sessions.get(session_id)

    def list_calls(self) -> list[dict[str, Any]]:
        """The rows of `/list` (G200)."""
        return [session.summary() for session in self._sessions.values()]

    async def kill(self, session_id: str) -> bool:
        """End a call from outside (G201); False if it is not live."""
        session = self._sessions.get(session_id)
        if session is None:
            return False
        session.hangup(HangupReason.SYSTEM, outcome="killed")
        return True

    async def drain(self, timeout: float) -> bool:
        """Refuse new calls and wait for the running ones; those still live after `timeout`
        seconds are hung up. True if all ended by themselves."""
        self._draining = True
        sessions = [*self._sessions.values(), *self._leaving]
        if not sessions:
            return True
        waiting = [asyncio.ensure_future(session.done.wait()) for session in sessions]
        _, late = await asyncio.wait(waiting, timeout=max(timeout, 0.0))
        if late:
            _log.warning("%d calls still live after %.0f s are ended", len(late), timeout)
            for session in [*self._sessions.values(), *self._leaving]:
                session.stopping = True
                session.hangup(HangupReason.SERVER_UNAVAILABLE, outcome="killed")
            await asyncio.wait(late, timeout=5.0)
        for task in waiting:
            task.cancel()
        return not late

    async def close(self) -> None:
        """End every call now."""
        await self.drain(0.0)

    def _watched(self, session_id: str) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            session.watched()

    def _ended(self, session: Session) -> None:
        self._leaving.discard(session)
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
        self.finished += 1
        for listener in self._on_ended:
            listener(session)
