"""Upgrades, registry and shutdown: G10-G22, G200, G201."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from salon.gateway import CallHandler, CallOption, Gateway, Session
from salon.testing import CallPair, CallRefusedError, scripted_gateway, tone
from salon.transport.sockets import Refusal, UpgradeRequest
from salon.voice.engine import VoiceEngine
from salon.voice.hearing import HearingConfig


def refusal(gateway: Gateway, url: str) -> Refusal:
    with pytest.raises(CallRefusedError) as caught:
        CallPair.connect(gateway.acceptor, url)
    return caught.value.refusal


@pytest.mark.parametrize("path", ["/ws", "/call"])
async def test_G10_G280_both_paths_take_calls(gateway: Gateway, path: str) -> None:
    CallPair.connect(gateway.acceptor, path)
    assert gateway.calls == 1


@pytest.mark.parametrize("path", ["/", "/ws/", "/call/", "/ws/room-1", "/call/webrtc"])
async def test_G10_other_paths_are_left_to_the_web_framework(gateway: Gateway, path: str) -> None:
    assert gateway.acceptor(UpgradeRequest(path, {}, {})) is None
    assert gateway.calls == 0


async def test_G12_an_id_is_made_when_none_is_asked_for(gateway: Gateway) -> None:
    CallPair.connect(gateway.acceptor)
    (row,) = gateway.list_calls()
    assert re.fullmatch(r"s\.[0-9a-f]{8}-[0-9a-f-]{27}", row["id"])


@pytest.mark.parametrize("query", ["ping=soon", "dump=yes", "handler=nobody", "interruption=maybe"])
async def test_G13_a_query_that_does_not_parse_is_400(gateway: Gateway, query: str) -> None:
    answer = refusal(gateway, f"/ws?{query}")
    assert answer.status == 400
    assert query.split("=")[0] in answer.message
    assert gateway.calls == 0


async def test_a_handler_that_this_server_has_not_is_400(gateway: Gateway) -> None:
    assert refusal(gateway, "/ws?handler=playbook").status == 400


async def test_G16_a_live_id_is_409_and_free_again_after_the_call(gateway: Gateway) -> None:
    first = CallPair.connect(gateway.acceptor, "/ws?id=one")
    assert refusal(gateway, "/ws?id=one").status == 409
    first.close()
    await first.closed()
    await asyncio.sleep(1)
    CallPair.connect(gateway.acceptor, "/ws?id=one")


async def test_forwarded_search_for_a_call_that_is_elsewhere_is_404(gateway: Gateway) -> None:
    assert refusal(gateway, "/ws?id=elsewhere&forward=true").status == 404


async def test_admission_is_exact_under_100_connects(gateway: Gateway) -> None:
    taken: list[CallPair] = []
    refused: list[Refusal] = []

    async def connect() -> None:
        try:
            taken.append(CallPair.connect(gateway.acceptor))
        except CallRefusedError as error:
            refused.append(error.refusal)

    await asyncio.gather(*(connect() for _ in range(100)))
    assert (len(taken), len(refused)) == (10, 90)
    assert {answer.status for answer in refused} == {503}
    assert {answer.headers["Retry-After"] for answer in refused} == {"5"}
    assert (gateway.calls, gateway.refused) == (10, 90)

    taken[0].vanish()
    await asyncio.sleep(1)
    CallPair.connect(gateway.acceptor)
    assert (gateway.calls, gateway.finished) == (10, 1)


async def test_G17_a_call_is_listed_from_its_upgrade_to_its_end(
    gateway: Gateway, call: CallPair
) -> None:
    (row,) = gateway.list_calls()
    assert row == {
        "id": "call-1",
        "callType": "webSocket",
        "cs.option": None,
        "ringTime": None,
        "startTime": None,
        "state": "created",
        "handler": "controller",
    }
    call.close()
    await asyncio.sleep(1)
    assert gateway.list_calls() == []
    assert gateway.get("call-1") is None


async def test_G200_secrets_in_the_list_are_masked(gateway: Gateway, call: CallPair) -> None:
    await call.invite(tts={"secretKey": "hush", "speaker": "mock"}, caller="ann")
    (row,) = gateway.list_calls()
    assert row["startTime"] == "2026-01-05T08:00:00.000Z"
    assert row["state"] == "accepted"
    assert row["cs.option"]["caller"] == "ann"
    assert "hush" not in str(row)


async def test_G18_ping_goes_out_at_once_and_every_period(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor, "/ws?ping=2")
    await asyncio.sleep(5)
    assert call.socket.pings == [
        b"2026-01-05T08:00:00.000Z",
        b"2026-01-05T08:00:02.000Z",
        b"2026-01-05T08:00:04.000Z",
    ]
    call.vanish()
    await asyncio.sleep(5)
    assert len(call.socket.pings) == 3


async def test_G18_ping_0_is_off(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor, "/ws?ping=0")
    await asyncio.sleep(60)
    assert call.socket.pings == []


async def test_G22_a_silent_client_may_stay(gateway: Gateway, call: CallPair) -> None:
    await asyncio.sleep(3600)
    assert gateway.calls == 1


async def test_G201_kill_ends_the_call(gateway: Gateway, call: CallPair) -> None:
    await call.invite()
    assert await gateway.kill("call-1")
    assert await call.closed() == 1000
    assert call.events[-1]["event"] == "hangup"
    assert call.events[-1]["reason"] == "system"
    await asyncio.sleep(0.1)
    assert not await gateway.kill("call-1")


async def test_G119_a_client_that_does_not_read_is_told_why(
    gateway: Gateway, call: CallPair
) -> None:
    assert call.socket.overflow_notice is not None
    notice = json.loads(call.socket.overflow_notice())
    assert (notice["event"], notice["code"], notice["trackId"]) == ("error", 1008, "call-1")


async def test_G201_a_call_that_is_closed_cannot_be_killed(
    gateway: Gateway, call: CallPair
) -> None:
    await call.invite()
    assert await gateway.kill("call-1")
    await call.closed()
    assert not await gateway.kill("call-1")


async def test_G16_an_id_is_free_as_soon_as_its_call_is_closed(
    gateway: Gateway, call: CallPair
) -> None:
    await call.invite()
    call.send({"command": "hangup"})
    await call.closed()
    CallPair.connect(gateway.acceptor, "/ws?id=call-1")


async def test_G20_a_client_that_vanishes_frees_everything(
    gateway: Gateway, engine: VoiceEngine, call: CallPair
) -> None:
    await call.invite(vad={}, asr={})
    call.send({"command": "tts", "text": "a long answer for nobody"})
    await call.send_audio(tone(500))
    call.vanish()
    await asyncio.sleep(1)
    assert gateway.calls == 0
    assert engine.vad.statistics().streams == 0
    assert engine.ticker.statistics().callbacks == 1  # the detector's own
    assert len(call.of("hangup")) == 0


async def test_G20_one_client_that_vanishes_disturbs_no_other(gateway: Gateway) -> None:
    staying = CallPair.connect(gateway.acceptor)
    leaving = CallPair.connect(gateway.acceptor)
    await staying.invite()
    await leaving.invite()
    for call in (staying, leaving):
        call.send({"command": "tts", "text": "ten words", "playId": "p"})
    await asyncio.sleep(0.2)
    leaving.vanish()
    end = await staying.expect("trackEnd", playId="p")
    assert end["duration"] == pytest.approx(540 + 40, abs=40)


async def test_drain_refuses_new_calls_and_waits_for_running_ones(
    gateway: Gateway, call: CallPair
) -> None:
    draining = asyncio.ensure_future(gateway.drain(30.0))
    await asyncio.sleep(1)
    answer = refusal(gateway, "/ws")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    call.close()
    assert await draining is True


async def test_G21_drain_ends_what_is_left_with_1001(gateway: Gateway, call: CallPair) -> None:
    await call.invite()
    assert await gateway.drain(2.0) is False
    assert call.socket.code == 1001
    assert call.events[-1]["reason"] == "serverUnavailable"
    assert gateway.calls == 0


async def test_drain_without_calls_is_done_at_once(gateway: Gateway) -> None:
    assert await gateway.drain(30.0) is True
    assert asyncio.get_running_loop().time() == 0


class _Stuck(CallHandler):
    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        return HearingConfig()

    async def end(self, reason: str) -> None:
        await asyncio.Event().wait()


async def test_G321_a_call_ends_within_5_s_even_if_its_handler_does_not(
    engine: VoiceEngine,
) -> None:
    async with scripted_gateway(engine, handler_for=lambda _query: _Stuck()) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send({"command": "hangup"})
        assert await call.closed(timeout=5.0) == 1000
        assert call.names[-1] == "hangup"


class _Broken(_Stuck):
    async def end(self, reason: str) -> None:
        raise LookupError(reason)


async def test_a_handler_that_fails_at_the_end_does_not_keep_the_call(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, handler_for=lambda _query: _Broken()) as gateway:
        call = CallPair.connect(gateway.acceptor)
        call.send({"command": "hangup"})
        assert await call.closed(timeout=1.0) == 1000
        await asyncio.sleep(1)
        assert gateway.calls == 0
