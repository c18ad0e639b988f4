"""The three ways to a session: by the broker, with credentials, or straight to a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from salon.clients.odyssey.broker import Broker
from salon.clients.odyssey.config import DevConfig
from salon.clients.odyssey.credentials import ClientCredentials
from salon.clients.odyssey.session import Route
from salon.clients.odyssey.types import StreamerCapabilities


@dataclass(frozen=True, slots=True)
class Session:
    """Where to connect to. `capabilities` None: nobody said."""

    session_id: str
    signaling_url: str
    capabilities: StreamerCapabilities | None


class Plan(Protocol):
    """One way to a session."""

    @property
    def route(self) -> Route:
        """Which one."""
        ...

    async def prepare(self) -> Session:
        """The session; may raise whatever the broker does."""
        ...

    async def token(self, session: Session) -> str | None:
        """What admits to its socket, asked for before every attempt; None for no token (O9)."""
        ...


class BrokerPlan:
    """With an API key (O15): the session's first token is asked for with it, as servers expect,
    and another before each attempt, so that none is stale."""

    route = Route.BROKER

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def prepare(self) -> Session:
        async with self._broker.hold():
            grant = await self._broker.request_session()
            await self._broker.session_token(grant.session_id)
        return Session(grant.session_id, grant.signaling_url, grant.capabilities)

    async def token(self, session: Session) -> str | None:
        return (await self._broker.session_token(session.session_id)).value


class CredentialsPlan:
    """With credentials made elsewhere: no call to the HTTP interface."""

    route = Route.CREDENTIALS

    def __init__(self, credentials: ClientCredentials) -> None:
        self._credentials = credentials

    async def prepare(self) -> Session:
        given = self._credentials
        return Session(given.session_id, given.signaling_url, given.capabilities)

    async def token(self, session: Session) -> str | None:
        return self._credentials.session_token


class DirectPlan:
    """To a signaling server of one's own, in the way of versions up to 1.1.1 (O9)."""

    route = Route.DIRECT

    def __init__(self, dev: DevConfig) -> None:
        self._dev = dev

    async def prepare(self) -> Session:
        return Session(self._dev.session_id or "", self._dev.signaling_url or "", None)

    async def token(self, session: Session) -> str | None:
        return None
