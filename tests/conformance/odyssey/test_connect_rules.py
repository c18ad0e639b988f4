"""Connecting and leaving, against a whole server: O7, O15, O62-O64, O71-O74, O105."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.odyssey.witness import LIMIT_S, Witness, connected, tasks_of_others

from salon.clients.odyssey import (
    AdvancedConfig,
    ClientCredentials,
    ConnectionStatus,
    DevConfig,
    Odyssey,
    OdysseyAuthError,
    OdysseyConnectionError,
    RateLimitError,
)
from salon.testing.odyssey import (
    API_KEY,
    SUSPENDED_KEY,
    HttpFault,
    OdysseyStandIn,
    StandInSettings,
)

GOOD = [
    ("authenticating", "Connecting to Odyssey..."),
    ("connecting", "Connecting to signaling server..."),
    ("connecting", None),
    ("connected", None),
]


async def test_O15_O62_O71_a_good_connect() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, Odyssey(API_KEY, api_url=server.url) as client:
        assert await client.connect(**witness.callbacks())
        assert witness.statuses == GOOD
        assert witness.names == ["status_change"] * 4 + ["connected"]
        assert server.asked == [
            "auth.token",
            "regions",
            "ping",
            "sessions.request",
            "sessions.token",
            "config",
            "sessions.token",
            "signaling",
        ]
        assert client.is_connected
        assert client.current_session_id in server.connections
        await client.disconnect()
        assert witness.statuses[4:] == [("disconnected", None)]
        assert client.current_session_id is None
        assert witness.of("disconnected") == [()]
        assert witness.of("error") == []


async def test_O71_with_credentials_the_broker_is_not_asked() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server:
        credentials = await Odyssey(API_KEY, api_url=server.url).create_client_credentials()
        assert isinstance(credentials, ClientCredentials)
        before = len(server.asked)
        async with Odyssey(api_url="http://127.0.0.1:1") as client:
            await client.connect_with_credentials(credentials, **witness.callbacks())
            assert await client.start_stream("a dog")
            assert client.current_session_id == credentials.session_id
        assert server.asked[before:] == ["config", "signaling"]
    assert witness.statuses[:-1] == [
        ("connecting", "Connecting with pre-minted credentials..."),
        ("connecting", None),
        ("connected", None),
    ]


async def test_O9_the_older_generation_connects_without_a_key() -> None:
    witness = Witness()
    async with OdysseyStandIn(StandInSettings(tokenless=True)) as server:
        dev = DevConfig(signaling_url=server.signaling_url, session_id="mine")
        async with Odyssey("unused", dev=dev) as client:
            await client.connect(**witness.callbacks())
            assert client.current_session_id == "mine"
            assert await client.start_stream("a dog")
        assert server.asked == ["config", "signaling"]
    assert witness.statuses[:2] == GOOD[1:3]


@pytest.mark.parametrize(
    ("key", "fault", "kind", "text"),
    [
        ("ody_wrong", None, OdysseyAuthError, "Invalid API key"),
        (SUSPENDED_KEY, None, OdysseyAuthError, "API key has been suspended"),
        ("", None, OdysseyConnectionError, "api_key is required for this operation"),
        (
            API_KEY,
            ("auth.token", HttpFault(status=500)),
            OdysseyConnectionError,
            "Authentication failed: 500",
        ),
        (
            API_KEY,
            ("sessions.request", HttpFault(status=503)),
            OdysseyConnectionError,
            "No streamers available. Please try again later.",
        ),
        (
            API_KEY,
            (
                "sessions.request",
                HttpFault(
                    status=429,
                    body={"detail": {"error": "RATE_LIMITED", "message": "Slow", "action": "Wait"}},
                ),
            ),
            RateLimitError,
            "Slow",
        ),
        (
            API_KEY,
            ("sessions.token", HttpFault(status=404)),
            OdysseyConnectionError,
            "Session not found or not authorized",
        ),
    ],
)
async def test_O72_failures_before_signaling(
    key: str, fault: tuple[str, HttpFault] | None, kind: type[Exception], text: str
) -> None:
    witness = Witness()
    async with OdysseyStandIn() as server:
        if fault is not None:
            server.faults.http(*fault)
        one_try = AdvancedConfig(queue_timeout_s=0)
        async with Odyssey(key, api_url=server.url, advanced=one_try) as client:
            with pytest.raises(kind) as raised:
                await client.connect(**witness.callbacks())
            assert raised.value.args[0].startswith(text)
            assert client.current_status is ConnectionStatus.FAILED
            [(error, fatal)] = witness.of("error")
            assert error is raised.value
            assert fatal is True
            assert witness.statuses[-1] == ("failed", error.args[0])
            assert witness.of("connected") == witness.of("disconnected") == []


async def test_O73_credentials_need_a_key() -> None:
    with pytest.raises(ValueError, match=r"^api_key is required for this operation"):
        await Odyssey().create_client_credentials()
    async with OdysseyStandIn() as server:
        with pytest.raises(OdysseyAuthError, match="Invalid API key"):
            await Odyssey("ody_wrong", api_url=server.url).create_client_credentials()


async def test_O64_connect_while_connected_keeps_the_callbacks() -> None:
    first, second = Witness(), Witness()
    async with OdysseyStandIn() as server, connected(server, first) as (client, _):
        session_id = client.current_session_id
        assert await client.connect(**second.callbacks())
        assert client.current_session_id == session_id
        await client.start_stream("a dog")
        assert first.of("stream_started")
        assert second.said == []


async def test_O64_connect_while_connecting_is_refused() -> None:
    async with OdysseyStandIn() as server:
        server.faults.signaling.offer = False
        async with Odyssey(API_KEY, api_url=server.url) as client:
            witness = Witness()
            connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
            await witness.until("status_change")
            with pytest.raises(OdysseyConnectionError, match=r"^Already authenticating"):
                await client.connect()
            await witness.until("status_change", 3)
            with pytest.raises(OdysseyConnectionError, match=r"^Already connecting"):
                await client.connect()
            await client.disconnect()
            with pytest.raises(OdysseyConnectionError, match="Connection closed"):
                await connecting
            assert witness.of("error") == []
            server.faults.signaling.offer = True
            assert await client.connect()


async def test_O63_disconnect_in_any_state_and_twice() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server:
        client = Odyssey(API_KEY, api_url=server.url)
        await client.disconnect()
        assert client.current_status is ConnectionStatus.DISCONNECTED
        await client.connect(**witness.callbacks())
        await asyncio.gather(client.disconnect(), client.disconnect())
        await client.disconnect()
        assert witness.of("disconnected") == [()]
        assert await client.connect(**witness.callbacks())
        await client.disconnect()
        assert witness.of("disconnected") == [(), ()]


async def test_O63_no_task_and_no_session_is_left() -> None:
    async with OdysseyStandIn() as server:
        before = asyncio.all_tasks()
        client = Odyssey(API_KEY, api_url=server.url)

        async def slow(*arguments: Any) -> None:
            await asyncio.sleep(0)

        await client.connect(on_video_frame=slow, on_status_change=slow, on_audio_frame=slow)
        await client.start_stream("a dog")
        await client.interact("it barks")
        async for _ in client.frames():
            break
        await client.disconnect()
        assert tasks_of_others(before) == set()
        named = {task.get_name() for task in asyncio.all_tasks() - before}
        assert not any("video viewer" in name for name in named), named
        async with asyncio.timeout(10):
            while server.connections:
                await asyncio.sleep(0.01)


async def _alone(url: str, key: str) -> set[asyncio.Task[Any]]:
    """Connect, use and leave; the tasks of this loop that are left, but for this one."""

    async def slow(*arguments: Any) -> None:
        await asyncio.sleep(0.01)

    client = Odyssey(key, api_url=url, enable_telemetry=True)
    await client.connect(on_video_frame=slow, on_status_change=slow, on_disconnected=slow)
    await client.start_stream("a dog")
    async for _ in client.frames():
        break
    await client.disconnect()
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


async def test_O63_D13_nothing_at_all_is_left_in_the_clients_loop() -> None:
    async with OdysseyStandIn() as server:
        left = await asyncio.to_thread(asyncio.run, _alone(server.url, API_KEY))
    assert left == set()


async def test_O63_D1_a_disconnect_that_is_cancelled_tells_everybody_all_the_same() -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, _):
        events = client.events()
        leaving = asyncio.ensure_future(client.disconnect())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        async with asyncio.timeout(LIMIT_S):
            told = [event.name async for event in events]
        assert told == ["status_change", "disconnected"]
        assert witness.statuses[-1] == ("disconnected", None)
        assert witness.of("disconnected") == [()]
        await client.disconnect()
        assert witness.of("disconnected") == [()]


async def test_O63_disconnect_from_within_a_callback() -> None:
    said: list[str] = []

    async def leave(stream_id: str) -> None:
        await client.disconnect()
        said.append("left")

    async def gone() -> None:
        said.append("gone")

    async with OdysseyStandIn() as server, Odyssey(API_KEY, api_url=server.url) as client:
        await client.connect(on_stream_started=leave, on_disconnected=gone)
        await client.start_stream("a dog")
        async with asyncio.timeout(10):
            while len(said) < 2:
                await asyncio.sleep(0.01)
        assert client.current_status is ConnectionStatus.DISCONNECTED
    assert sorted(said) == ["gone", "left"]


async def test_O74b_a_program_may_connect_again_when_it_is_told() -> None:
    again = asyncio.Event()

    async def connect_again() -> None:
        await client.connect()
        again.set()

    async with OdysseyStandIn() as server, Odyssey(API_KEY, api_url=server.url) as client:
        await client.connect(on_disconnected=connect_again)
        first = client.current_session_id
        await server.connections[str(first)].close_socket(1011, "")
        async with asyncio.timeout(10):
            await again.wait()
        assert client.is_connected
        assert client.current_session_id != first
        assert await client.start_stream("a dog")


async def test_events_are_read_to_the_last_one() -> None:
    async with OdysseyStandIn() as server, Odyssey(API_KEY, api_url=server.url) as client:
        events = client.events()
        await client.connect()
        await client.start_stream("a dog")
        await client.end_stream()
        await client.disconnect()
        seen = [event async for event in events]
    assert [one.name for one in seen] == [
        *["status_change"] * 4,
        "connected",
        "stream_started",
        "stream_ended",
        "status_change",
        "disconnected",
    ]
    assert seen[0].data == {
        "status": ConnectionStatus.AUTHENTICATING,
        "message": "Connecting to Odyssey...",
    }
    assert seen[5].data["stream_id"]


async def test_O105_telemetry_only_if_asked_for() -> None:
    async with OdysseyStandIn() as server:
        async with Odyssey(API_KEY, api_url=server.url) as client:
            await client.connect()
        assert server.telemetry == []
        async with Odyssey(API_KEY, api_url=server.url, enable_telemetry=True) as client:
            await client.connect()
            session_id = client.current_session_id
        events = server.telemetry
        assert [one["event"] for one in events] == [
            "session_connecting",
            "session_connected",
            "session_disconnected",
        ]
        assert events[1]["connect_duration_ms"] >= 0
        assert events[1]["session_id"] == events[2]["session_id"] == session_id


async def test_O104_a_failed_connect_is_reported() -> None:
    async with OdysseyStandIn() as server:
        client = Odyssey("ody_wrong_key", api_url=server.url, enable_telemetry=True)
        with pytest.raises(OdysseyAuthError):
            await client.connect()
        await client.disconnect()
        [failure] = [one for one in server.telemetry if "error_type" in one]
        assert failure["error_type"] == "auth"
        assert failure["connection_status"] == "failed"
