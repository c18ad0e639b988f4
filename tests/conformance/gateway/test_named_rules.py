"""Rules that other files show on the way, each by itself: G19, G100, G142, G165, G211, G241,
G250-G268, G319."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.gateway.house import house, server
from tests.conformance.gateway.test_rest_rules import over, serving_calls
from tests.unit.gateway.scripted_transport import carrying
from tests.unit.transport.wire import PING, PONG, Pair, client_frame

from salon.gateway import parse_command
from salon.gateway.options import CallOption
from salon.gateway.webhook import WebhookHandler
from salon.testing import CallRefusedError, scripted_engine, silence, tone, virtual_time


def tts(text: str = "ten words", **fields: Any) -> dict[str, Any]:
    return {"command": "tts", "text": text, **fields}


def test_G19_a_ping_is_answered_by_the_protocol_and_a_pong_by_nobody() -> None:
    pair = Pair()
    pair.feed(client_frame(PING, b"there?") + client_frame(PONG, b"here"))
    assert pair.transport.take() == [(PONG, b"there?")]
    assert pair.notes.log == [("connected",)]


@virtual_time
async def test_G100_every_event_says_when_and_which_track() -> None:
    async with house() as at:
        call = await at.call(vad={}, asr={})
        call.send(tts(playId="a"))
        await call.send_audio(tone(800))
        await call.send_audio(silence(1500))
        call.send({"command": "hangup"})
        await call.closed()
        assert {"answer", "speaking", "asrFinal", "trackEnd", "hangup"} <= set(call.names)
        for event in call.events:
            assert isinstance(event["timestamp"], int)
            if event["event"] != "metrics":
                assert event["trackId"] in ("call-1", "server-side-track")
            assert event.get("refer", False) is False


@virtual_time
async def test_G142_pieces_are_heard_in_the_order_of_their_commands() -> None:
    async with house() as at:
        call = await at.call()
        for text in ("One of them.", "Two.", "Three of them."):
            call.send(tts(text, playId="p"))
        await call.expect("trackEnd")
        assert [text for text, _ in at.voice.spoken] == ["One of them.", "Two.", "Three of them."]
        assert server(call) == [("trackStart", "p"), ("trackEnd", "p")]


@virtual_time
async def test_G165_a_shutdown_refuses_calls_and_waits_for_those_it_has() -> None:
    async with house() as at:
        ends, stays = await at.call("/ws?id=ends"), await at.call("/ws?id=stays")
        drained = asyncio.ensure_future(at.gateway.drain(30))
        await asyncio.sleep(1)
        with pytest.raises(CallRefusedError) as refused:
            at.connect("/ws?id=late")
        assert refused.value.refusal.status == 503
        ends.send({"command": "hangup"})
        assert await ends.closed() == 1000
        await asyncio.sleep(20)
        assert stays.socket.code is None
        assert await drained is False
        assert (await stays.expect("hangup"))["reason"] == "serverUnavailable"
        assert await stays.closed() == 1001


async def test_G211_the_page_is_served(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (_, api):
        page = await api.client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert (await api.client.get("/static/none.js")).status_code == 404


@virtual_time
async def test_G241_a_forwarded_search_for_a_call_that_is_not_here_is_404() -> None:
    async with house() as at:
        for url in ("/ws?id=elsewhere&forward=true", "/ws?forward=true"):
            with pytest.raises(CallRefusedError) as refused:
                at.connect(url)
            assert refused.value.refusal.status == 404
            assert refused.value.refusal.message == "call not found on this node"
        assert at.gateway.calls == 0


@virtual_time
async def test_G251_a_ping_is_no_text_frame() -> None:
    async with house() as at:
        call = await at.call("/ws?id=call-1&ping=1")
        await asyncio.sleep(5)
        assert len(call.socket.pings) >= 5
        assert not call.of("ping")


@virtual_time
async def test_G252_the_wait_for_input_is_in_milliseconds() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts(waitInputTimeout=8))
        await call.expect("trackEnd")
        told = await call.expect("silence", timeout=1)
        assert told["duration"] == 8


@virtual_time
async def test_G253_G254_every_call_ends_with_one_hangup_in_plain_words() -> None:
    async with house() as at:
        ways: list[tuple[list[dict[str, Any]], str]] = [
            ([{"command": "hangup"}], "system"),
            ([{"command": "hangup", "reason": "had enough"}], "had enough"),
            ([{"command": "hangup", "initiator": "caller"}], "caller"),
            ([tts(autoHangup=True)], "system"),
            ([{"command": "reject", "reason": "no"}], "rejected"),
        ]
        for commands, reason in ways:
            call = await at.call()
            for command in commands:
                call.send(command)
            await call.closed()
            (told,) = call.of("hangup")
            assert told["reason"] == reason
            assert call.names[-1] == "hangup"


@pytest.mark.parametrize("kind", ["silero", "webrtc", "ten", "nop", "of my own"])
@virtual_time
async def test_G256_every_name_of_a_detector_is_taken(kind: str) -> None:
    async with house() as at:
        call = await at.call(vad={"type": kind})
        await call.send_audio(tone(800))
        await call.send_audio(silence(500))
        assert call.of("speaking")


@pytest.mark.parametrize(
    "sip",
    [
        {"hangup_headers": {"X-A": "1"}, "extract_headers": ["X-B"], "enable_srtp": True},
        {"hangupHeaders": {"X-A": "1"}, "extractHeaders": ["X-B"], "enableSrtp": True},
    ],
)
def test_G258_sip_keys_in_both_spellings(sip: dict[str, Any]) -> None:
    option = CallOption.model_validate({"sip": sip}).sip
    assert option is not None
    assert option.hangup_headers == {"X-A": "1"}
    assert option.extract_headers == ["X-B"]
    assert option.enable_srtp is True


@pytest.mark.parametrize("key", ["body", "text"])
def test_G259_the_body_of_a_message_has_two_names(key: str) -> None:
    command = parse_command(json.dumps({"command": "message", key: "hello"}))
    assert json.loads(command.to_json())["body"] == "hello"


async def test_G260_candidates_from_before_the_invite_are_kept() -> None:
    async with scripted_engine([]) as engine, carrying(engine) as carried:
        carried.call.send({"command": "addIceCandidate", "candidate": "early"})
        await carried.call.invite(offer="mine")
        carried.call.send({"command": "addIceCandidate", "candidate": "late"})
        await asyncio.sleep(0.1)
        log = carried.transport.log
        assert [entry for entry in log if "candidate" in entry] == [
            "candidate early",
            "candidate late",
        ]
        assert not carried.call.of("error")


@pytest.mark.parametrize("key", ["sdpMLineIndex", "sdpMlineIndex"])
def test_G261_the_line_of_a_candidate_has_two_spellings(key: str) -> None:
    command = parse_command(json.dumps({"command": "addIceCandidate", "candidate": "c", key: 0}))
    assert json.loads(command.to_json())["sdpMLineIndex"] == 0


@virtual_time
async def test_G265_pcm_goes_out_at_the_rate_it_comes_in() -> None:
    async with house() as at:
        call = await at.call(codec="pcm")
        call.send(tts("a" * 20))
        await call.expect("trackEnd")
        assert {len(frame.data) for frame in call.audio} == {640}
        assert len(call.sound) / 16_000 == pytest.approx(1.2, abs=0.05)  # 60 ms a character


@virtual_time
async def test_G266_every_text_with_one_play_id_is_spoken() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts("first", playId="p"))
        call.send(tts("second", playId="p"))
        call.send(tts("third", playId="p", endOfStream=True))
        await call.expect("trackEnd")
        await asyncio.sleep(2)
        assert [text for text, _ in at.voice.spoken] == ["first", "second", "third"]
        assert not call.of("interruption")


@virtual_time
async def test_G267_the_speaker_of_a_command_goes_before_that_of_its_option() -> None:
    async with house() as at:
        call = await at.call(tts={"speaker": "ann"})
        call.send(tts("one", playId="1"))
        await call.expect("trackEnd")
        call.send(tts("two", playId="2", speaker="bob", option={"speaker": "eve"}))
        await call.expect("trackEnd")
        assert [settings.voice for _, settings in at.voice.spoken] == ["ann", "bob"]


@virtual_time
async def test_G268_the_webhook_names_the_dialog_and_no_tags() -> None:
    bodies: list[Mapping[str, Any]] = []

    async def post(body: Mapping[str, Any]) -> None:
        bodies.append(body)

    def handler_for(_query: object) -> WebhookHandler:
        return WebhookHandler(post, {"host": "salon.example"}, timeout=5)

    async with house(handler_for=handler_for) as at:
        await at.call(caller="ann", callee="bob")
    (body,) = bodies
    assert body["dialogId"] == "call-1"
    assert not {"call_id", "from_tag", "to_tag"} & set(body)


async def test_G319_the_older_paths_of_list_and_kill(tmp_path: Path) -> None:
    async with serving_calls(tmp_path) as (at, api):
        call = await at.call("/ws?id=old")
        (row,) = (await api.client.get("/call/lists")).json()["active_calls"]
        assert row["id"] == "old"
        killed = await api.client.post("/call/kill/old")
        assert killed.json() == {"status": "killed", "id": "old"}
        await over(call)
