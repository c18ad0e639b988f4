"""The server: where it listens, how it ends."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn

from salon.app import server as module
from salon.app.application import create_app
from salon.app.house import House, Service
from salon.app.routes.pages import WebFiles
from salon.app.server import CallsFirstServer, bind, run, urls_of, uvicorn_config
from salon.app.settings import Settings
from salon.app.tls import self_signed
from salon.base import ConfigurationError

from .conftest import KEY, EchoHandler, FakeGateway, fake_house


def test_a_port_of_nobody_is_taken_and_not_inherited() -> None:
    listener = bind("127.0.0.1", 0)
    try:
        assert listener.getsockname()[1] > 0
        assert not listener.get_inheritable()
        with pytest.raises(ConfigurationError, match=r"in use already.*--port"):
            bind("127.0.0.1", listener.getsockname()[1])
    finally:
        listener.close()


def test_a_host_that_is_none_of_ours_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no address of this machine"):
        bind("203.0.113.7", 0)

    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(module.socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigurationError, match="HOST='nobody' is no address"):
        bind("nobody", 0)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "in use"),
        (errno.EACCES, "from 1024 on"),
        (errno.EADDRNOTAVAIL, "no address"),
        (errno.EMFILE, "cannot listen on h:80: why"),
    ],
)
def test_why_there_is_no_listener_is_said_in_words(number: int, words: str) -> None:
    assert words in module._why_not("h", 80, OSError(number, "why"))


@pytest.mark.parametrize(
    ("changes", "urls"),
    [
        ({}, ["http://localhost:8000/"]),
        ({"host": "127.0.0.2"}, ["http://127.0.0.2:8000/"]),
        ({"host": "::1"}, ["http://[::1]:8000/"]),
        ({"host": "192.0.2.1", "api_key": KEY}, ["http://192.0.2.1:8000/"]),
        (
            {"host": "0.0.0.0", "api_key": KEY, "tls_self_signed": True},
            ["https://localhost:8000/", "https://192.0.2.7:8000/"],
        ),
    ],
)
def test_the_likeliest_address_of_the_page_comes_first(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], urls: list[str]
) -> None:
    monkeypatch.setattr(module, "local_addresses", lambda: ["192.0.2.7"])
    assert urls_of(Settings(**changes), 8000) == urls


def config_of(settings: Settings, files: WebFiles) -> tuple[uvicorn.Config, House]:
    app = create_app(settings, build=fake_house, files=files)
    return uvicorn_config(settings, app), app.state.house


def test_the_server_is_bounded_and_does_not_tell_what_it_is(
    settings: Settings, no_files: WebFiles
) -> None:
    config, _ = config_of(settings, no_files)
    assert config.limit_concurrency == settings.max_connections
    assert not config.server_header
    assert not config.access_log
    assert config_of(replace(settings, log_level="debug"), no_files)[0].access_log


def test_tls_comes_from_our_own_or_the_given_certificate(
    settings: Settings, no_files: WebFiles, tmp_path: Path
) -> None:
    own, _ = config_of(replace(settings, tls_self_signed=True), no_files)
    assert own.is_ssl
    assert own.ssl_certfile == str(settings.data_dir / "tls" / "self-signed.crt")
    cert, key = self_signed(tmp_path / "given", ["localhost"])
    given, _ = config_of(replace(settings, tls_cert=cert, tls_key=key), no_files)
    assert (given.is_ssl, given.ssl_keyfile) == (True, str(key))


def test_a_certificate_that_is_none_is_a_wrong_setting(
    settings: Settings, no_files: WebFiles, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(ConfigurationError, match="SALON_TLS_CERT"):
        config_of(replace(settings, tls_cert=bad, tls_key=bad), no_files)


class Line(EchoHandler):
    """A call that stays until it is told to end."""

    def __init__(self, gateway: FakeGateway) -> None:
        super().__init__(gateway)
        self.codes: list[int] = []
        self.socket = cast(Any, self)
        gateway.handlers.append(self)

    def close(self, code: int, _reason: str) -> None:
        self.codes.append(code)
        self.closed(code, "")


class Watched(FakeGateway):
    """Tells when draining begins."""

    def __init__(self) -> None:
        super().__init__()
        self.draining = asyncio.Event()

    async def drain(self, timeout: float) -> None:
        self.draining.set()
        await super().drain(timeout)


class Running:
    """A server in this process."""

    def __init__(self, settings: Settings, files: WebFiles) -> None:
        config, self.house = config_of(settings, files)
        self.gateway = Watched()
        self.house.gateway = self.gateway
        self.announced = asyncio.Event()
        self.server = CallsFirstServer(config, self.house, self.announced.set)
        self.listener = bind("127.0.0.1", 0)

    async def __aenter__(self) -> Running:
        self.task = asyncio.ensure_future(self.server.serve(sockets=[self.listener]))
        await asyncio.wait_for(self.announced.wait(), 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = self.server.force_exit = True
        await asyncio.wait_for(self.task, 20)
        self.listener.close()


async def test_a_server_without_calls_ends_at_once(settings: Settings, no_files: WebFiles) -> None:
    async with Running(replace(settings, shutdown_timeout=600.0), no_files) as running:
        assert running.house.ready
        running.server.should_exit = True
        await asyncio.wait_for(running.task, 20)
    assert running.gateway.drained == [600.0]
    assert not running.house.ready


async def test_G21_a_server_told_to_stop_lets_its_calls_end(
    settings: Settings, no_files: WebFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "salon.app")
    async with Running(replace(settings, shutdown_timeout=600.0), no_files) as running:
        call = Line(running.gateway)
        running.server.should_exit = True
        await asyncio.wait_for(running.gateway.draining.wait(), 20)
        assert running.house.draining
        call.closed(1000, "")  # the call ends by itself
        await asyncio.wait_for(running.task, 20)
    assert call.codes == []
    assert "waiting up to 600 s for 1 calls" in caplog.text


async def test_G21_a_second_signal_ends_the_waiting(settings: Settings, no_files: WebFiles) -> None:
    async with Running(replace(settings, shutdown_timeout=600.0), no_files) as running:
        call = Line(running.gateway)
        running.server.should_exit = True
        await asyncio.wait_for(running.gateway.draining.wait(), 20)
        running.server.force_exit = True
        await asyncio.wait_for(running.task, 20)
    assert running.gateway.drained == [600.0, 0]
    assert call.codes == [1001]


async def test_what_keeps_the_house_from_opening_reaches_whoever_runs_the_server(
    settings: Settings, no_files: WebFiles
) -> None:
    async def fail() -> None:
        raise ConfigurationError("no such database")

    async def nothing() -> None:
        return

    config, house = config_of(settings, no_files)
    house.stages = ((Service("store", fail, nothing),),)
    with bind("127.0.0.1", 0) as listener, pytest.raises(ConfigurationError, match="database"):
        await CallsFirstServer(config, house).serve(sockets=[listener])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_normal_end(
    settings: Settings, no_files: WebFiles, number: signal.Signals
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    level = logging.getLogger("uvicorn.error").level
    app = create_app(settings, build=fake_house, files=no_files)
    announced = []

    def announce() -> None:
        announced.append(True)
        os.kill(os.getpid(), number)

    with bind("127.0.0.1", 0) as listener:
        run(settings, app, listener, announce)
    assert announced == [True]
    assert app.state.house.gateway.drained == [settings.shutdown_timeout]
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    assert logging.getLogger("uvicorn.error").level == level


def test_the_notices_of_uvicorn_are_shown_to_who_debugs() -> None:
    logger, root = logging.getLogger("uvicorn.error"), logging.getLogger()
    before, level = root.level, logger.level
    try:
        root.setLevel(logging.INFO)
        with module._quiet_uvicorn():
            assert logger.level == logging.WARNING
        root.setLevel(logging.DEBUG)
        with module._quiet_uvicorn():
            assert logger.level == level
    finally:
        root.setLevel(before)
