"""Every loss and every strange message ends for the client in the exception, the callback or the
reconnect that is documented for it, and nothing is left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import pytest
from tests.conformance.odyssey.fault_stage import (
    FIELDS,
    STRANGE,
    Act,
    ask,
    closed,
    forget,
    meeting,
    theirs_of,
    works,
)
from tests.conformance.odyssey.server_caller import until
from tests.conformance.odyssey.witness import LIMIT_S

from salon.clients.odyssey import (
    ConnectionStatus,
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyStreamError,
    RateLimitError,
)
from salon.testing.odyssey import (
    MESSAGES,
    Connection,
    Faults,
    HttpFault,
    MessageFault,
    StartRefusal,
)


def error_of(reason: str) -> Act:
    return lambda theirs: theirs.send_signaling(f'{{"type": "error", "reason": "{reason}"}}')


LOSSES: Final[dict[str, tuple[Act, str | None, bool]]] = {
    "1000": (closed(1000, "done"), None, False),
    "1001": (closed(1001, "restart"), None, True),
    "1011": (closed(1011, "broken"), "Signaling disconnected: broken", True),
    "4001": (closed(4001, ""), "Disconnected from signaling server", True),
    "streamer gone": (error_of("streamer_disconnected"), "Streamer has disconnected.", True),
    "time is up": (
        error_of("duration_limit_reached"),
        "Connection exceeded maximum allowed duration.",
        False,
    ),
    "peer": (Connection.close_peer, "", True),
    "video": (Connection.close_video, "The video track has ended", True),
}
"""How it is lost, the text of the error (None: there is none), whether a reconnect is made."""


@pytest.mark.parametrize("name", LOSSES)
async def test_D1_D2_D4_D5_D12_O33_every_loss_ends_what_waits(name: str) -> None:
    act, text, _ = LOSSES[name]
    async with meeting() as (server, client, witness):
        for kind in MESSAGES:
            server.faults.message(kind, MessageFault(drop=True))
        calls = [
            asyncio.ensure_future(client.start_stream("a dog", timeout=None)),
            asyncio.ensure_future(client.interact("it barks", timeout=None)),
            asyncio.ensure_future(client.end_stream(timeout=None)),
        ]
        frames, events = client.frames(), client.events()
        await asyncio.sleep(0)
        await act(theirs_of(server, client))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in results] == [OdysseyConnectionError] * 3
        shown = [one async for one in frames]
        assert all(one.width == 176 for one in shown)
        assert [one.name async for one in events][-1] == "disconnected"
        assert witness.of("disconnected") == [()]
        if text is None:
            assert witness.statuses[-1] == ("disconnected", None)
            assert witness.of("error") == []
        else:
            [(error, fatal)] = witness.of("error")
            assert isinstance(error, OdysseyConnectionError)
            assert fatal is True
            assert error.args[0].startswith(text)
            assert witness.statuses[-1] == ("failed", error.args[0])
        server.faults.clear()
        await client.connect(**witness.callbacks())
        await works(client, witness)


@pytest.mark.parametrize("name", LOSSES)
async def test_D5_O58a_which_losses_are_followed_by_a_reconnect(name: str) -> None:
    act, _, again = LOSSES[name]
    async with meeting(retries=1, reconnect=True) as (server, client, witness):
        first = client.current_session_id
        await act(theirs_of(server, client))
        await witness.until("disconnected")
        if not again:
            assert not client.is_connected
            assert "reconnecting" not in [status for status, _ in witness.statuses]
            return
        await witness.until("connected", 2)
        assert client.current_session_id != first
        assert [fatal for _, fatal in witness.of("error")] == [False]
        await works(client, witness)


AGAIN: Final[dict[str, Callable[[Faults, int | None], object]]] = {
    "request 500": lambda f, n: f.http("sessions.request", HttpFault(status=500, times=n)),
    "request 503": lambda f, n: f.http("sessions.request", HttpFault(status=503, times=n)),
    "request dropped": lambda f, n: f.http("sessions.request", HttpFault(drop=True, times=n)),
    "no session": lambda f, n: f.http(
        "sessions.request", HttpFault(without=("session_id",), times=n)
    ),
    "token 500": lambda f, n: f.http("sessions.token", HttpFault(status=500, times=n)),
    "token dropped": lambda f, n: f.http("sessions.token", HttpFault(drop=True, times=n)),
    "socket 503": lambda f, n: f.http("signaling", HttpFault(status=503, times=n)),
    "socket dropped": lambda f, n: f.http("signaling", HttpFault(drop=True, times=n)),
}


@pytest.mark.parametrize("name", AGAIN)
async def test_D5_O74a_a_reconnect_that_fails_is_tried_again_and_given_up(name: str) -> None:
    async with meeting(retries=3, reconnect=True) as (server, client, witness):
        AGAIN[name](server.faults, 1)
        await theirs_of(server, client).close_socket(1011, "restart")
        await witness.until("connected", 2)
        assert [fatal for _, fatal in witness.of("error")] == [False, False]
        await works(client, witness)
        AGAIN[name](server.faults, None)
        await theirs_of(server, client).close_socket(1011, "restart")
        async with asyncio.timeout(LIMIT_S):
            while client.current_status is not ConnectionStatus.FAILED:
                await asyncio.sleep(0.01)
        fatal = [fatal for _, fatal in witness.of("error")]
        assert fatal[-1] is True
        assert fatal.count(True) == 1
        assert len(witness.of("disconnected")) == 2
        server.faults.clear()
        await client.connect(**witness.callbacks())
        await works(client, witness)


@pytest.mark.parametrize("fault", ["refused", "limit", "error", "close"])
async def test_D5_O30_O33_a_reconnect_that_is_refused(fault: str) -> None:
    said = {"error": "RATE_LIMITED", "message": "Slow", "action": "Wait"}
    async with meeting(retries=2, reconnect=True) as (server, client, witness):
        asked = server.asked.count("sessions.request")
        if fault == "refused":
            server.faults.http("sessions.request", HttpFault(status=401))
        elif fault == "limit":
            server.faults.http("sessions.request", HttpFault(status=429, body=said))
        elif fault == "error":
            server.faults.signaling.error_reason = "streamer_not_available"
        else:
            server.faults.signaling.close = (1011, "full")
        await theirs_of(server, client).close_socket(1011, "restart")
        async with asyncio.timeout(LIMIT_S):
            while client.current_status is not ConnectionStatus.FAILED:
                await asyncio.sleep(0.01)
        kinds = {"refused": OdysseyAuthError, "limit": RateLimitError}
        last, fatal = witness.of("error")[-1]
        assert isinstance(last, kinds.get(fault, OdysseyConnectionError))
        assert fatal is True
        tries = server.asked.count("sessions.request") - asked
        assert tries == (1 if fault in kinds else 2)  # hopeless: once


async def test_O59_a_picture_that_stops_leaves_the_connection() -> None:
    async with meeting() as (server, client, witness):
        frames = client.frames()
        async with asyncio.timeout(LIMIT_S):
            await anext(frames)
        server.faults.frozen_picture = True
        await works(client, witness)
        server.faults.frozen_picture = False
        theirs_of(server, client).end_video()  # a track that stops says nothing on the wire
        await works(client, witness)
        assert client.is_connected
        assert witness.of("error") == []
        await client.disconnect()
        async with asyncio.timeout(LIMIT_S):
            assert len([one async for one in frames]) <= 1


TEXTS: Final = dict(
    zip(("no JSON", "no object", "too deep", "no type", "unknown"), STRANGE, strict=False)
)


WAYS: Final = ("drop", "late", "twice", "without", "wrong", *TEXTS)


REPORTED: Final = ("no JSON", "no object", "too deep")


INCOMPLETE: Final = "Broadcast setup incomplete: missing playback URL or token"


def spoilt(kind: str, way: str) -> MessageFault:
    if way in TEXTS:
        return MessageFault(instead=TEXTS[way], times=1)
    return {
        "drop": MessageFault(drop=True, times=1),
        "late": MessageFault(delay_s=0.4, times=1),
        "twice": MessageFault(twice=True, times=1),
        "without": MessageFault(without=FIELDS[kind], times=1),
        "wrong": MessageFault(fields=dict.fromkeys(FIELDS[kind], 5), times=1),
    }[way]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [kind for kind in FIELDS if kind != "broadcast_ready"])
async def test_D2_O52_O56_O57_every_answer_said_wrongly(kind: str, way: str) -> None:
    callback = {"update_acknowledged": "interact_acknowledged"}.get(
        kind, kind.removeprefix("interactive_")
    )
    answered = way in ("twice", "without", "wrong")
    async with meeting() as (server, client, witness):
        if kind in ("update_acknowledged", "stream_ended"):
            await client.start_stream("a house")
        if kind == "interactive_stream_error":
            server.faults.start = StartRefusal("weather", "rain")
        server.faults.message(kind, spoilt(kind, way))
        if not answered:
            with pytest.raises(OdysseyStreamError, match="no answer from the streamer in time"):
                await ask(client, kind, 0.1)
        elif kind == "interactive_stream_error":
            text = "weather: rain" if way == "twice" else "unknown: Stream error occurred"
            with pytest.raises(OdysseyStreamError, match=f"^{text}$"):
                await ask(client, kind, LIMIT_S)
        else:
            value = await ask(client, kind, LIMIT_S)
            if kind != "stream_ended" and way != "twice":
                assert value == ""
                assert client.last_applied_prompt is None
        if answered or way == "late":
            await witness.until(callback, 2 if way == "twice" else 1)
        errors = witness.of("error") if way not in REPORTED else await witness.until("error")
        assert [fatal for _, fatal in errors] == [False] * (way in REPORTED)
        server.faults.clear()
        forget(client)
        await works(client, witness)


@pytest.mark.parametrize("way", WAYS)
async def test_O55_O57_O79_a_broadcast_announced_wrongly(way: str) -> None:
    async with meeting() as (server, client, witness):
        server.faults.message("broadcast_ready", spoilt("broadcast_ready", way))
        assert await client.start_stream("a dog", broadcast=True)
        await until(lambda: not server.faults._messages["broadcast_ready"], "it is said")
        if way in ("late", "twice"):
            await witness.until("broadcast_ready", 2 if way == "twice" else 1)
        elif way in ("without", "wrong"):
            assert await witness.until("stream_error") == [("broadcast_error", INCOMPLETE)]
        elif way in REPORTED:
            [(_, fatal)] = await witness.until("error")
            assert fatal is False
        await client.end_stream()
        assert len(witness.of("broadcast_ready")) == {"late": 1, "twice": 2}.get(way, 0)
        await works(client, witness)
