"""Runs the application under uvicorn: our socket, our protocol class for media, calls end first."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from salon.app.collector import SteadyCollector
from salon.app.house import House
from salon.app.http import BoundedHttp
from salon.app.settings import Settings
from salon.app.tls import local_addresses, local_names, self_signed
from salon.base import ConfigurationError
from salon.base.policy import EVERY_ADDRESS
from salon.transport.upgrade import media_protocol

_log = logging.getLogger("salon.app")

CLOSE_TIMEOUT = 5
"""Seconds that answers under way get after the calls have ended."""
FILE_THREADS = 4
"""Threads for what blocks on files and name look-ups, whatever the machine's number of cores."""
_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """The listening socket; `ConfigurationError` says in words why there is none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigurationError(f"HOST={host!r} is no address of this machine: {error}") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(_why_not(host, port, error)) from None
    listener.set_inheritable(False)
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"PORT={port} is in use already; stop the other program or choose another --port"
    if error.errno == errno.EACCES:
        return f"PORT={port} needs more rights; choose a port from 1024 on"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST={host!r} is no address of this machine"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def urls_of(settings: Settings, port: int) -> list[str]:
    """Where the page can be opened, the likeliest first."""
    scheme = "https" if settings.tls else "http"
    hosts = [settings.host]
    if settings.host in EVERY_ADDRESS:
        hosts = ["localhost", *local_addresses()]
    elif not settings.exposed:
        hosts = ["localhost" if settings.host == "127.0.0.1" else settings.host]
    shown = (f"[{host}]" if ":" in host else host for host in hosts)
    return [f"{scheme}://{host}:{port}/" for host in shown]


class CallsFirstServer(uvicorn.Server):
    """Told to stop, it keeps serving while calls end, refuses new ones, and then shuts down.

    A second signal ends the waiting.
    """

    def __init__(
        self, config: uvicorn.Config, house: House, announce: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._house = house
        self._announce = announce
        self._collector = SteadyCollector()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files"))
        # opened here, not in the lifespan, so that its error reaches whoever runs the server
        await self._house.open()
        await super().startup(sockets)
        if self.started:
            self._collector.begin()
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's own counts only a second SIGINT."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        calls = self._house.gateway.calls
        timeout = self._house.settings.shutdown_timeout
        if calls and not self.force_exit:
            _log.info("waiting up to %g s for %d calls to end (Ctrl-C ends them)", timeout, calls)
        drain = asyncio.create_task(self._house.drain(timeout), name="drain calls")
        while not drain.done() and not self.force_exit:
            await asyncio.wait({drain}, timeout=0.1)
        if not drain.done():
            drain.cancel()
            await self._house.gateway.drain(0)
            self.force_exit = False
        with contextlib.suppress(asyncio.CancelledError):
            await drain
        await super().shutdown(sockets)
        self._collector.end()


def uvicorn_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    """How uvicorn runs `app`. Raises `ConfigurationError` if the certificate can't be used."""
    files: dict[str, Any] = {}
    if settings.tls_self_signed:
        cert, key = self_signed(settings.data_dir / "tls", local_names(settings.host))
        files = {"ssl_certfile": str(cert), "ssl_keyfile": str(key)}
    elif settings.tls_cert is not None:
        files = {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}
    config = uvicorn.Config(
        app,
        ws=media_protocol(app.state.acceptor),
        loop="auto",
        log_config=None,
        access_log=settings.log_level == "debug",
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=CLOSE_TIMEOUT,
        ws_max_size=256 * 1024,
        ws_max_queue=16,
        http=BoundedHttp,
        **files,
    )
    try:
        config.load()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"SALON_TLS_CERT and SALON_TLS_KEY: {error}") from None
    return config


def run(
    settings: Settings,
    app: FastAPI,
    listener: socket.socket,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM. `announce` is called once the server answers. Raises what made
    the start fail."""
    server = CallsFirstServer(uvicorn_config(settings, app), app.state.house, announce)
    with _quiet_uvicorn(), _ended_by_signals():
        server.run(sockets=[listener])


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """uvicorn raises the signal it stopped for once more at its end; here that is a normal end."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        _log.debug("stopped by a signal")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _quiet_uvicorn() -> Iterator[None]:
    """uvicorn's own notices of start and stop say nothing that we don't say."""
    logger = logging.getLogger("uvicorn.error")
    before = logger.level
    if logging.getLogger().level > logging.DEBUG:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
