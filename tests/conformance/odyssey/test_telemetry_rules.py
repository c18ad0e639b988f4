"""Telemetry and logging (O103-O106)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.clients.odyssey.service import KEY, Answer, Service, broker, serving

from salon.clients.odyssey.broker import Broker
from salon.clients.odyssey.config import ClientConfig, DevConfig
from salon.clients.odyssey.errors import (
    ApiKeyError,
    MissingApiKeyError,
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyStreamError,
    RateLimitError,
    UnreachableError,
)
from salon.clients.odyssey.logs import Log, shorten
from salon.clients.odyssey.telemetry import Telemetry
from salon.clients.odyssey.types import ConnectionStatus

FAILED = ConnectionStatus.FAILED


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as made:
        made.on("POST", "/telemetry", Answer(202))
        yield made


def telemetry(service: Service, *, key: str = KEY, enabled: bool = True) -> Telemetry:
    return Telemetry(ClientConfig(key, api_url=service.url), enabled=enabled)


async def events(service: Service, made: Telemetry) -> list[dict[str, Any]]:
    """What arrived, after everything under way did."""
    await made.close(20)
    for asked in service.asked:
        assert list(asked.body) == ["events"]
        assert len(asked.body["events"]) == 1
    return [asked.body["events"][0] for asked in service.asked]


async def test_O103_one_event_per_post_and_no_authorization(service: Service) -> None:
    made = telemetry(service)
    made.connecting()
    made.connected("s-1", 250)
    found = await events(service, made)
    assert service.paths() == ["POST /telemetry"] * 2
    assert all("Authorization" not in asked.headers for asked in service.asked)
    assert sorted(event["event"] for event in found) == ["session_connected", "session_connecting"]
    assert made.sent == 2


async def test_O103_at_most_three_are_under_way(service: Service) -> None:
    made = telemetry(service)
    for _ in range(5):
        made.connecting()
    assert len(await events(service, made)) == 3
    assert (made.sent, made.dropped) == (3, 2)
    made.connecting()
    assert len(await events(service, made)) == 4


async def test_O103_failures_are_swallowed(service: Service, caplog: Any) -> None:
    service.on("POST", "/telemetry", Answer(500))
    made = telemetry(service)
    made.connecting()
    await made.close(20)
    async with serving() as gone:
        nowhere = telemetry(gone)
    nowhere.disconnected()
    odd = Telemetry(ClientConfig(KEY, api_url="nowhere"), enabled=True)
    odd.disconnected()
    await nowhere.close(20)
    await odd.close(20)
    assert (nowhere.failed, odd.failed) == (1, 1)
    assert not [record for record in caplog.records if record.name.startswith("odyssey")]


async def test_O103_closing_does_not_wait_for_a_silent_server() -> None:
    async def hold_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await over.wait()
        writer.close()

    arrived, over = asyncio.Event(), asyncio.Event()
    silent = await asyncio.start_server(hold_on, "127.0.0.1", 0)
    async with silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        made = Telemetry(ClientConfig(KEY, api_url=url), enabled=True)
        made.connecting()
        await arrived.wait()
        await asyncio.wait_for(made.close(0), 20)
        over.set()
    assert (made.sent, made.failed) == (0, 0)


async def test_O104_common_fields(service: Service) -> None:
    made = telemetry(service)
    made.connected("s-1", 250)
    (event,) = await events(service, made)
    assert re.fullmatch(r"\S+ \S+ / Python 3\.\d+\.\d+\S*", event.pop("platform_info"))
    assert event == {
        "sdk_version": "1.3.0",
        "sdk_platform": "python",
        "session_id": "s-1",
        "api_key_prefix": KEY[:8],
        "event": "session_connected",
        "connect_duration_ms": 250,
    }


async def test_O104_a_short_key_and_an_unknown_session_are_left_out(service: Service) -> None:
    made = telemetry(service, key="1234567")
    made.disconnected()
    (event,) = await events(service, made)
    assert "api_key_prefix" not in event
    assert "session_id" not in event
    assert event["event"] == "session_disconnected"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OdysseyAuthError("m"), "auth"),
        (ApiKeyError("m"), "auth"),
        (MissingApiKeyError(), "auth"),
        (OdysseyConnectionError("m"), "connection"),
        (UnreachableError("m"), "connection"),
        (OdysseyStreamError("m"), "stream"),
        (RateLimitError("RATE_LIMITED", "m", "a"), "usage"),
        (RuntimeError("m"), "unknown"),
    ],
)
async def test_O104_an_error_and_its_type(service: Service, error: Exception, kind: str) -> None:
    made = telemetry(service)
    made.failure(error, FAILED, "s-1")
    (event,) = await events(service, made)
    assert event["error_type"] == kind
    assert event["error_message"] == error.args[0]
    assert event["connection_status"] == "failed"
    assert event.get("error_code") == ("RATE_LIMITED" if kind == "usage" else None)


async def test_O104_a_message_has_at_most_2000_characters(service: Service) -> None:
    made = telemetry(service)
    made.failure(RuntimeError("x" * 5000), FAILED)
    (event,) = await events(service, made)
    assert event["error_message"] == "x" * 2000


async def test_O105_it_is_off_unless_asked_for(service: Service) -> None:
    for made in (
        Telemetry(ClientConfig(KEY, api_url=service.url)),
        telemetry(service, enabled=False),
    ):
        made.connecting()
        made.failure(RuntimeError("x"), FAILED)
        assert await events(service, made) == []
        assert (made.sent, made.dropped) == (0, 0)


async def test_O105_closing_without_any_event_is_fine(service: Service) -> None:
    made = telemetry(service)
    await made.close()
    await made.close()
    assert not service.asked


@pytest.mark.parametrize(
    ("config", "level", "count"),
    [
        (ClientConfig(KEY), logging.DEBUG, 0),
        (ClientConfig(KEY, debug=True), logging.INFO, 0),
        (ClientConfig(KEY, debug=True), logging.DEBUG, 1),
        (ClientConfig(KEY, dev=DevConfig(debug=True)), logging.DEBUG, 1),
    ],
)
def test_O106_debug_records_need_the_switch_and_the_level(
    config: ClientConfig, level: int, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log("auth", "Auth", debug=config.debugging)
    with caplog.at_level(level, "odyssey"):
        log.debug("asking %s", "politely")
        log.error("failed")
    assert [record.getMessage() for record in caplog.records] == [
        *["[Auth] asking politely"] * count,
        "[Auth] failed",
    ]
    assert {record.name for record in caplog.records} == {"odyssey._internal.auth"}


def test_O106_the_client_has_a_logger_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    Log("client", "Client", debug=False).warning("careful")
    assert (caplog.records[0].name, caplog.messages) == ("odyssey.client", ["[Client] careful"])


async def test_O106_neither_key_nor_token_is_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.on("POST", "/auth/token", Answer(200, {"access_token": "very-secret"}))
    config = ClientConfig(KEY, api_url=service.url, debug=True)
    with caplog.at_level(logging.DEBUG, "odyssey"):
        made = Broker(config)
        with pytest.raises(ConnectionError):
            await made.request_session()
        await made.close()
    assert len(caplog.records) >= 2
    assert KEY not in caplog.text
    assert "very-secret" not in caplog.text


async def test_O106_errors_are_logged_without_the_switch(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.on("POST", "/auth/token", Answer(401))
    async with broker(service) as made:
        with pytest.raises(ApiKeyError):
            await made.access_token()
    ours = [record for record in caplog.records if record.name.startswith("odyssey")]
    assert [record.getMessage() for record in ours] == ["[Auth] Invalid API key"]


def test_O106_payloads_are_cut() -> None:
    assert shorten("x" * 200) == "x" * 200
    assert shorten("x" * 5000) == "x" * 200 + "... (5000 characters)"
