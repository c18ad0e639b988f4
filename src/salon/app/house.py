"""One running Salon, as the web application, the commands and the tests see it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from salon.app.call_desk import CallDesk
from salon.app.crowd import Crowd
from salon.app.intake import Intakes
from salon.app.metrics import Metrics
from salon.app.settings import Settings
from salon.app.tail import Tails
from salon.app.upgrade import upgrading
from salon.base import LOCAL, Principal, SalonError
from salon.core.kit import RoomKit
from salon.models import AgentResponsePolicy, Room, RoomTimers
from salon.transport.sockets import Refusal, SocketHandler, UpgradeRequest

_log = logging.getLogger("salon.app")


class CallControl(Protocol):
    """What the application needs of the gateway."""

    max_calls: int

    @property
    def calls(self) -> int: ...

    def acceptor(self, request: UpgradeRequest) -> SocketHandler | Refusal | None: ...

    def list_calls(self) -> list[dict[str, Any]]: ...

    async def kill(self, session_id: str) -> bool: ...

    async def drain(self, timeout: float) -> object: ...

    async def close(self) -> None: ...


class Rooms(Protocol):
    """What the application needs of whoever makes rooms."""

    async def create(
        self,
        room_id: str | None = None,
        *,
        organization_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timers: RoomTimers | None = None,
        agent_response_policy: AgentResponsePolicy | None = None,
        channel_ids: Sequence[str] | None = None,
    ) -> Room: ...


class TextPeer(Protocol):
    """One page's text socket, as the rooms see it. `receive` raises `EOFError` at its end."""

    async def send(self, message: Mapping[str, Any]) -> None: ...

    async def receive(self) -> Any: ...


class TextSockets(Protocol):
    """Serves one text socket until it ends."""

    async def serve(
        self,
        peer: TextPeer,
        room_id: str,
        participant_id: str | None,
        name: str | None,
        *,
        principal: Principal = LOCAL,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One engine as people see it. `note` says what it can do, or why it is missing."""

    name: str
    available: bool
    note: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """Who answers."""

    name: str
    description: str = ""
    suggestions: tuple[str, ...] = ()


Step = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Service:
    """Something with a beginning and an end. `start` of an optional one may fail: `on_failure`
    gets the reason and the house opens without it."""

    name: str
    start: Step
    close: Step
    on_failure: Callable[[str], None] | None = None
    close_timeout: float = 5.0


@dataclass
class House:
    """Everything `compose` built from the settings. `open` and `close` once each."""

    settings: Settings
    metrics: Metrics
    kit: RoomKit
    rooms: Rooms
    gateway: CallControl
    texts: TextSockets
    describe_agent: Callable[[], AgentInfo]
    describe_engines: Callable[[], Mapping[str, EngineInfo]]
    desk: CallDesk | None = None
    """What HTTP may ask of live calls; without one there are none."""
    stages: tuple[tuple[Service, ...], ...] = ()
    """Opened one stage after the other, the services of a stage together; closed the other way."""
    ready: bool = False
    draining: bool = False
    _opened: list[Service] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tails = Tails(self.kit)
        self.text_crowd = Crowd()
        self.intakes = Intakes(self.kit)

    def accept(self, request: UpgradeRequest) -> SocketHandler | Refusal | None:
        """The gateway's word on an upgrade, while the house is open."""
        if not self.ready:
            return Refusal(503, "not ready", {"Retry-After": "5"})
        with upgrading(request, default_handler=self.settings.call_handler) as judged:
            return self.gateway.acceptor(judged)

    async def open(self) -> None:
        """Start everything; idempotent. If a required part fails, what runs is closed and its
        error rises."""
        if self.ready:
            return
        try:
            for stage in self.stages:
                async with asyncio.TaskGroup() as group:
                    for service in stage:
                        group.create_task(self._start(service), name=f"start {service.name}")
        except ExceptionGroup as group_error:
            await self.close()
            raise group_error.exceptions[0] from None
        self.metrics.watch_calls(lambda: self.gateway.calls, self.gateway.max_calls)
        self.ready = True

    async def drain(self, timeout: float) -> None:
        """Refuse new calls and let the running ones end; what is left after `timeout` seconds is
        closed with 1001 (G21)."""
        self.draining = True
        self.ready = False
        await self.gateway.drain(timeout)
        self._let_readers_go()

    async def close(self) -> None:
        """Close everything that was started, newest first; bounded in time, idempotent."""
        self.ready = False
        self._let_readers_go()
        while self._opened:
            service = self._opened.pop()
            try:
                async with asyncio.timeout(service.close_timeout):
                    await service.close()
            except TimeoutError:
                _log.warning("%s did not close in %g s", service.name, service.close_timeout)
            except Exception:  # noqa: BLE001 - the others have to be closed as well
                _log.exception("%s failed to close", service.name)

    def _let_readers_go(self) -> None:
        self.tails.close()
        if self.desk is not None:
            self.desk.readers.close()

    async def _start(self, service: Service) -> None:
        try:
            await service.start()
        except (SalonError, OSError, ImportError) as error:
            if service.on_failure is None:
                raise
            _log.warning("%s is not available: %s", service.name, error)
            service.on_failure(str(error))
        else:
            self._opened.append(service)
