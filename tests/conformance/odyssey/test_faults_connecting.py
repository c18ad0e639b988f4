"""Every fault on the way to a connection ends in the exception that is documented for it, in
bounded time, with no call, task, thread or connection left, and the next attempt works."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, Final

import pytest
from tests.conformance.odyssey.fault_stage import (
    BODIES,
    EVERY,
    LATE,
    OFFERS,
    SHORT,
    SOFT,
    STATUSES,
    STRANGE,
    ClientClock,
    client_of,
    fallback,
    hurried,
    stage,
    works,
)
from tests.conformance.odyssey.server_caller import until
from tests.conformance.odyssey.witness import Witness

from salon.clients.odyssey import (
    AdvancedConfig,
    ConnectionStatus,
    Odyssey,
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyError,
    OdysseyStreamError,
    RateLimitError,
)
from salon.testing.odyssey import (
    HttpFault,
    OdysseyStandIn,
)


async def fails_to_connect(
    client: Odyssey, kind: type[Exception], text: str, *, soft: int = 0
) -> OdysseyError:
    """`connect` raises what `on_error` is told as fatal, once, after `soft` errors that are not."""
    witness = Witness()
    with pytest.raises(kind) as caught:
        await client.connect(**witness.callbacks())
    error = caught.value
    assert isinstance(error, OdysseyError)
    assert isinstance(error, OdysseyAuthError) is (kind is OdysseyAuthError), error
    assert error.args[0].startswith(text), error
    assert client.current_status is ConnectionStatus.FAILED
    assert [fatal for _, fatal in witness.of("error")] == [False] * soft + [True]
    assert witness.of("error")[-1] == (error, True)
    assert witness.statuses[-1] == ("failed", error.args[0])
    assert witness.of("connected") == witness.of("disconnected") == []
    return error


MISSING: Final = {
    "auth.token": (("access_token",), "Invalid auth response: missing access_token"),
    "sessions.request": (
        ("session_id", "signalling_url"),
        "Invalid API response: missing session_id or signalling_url",
    ),
    "sessions.token": (("session_token",), "Invalid session token response"),
}


@pytest.mark.parametrize("route", STATUSES)
async def test_O13_O17_O18_O19_O21_D10_every_status_on_the_way_to_a_session(route: str) -> None:
    usual, special = STATUSES[route]
    async with stage() as server, client_of(server) as client:
        for status in EVERY:
            server.faults.http(route, HttpFault(status=status))
            kind, text = special.get(status, (OdysseyConnectionError, f"{usual}{status}"))
            error = await fails_to_connect(client, kind, text)
            assert error.status == status
            if route != "signaling":
                with pytest.raises(kind) as caught:  # O73
                    await client.create_client_credentials()
                assert caught.value.args == error.args
                assert isinstance(caught.value, OdysseyAuthError) is (kind is OdysseyAuthError)
        server.faults.clear()
        assert await client.connect()


@pytest.mark.parametrize("route", MISSING)
async def test_O13_O19_O21_every_bad_body_on_the_way_to_a_session(route: str) -> None:
    names, text = MISSING[route]
    bad = [HttpFault(status=200, body=body) for body in BODIES.values()]
    bad += [HttpFault(without=(name,)) for name in names]
    values: tuple[Any, ...] = (None, "", 5, [], {})
    bad += [HttpFault(fields={name: value}) for name in names for value in values]
    async with stage() as server, client_of(server) as client:
        for fault in bad:
            server.faults.http(route, fault)
            error = await fails_to_connect(client, OdysseyConnectionError, text)
            assert isinstance(error, ValueError)
        server.faults.http(route, HttpFault(fields={"expires_in": "soon"}))  # O14, O21
        assert await client.connect()


@pytest.mark.parametrize("route", STATUSES)
async def test_O25_O74a_nobody_there_on_the_way_to_a_session(route: str) -> None:
    async with stage() as server, client_of(server) as client:
        server.faults.http(route, HttpFault(drop=True))
        error = await fails_to_connect(client, OdysseyConnectionError, "")
        assert isinstance(error, ConnectionError)
        server.faults.http(route, HttpFault(delay_s=LATE))
        with hurried():
            error = await fails_to_connect(client, OdysseyConnectionError, "")
        assert isinstance(error, ConnectionError)
        assert f"{SHORT:g} s" in error.args[0]
        server.faults.http(route, HttpFault(delay_s=0.05))
        assert await client.connect()


@pytest.mark.parametrize("route", STATUSES)
async def test_O63_disconnect_ends_a_connect_that_waits(route: str) -> None:
    async with stage() as server, client_of(server) as client:
        server.faults.http(route, HttpFault(delay_s=LATE))
        for end in ("disconnect", "cancel"):
            before = server.asked.count(route)
            witness = Witness()
            connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
            await until(lambda: server.asked.count(route) > before, "asked")  # noqa: B023
            if end == "cancel":
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting
            else:
                await client.disconnect()
                with pytest.raises(OdysseyConnectionError, match="Connection closed"):
                    await connecting
            assert witness.statuses[-1] == ("disconnected", None)
            assert witness.of("error") == []
        server.faults.clear()
        assert await client.connect()


async def test_O18_O75_a_limit_of_the_account() -> None:
    said = {"error": "RATE_LIMITED", "message": "Slow", "action": "Wait"}
    async with stage() as server, client_of(server) as client:
        for body in (said, {"detail": said}):
            server.faults.http("sessions.request", HttpFault(status=429, body=body))
            with pytest.raises(RateLimitError) as caught:
                await client.connect()
            assert (caught.value.code, caught.value.status) == ("RATE_LIMITED", 429)


async def test_O17_a_streamer_that_gets_free_and_one_that_does_not() -> None:
    clock, patient = ClientClock(), AdvancedConfig(max_retries=0, queue_timeout_s=5)
    async with stage() as server, client_of(server, advanced=patient, clock=clock) as client:
        server.faults.http("regions", HttpFault(status=404))
        server.faults.http("sessions.request", HttpFault(status=503))
        text = "Timed out waiting for a streamer (5s)"
        await fails_to_connect(client, OdysseyConnectionError, text)
        server.faults.http("sessions.request", HttpFault(status=503, times=3))
        assert await client.connect()


@pytest.mark.parametrize(
    "fault",
    [HttpFault(status=500), HttpFault(drop=True), HttpFault(without=("session_token",))],
)
async def test_O74a_the_token_of_an_attempt_is_asked_for_again(fault: HttpFault) -> None:
    usual = HttpFault(times=1)
    once = dataclasses.replace(fault, times=1)
    async with stage() as server, client_of(server, retries=1) as client:
        server.faults.http("sessions.token", usual, once)
        assert await client.connect()
        assert server.asked.count("sessions.token") == 3
        await client.disconnect()
        server.faults.http("sessions.token", usual, fault)
        await fails_to_connect(client, OdysseyConnectionError, "")
        assert server.asked.count("sessions.token") == 6


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("signalling_url", "ftp://nowhere", "not the address of a signaling server"),
        ("signalling_url", "ws://127.0.0.1:1", "No connection to the signaling server"),
        ("session_id", "another", "The signaling server refused the connection: 4"),
    ],
)
async def test_O26_O74a_a_session_that_leads_nowhere(field: str, value: str, text: str) -> None:
    async with stage() as server, client_of(server) as client:
        server.faults.http("sessions.request", HttpFault(fields={field: value}))
        if field == "session_id":
            text = "Session not found or not authorized"
        with fallback(server):
            await fails_to_connect(client, OdysseyConnectionError, text)
        server.faults.clear()
        server.faults.http("sessions.token", HttpFault(fields={"session_token": "a.b.c"}))
        refused = "The signaling server refused the connection: 401"
        await fails_to_connect(client, OdysseyConnectionError, refused)
        with pytest.raises(OdysseyConnectionError):
            await client.create_client_credentials()


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("route", ["regions", "ping", "config"])
async def test_O16_O27_a_connect_does_without(route: str, name: str) -> None:
    async with stage() as server, client_of(server) as client:
        server.faults.http(route, SOFT[name])
        with fallback(server) as own, hurried():
            assert await client.connect()
        session = str(client.current_session_id)
        found = dict(server.latencies(session))
        answered = route != "ping" or name not in ("status", "drop", "late")
        if route == "regions":
            assert found == {}
        elif not answered:
            assert found == {"local": 9999}
        else:
            assert found["local"] < 9999
        attempt = client._driver._attempt
        assert attempt is not None
        given = own if name != "nonsense" else ()
        assert attempt.ice == (given if route == "config" else own)
        assert await client.start_stream("a dog")


@pytest.mark.parametrize("route", ["regions", "ping"])
async def test_O16_every_status_of_the_regions(route: str) -> None:
    async with stage() as server:
        for status in EVERY:
            server.faults.http(route, HttpFault(status=status))
            made = await client_of(server).create_client_credentials()
            expected = {"local": 9999} if route == "ping" else {}
            assert dict(server.latencies(made.session_id)) == expected, status


@pytest.mark.parametrize("name", SOFT)
async def test_O103_telemetry_disturbs_nothing(name: str) -> None:
    async with stage() as server, client_of(server, enable_telemetry=True) as client:
        server.faults.http("telemetry", SOFT[name])
        witness = Witness()
        await client.connect(**witness.callbacks())
        await works(client, witness)
        assert witness.of("error") == []


REASONS: Final = {
    "streamer_disconnected": "Streamer has disconnected.",
    "unknown": "An unknown error occurred.",
    "duration_limit_reached": "Connection exceeded maximum allowed duration.",
    "weather": "Server error: weather",
}


CLOSES: Final = {
    (1000, "done"): "Signaling disconnected: done",
    (1001, ""): "Disconnected from signaling server",
    (1008, "no"): "Signaling disconnected: no",
    (1011, ""): "Disconnected from signaling server",
}


def set_signaling(server: OdysseyStandIn, faults: dict[str, Any]) -> None:
    for name, value in faults.items():
        setattr(server.faults.signaling, name, value)


async def leap(server: OdysseyStandIn, clock: ClientClock, over: Callable[[], bool]) -> None:
    """Half minutes pass until it is `over`."""
    while not over():
        clock.ahead += 30
        for theirs in list(server.connections.values()):
            await theirs.send_signaling('{"type": "news"}')  # and the client looks at its clock
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("reason", REASONS)
async def test_O30_every_error_instead_of_an_offer(reason: str) -> None:
    async with stage() as server, client_of(server, retries=1) as client:
        server.faults.signaling.error_reason = reason
        await fails_to_connect(client, OdysseyConnectionError, REASONS[reason])
        assert server.asked.count("signaling") == 1  # O74a
        server.faults.clear()
        assert await client.connect()


@pytest.mark.parametrize("close", CLOSES)
async def test_O33_every_close_instead_of_an_offer(close: tuple[int, str]) -> None:
    async with stage() as server, client_of(server, retries=1) as client:
        server.faults.signaling.close = close
        await fails_to_connect(client, OdysseyConnectionError, CLOSES[close])
        assert server.asked.count("signaling") == 1
        server.faults.clear()
        assert await client.connect()


@pytest.mark.parametrize("name", OFFERS)
async def test_O74_D3_what_is_missing_ends_the_wait_after_30_seconds(name: str) -> None:
    faults, missing = OFFERS[name]
    clock, witness = ClientClock(), Witness()
    async with stage() as server, client_of(server, clock=clock) as client:
        set_signaling(server, faults)
        connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
        wanted = {"video_track", "data_channel"} - set(missing.split(", "))

        def arrived() -> bool:
            there = {"video_track": client._core._video, "data_channel": client._core._channel}
            told = len(witness.of("error")) == (name == "no SDP")
            return bool(server.connections) and told and all(there[one] for one in wanted)

        await until(arrived, "all that comes has come")
        await leap(server, clock, connecting.done)
        text = f"Connection timed out waiting for: {missing}"
        with pytest.raises(OdysseyConnectionError, match=f"^{text}$"):
            await connecting
        assert witness.statuses[-1] == ("failed", text)
        assert [fatal for _, fatal in witness.of("error")] == [False] * (name == "no SDP") + [True]
        server.faults.clear()
        await client.connect(**witness.callbacks())
        await works(client, witness)


@pytest.mark.parametrize("place", ["before_offer", "after_offer"])
async def test_O28_O57_strange_texts_around_the_offer(place: str) -> None:
    witness = Witness()
    async with stage() as server, client_of(server) as client:
        set_signaling(server, {place: STRANGE, "offer_delay_s": 0.05})
        await client.connect(**witness.callbacks())
        errors = await witness.until("error", 4)
        assert [fatal for _, fatal in errors] == [False] * 4
        await works(client, witness)
        assert client.statistics().ignored == 2


async def test_O37_a_second_offer_ends_in_bounded_time() -> None:
    clock, witness = ClientClock(), Witness()
    async with stage() as server, client_of(server, clock=clock) as client:
        server.faults.signaling.offers = 2  # the stand-in takes the answer to the first one only
        connecting = asyncio.ensure_future(client.connect(**witness.callbacks()))
        await until(lambda: server.connections and client._core._video, "an offer has come")
        await leap(server, clock, lambda: bool(witness.of("error")))
        [(error, fatal)] = witness.of("error")
        assert isinstance(error, OdysseyConnectionError)
        assert fatal is True
        assert error.args[0] == "Connection timed out waiting for: data_channel"
        await asyncio.wait([connecting])
        assert client.current_status is ConnectionStatus.FAILED
        server.faults.clear()
        await client.connect(**witness.callbacks())
        await works(client, witness)


async def test_D2_a_streamer_that_can_not_answer() -> None:
    witness = Witness()
    async with stage() as server, client_of(server) as client:
        server.faults.signaling.channels = ("clientToStreamer",)  # O39: and no way back
        await client.connect(**witness.callbacks())
        with pytest.raises(OdysseyStreamError, match="no answer from the streamer in time"):
            await client.start_stream("a dog", timeout=0.1)
        await client.disconnect()
        server.faults.signaling.channels = ("clientToStreamer", "streamerToClient")  # O40
        await client.connect(**witness.callbacks())
        await works(client, witness)
