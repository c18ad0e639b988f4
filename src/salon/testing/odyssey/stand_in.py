"""The whole server in one process, on loopback."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from aiohttp import web

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, TaskScope, new_id
from salon.testing.odyssey.broadcasts import Broadcasts
from salon.testing.odyssey.connection import Connection
from salon.testing.odyssey.faults import Faults
from salon.testing.odyssey.house import House
from salon.testing.odyssey.renderer import Renderer
from salon.testing.odyssey.settings import API_KEY, StandInSettings
from salon.testing.odyssey.stun import StunResponder
from salon.testing.odyssey.web_driver import WebDriver

HOST: Final = "127.0.0.1"
SHUTDOWN_S: Final = 2.0


class OdysseyStandIn:
    """Broker, signaling, streamer, WHEP, recordings and simulations for a test::

        async with OdysseyStandIn() as server:
            client = Odyssey(api_key=server.api_key, api_url=server.url)

    It listens on 127.0.0.1, on ports that the system picks; `port` asks for one. `faults` may
    change at any time, `settings` may not. Recordings lie in a folder that is deleted at the end.
    """

    def __init__(
        self,
        settings: StandInSettings | None = None,
        *,
        port: int = 0,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        self.settings = settings or StandInSettings()
        self.faults = Faults()
        self.stun = StunResponder()
        self._port = port
        self._clock = clock
        self._ids = ids
        self._scope = TaskScope("odyssey stand-in")

    async def __aenter__(self) -> OdysseyStandIn:
        self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="salon-odyssey-"))
        secret = secrets.token_bytes(32)
        self._house = House.build(
            self.settings, self.faults, self._clock, self._ids, self._folder, secret
        )
        self._broadcasts = Broadcasts(self._house)
        self._web = WebDriver(self._house, self._broadcasts)
        self._runner = web.AppRunner(
            self._web.application(), access_log=None, shutdown_timeout=SHUTDOWN_S
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port).start()
        self._house.reach(f"http://{HOST}:{self._runner.addresses[0][1]}")
        if self.settings.own_stun:
            await self.stun.start(HOST)
            self._house.broker.ice_servers = [{"urls": f"stun:{HOST}:{self.stun.port}"}]
        self._scope.spawn(Renderer(self._house).run(), name="renderer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in list(self._house.connections.values()):
            await connection.close_socket(1001, "the server stops")
        await self._broadcasts.close()
        await self._runner.cleanup()
        await self._scope.close()
        self.stun.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``: what a client is given as its API's address."""
        return self._house.broker.origin

    @property
    def signaling_url(self) -> str:
        """``ws://127.0.0.1:port``: the base of the signaling address (O26)."""
        return self.url.replace("http", "ws", 1)

    @property
    def api_key(self) -> str:
        """A key that is known here."""
        return next(iter(self.settings.accounts), API_KEY)

    @property
    def connections(self) -> Mapping[str, Connection]:
        """Open sockets by session id."""
        return self._house.connections

    @property
    def asked(self) -> list[str]:
        """The routes asked so far, in their order; see `faults.ROUTES`."""
        return list(self._web.asked)

    @property
    def telemetry(self) -> list[dict[str, Any]]:
        """The events that were reported, the newest 500 (O105)."""
        return list(self._house.broker.telemetry)

    @property
    def sessions(self) -> int:
        """Sessions that hold a streamer."""
        return len(self._house.sessions)

    def latencies(self, session_id: str) -> Mapping[str, int]:
        """What the client measured before it asked for this session (O16); `KeyError`."""
        return self._house.sessions[session_id].latencies

    def spectators(self, stream_id: str) -> int:
        """How many watch a stream."""
        return self._broadcasts.watching(stream_id)
