"""The signaling socket: O9, O26-O34."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from tests.conformance.odyssey.scripted_signaling import ScriptedSignaling, silent, within
from tests.conformance.odyssey.witness import Witness, connected
from tests.unit.clients.odyssey.core_stage import CoreStage
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from salon.clients.odyssey import AdvancedConfig, ConnectionStatus, Odyssey, OdysseyConnectionError
from salon.clients.odyssey import actions as act
from salon.testing.odyssey import API_KEY, HttpFault, OdysseyStandIn

REASONS = [
    (
        "streamer_not_available",
        "Streamer not available. Please ensure the streamer is running.",
    ),
    ("streamer_disconnected", "Streamer has disconnected."),
    ("unknown", "An unknown error occurred."),
    (None, "An unknown error occurred."),
    ("duration_limit_reached", "Connection exceeded maximum allowed duration."),
    ("out_of_cheese", "Server error: out_of_cheese"),
]
ONCE = AdvancedConfig(max_retries=0)


def _error(reason: str | None) -> dict[str, Any]:
    return {"type": "error"} | ({} if reason is None else {"reason": reason})


@pytest.mark.parametrize(("reason", "text"), REASONS)
def test_O30_a_signaling_error_while_connecting(reason: str | None, text: str) -> None:
    stage = CoreStage()
    stage.open()
    stage.done.clear()
    stage.signal(**_error(reason))
    [failed] = stage.of(act.ConnectFailed)
    assert isinstance(failed.error, OdysseyConnectionError)
    assert failed.error.args == (text,)
    assert stage.told == [
        ("status_change", ConnectionStatus.FAILED, text),
        ("error", failed.error, True),
    ]
    assert stage.done[-1] is failed


@pytest.mark.parametrize(("reason", "text"), REASONS)
def test_O30_D12_a_signaling_error_while_connected(reason: str | None, text: str) -> None:
    stage = CoreStage().connected()
    stage.signal(**_error(reason))
    assert stage.done[0] == act.HangUp(farewell=True)
    assert [one[0] for one in stage.told] == ["status_change", "error", "disconnected"]
    assert stage.statuses == [("failed", text)]


@pytest.mark.parametrize("code", [1000, 1001])
def test_O33_a_close_in_order_leads_to_disconnected(code: int) -> None:
    stage = CoreStage().connected()
    stage.take(stage.core.socket_closed(code, "bye", stage.now))
    assert stage.statuses == [("disconnected", None)]
    assert stage.told[-1] == ("disconnected",)
    assert stage.core.deadline() is None


@pytest.mark.parametrize("code", [1005, 1006, 1011, 1012, 4001])
@pytest.mark.parametrize(
    ("reason", "text"),
    [("gone", "Signaling disconnected: gone"), ("", "Disconnected from signaling server")],
)
def test_O33_another_close_leads_to_failed(code: int, reason: str, text: str) -> None:
    stage = CoreStage().connected()
    stage.take(stage.core.socket_closed(code, reason, stage.now))
    assert stage.done[0] == act.HangUp(farewell=False)
    assert stage.statuses == [("failed", text)]
    [(_, error, fatal)] = [one for one in stage.told if one[0] == "error"]
    assert isinstance(error, OdysseyConnectionError)
    assert fatal is True


def test_O28_keepalives_every_10_seconds_from_the_opening_on() -> None:
    stage = CoreStage()
    stage.open()
    stage.wait(9.9)
    assert stage.of(act.SendSignal) == []
    stage.wait(0.1)
    assert [json.loads(one.text) for one in stage.of(act.SendSignal)] == [{"type": "keepalive"}]
    stage.ready()
    stage.done.clear()
    stage.wait(35)
    assert [json.loads(one.text)["type"] for one in stage.of(act.SendSignal)] == ["keepalive"] * 3


def test_O29_nothing_is_sent_before_the_offer() -> None:
    stage = CoreStage()
    stage.open()
    sends = (act.SendSignal, act.SendStream)
    assert not any(isinstance(one, sends) for one in stage.done)
    [negotiate] = stage.signal(type="offer", sdp="v=0")
    assert negotiate == act.Negotiate("v=0")
    stage.take(stage.core.answered("v=0 mine", stage.now))
    [sent] = stage.of(act.SendSignal)
    assert json.loads(sent.text) == {"type": "answer", "sdp": "v=0 mine"}


def test_O42_an_offer_without_sdp_is_told() -> None:
    stage = CoreStage()
    stage.open()
    assert [one.name for one in stage.signal(type="offer") if isinstance(one, act.Notify)] == [
        "error"
    ]


async def test_O9_O26_a_server_of_ones_own_is_asked_without_a_token() -> None:
    async with ScriptedSignaling(silent).running() as server:
        client, witness = server.client(), Witness()
        connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
        await witness.until("status_change", 2)
        while len(server.asked) < 2:
            await asyncio.sleep(0)
        await client.disconnect()
        with pytest.raises(OdysseyConnectionError):
            await connecting
    assert server.asked == ["/config", "/client/s%201%2F%C3%A9"]
    assert witness.statuses == [
        ("connecting", "Connecting to signaling server..."),
        ("connecting", None),
        ("disconnected", None),
    ]
    assert witness.of("error") == []


async def test_O26_the_token_is_in_the_query_and_in_no_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with OdysseyStandIn() as server, Odyssey(API_KEY, api_url=server.url, debug=True) as one:
        credentials = await one.create_client_credentials()
        await one.connect_with_credentials(credentials)
        assert one.is_connected
        assert one.current_session_id == credentials.session_id
        records = [
            record for record in caplog.records if not record.name.startswith(("aiohttp", "salon"))
        ]
        assert any(record.name.startswith("odyssey") for record in records)
        assert not any(credentials.session_token in record.getMessage() for record in records)
        assert not any(API_KEY in record.getMessage() for record in records)


async def test_O27_ice_servers_are_read_before_each_attempt() -> None:
    async with ScriptedSignaling(silent).running() as server:
        server.refuse = 503
        client = server.client(
            advanced=AdvancedConfig(max_retries=2, initial_retry_delay_ms=1, max_retry_delay_ms=1)
        )
        with pytest.raises(OdysseyConnectionError, match="503"):
            await client.connect()
        await client.disconnect()
    assert server.asked == ["/config", "/client/s%201%2F%C3%A9"] * 3


async def test_O27_a_failing_config_is_no_failure() -> None:
    async with OdysseyStandIn() as server:
        server.faults.http("config", HttpFault(status=500))
        async with connected(server) as (client, _):
            assert client.is_connected


async def test_O74a_every_attempt_with_a_key_asks_for_a_token() -> None:
    async with OdysseyStandIn() as server:
        server.faults.http("signaling", HttpFault(status=503, times=2))
        fast = AdvancedConfig(initial_retry_delay_ms=1, max_retry_delay_ms=1)
        async with Odyssey(API_KEY, api_url=server.url, advanced=fast) as client:
            await client.connect()
            attempts = ["config", "sessions.token", "signaling"] * 3
            assert server.asked[-10:] == ["sessions.token", *attempts]


async def test_O31_messages_of_64_mib_are_read() -> None:
    async def script(socket: ServerConnection) -> None:
        head = '{"type": "news", "text": "'
        await socket.send(head + "x" * (64 * 1024 * 1024 - len(head) - 2) + '"}')
        await socket.send('{"type": "error", "reason": "streamer_disconnected"}')
        await silent(socket)

    async with ScriptedSignaling(script).running() as server:
        client = server.client(advanced=ONCE)
        with pytest.raises(OdysseyConnectionError, match="Streamer has disconnected"):
            await within(client.connect())
        await client.disconnect()


@pytest.mark.parametrize("by", ["disconnect", "cancel"])
async def test_O32_how_a_client_leaves(by: str) -> None:
    heard: list[str | bytes] = []
    closed: asyncio.Future[tuple[int | None, str | None]] = asyncio.Future()
    witness = Witness()

    async def script(socket: ServerConnection) -> None:
        await socket.send("no json")  # the client says when it has read it
        try:
            while True:
                heard.append(await socket.recv())
        except ConnectionClosed:
            closed.set_result((socket.close_code, socket.close_reason))

    async with ScriptedSignaling(script).running() as server:
        client = server.client()
        connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
        await witness.until("error")
        if by == "cancel":
            connecting.cancel()
            await asyncio.wait([connecting])
            assert connecting.cancelled()
        await client.disconnect()
        assert await within(closed) == (1000, "Client disconnect")
        assert client.current_status is ConnectionStatus.DISCONNECTED
        await asyncio.wait([connecting])
    assert [json.loads(one) for one in heard] == [{"type": "client_disconnecting"}]


@pytest.mark.parametrize(
    ("code", "reason", "status", "text"),
    [
        (1000, "done", "disconnected", None),
        (1001, "going", "disconnected", None),
        (1011, "broken", "failed", "Signaling disconnected: broken"),
        (4001, "", "failed", "Disconnected from signaling server"),
    ],
)
async def test_O33_D4_a_server_that_closes_is_noticed(
    code: int, reason: str, status: str, text: str | None
) -> None:
    witness = Witness()
    async with OdysseyStandIn() as server, connected(server, witness) as (client, theirs):
        await theirs.close_socket(code, reason)
        await witness.until("disconnected")
        assert witness.statuses[-1] == (status, text)
        assert [fatal for _, fatal in witness.of("error")] == [True] * (status == "failed")
        assert client.current_status.value == status


async def test_O33_a_close_while_connecting_fails_at_once() -> None:
    async with OdysseyStandIn() as server:
        server.faults.signaling.close = (4401, "not you")
        async with Odyssey(API_KEY, api_url=server.url) as client:
            with pytest.raises(OdysseyConnectionError, match="Signaling disconnected: not you"):
                await within(client.connect())
            assert client.current_status is ConnectionStatus.FAILED


async def test_O34_pings_are_answered() -> None:
    answered: asyncio.Future[float] = asyncio.Future()

    async def script(socket: ServerConnection) -> None:
        answered.set_result(await (await socket.ping()))
        await silent(socket)

    async with ScriptedSignaling(script).running() as server:
        client = server.client()
        connecting = asyncio.ensure_future(client.connect())
        assert await within(answered) >= 0
        await client.disconnect()
        await asyncio.wait([connecting])
        assert isinstance(connecting.exception(), OdysseyConnectionError)
