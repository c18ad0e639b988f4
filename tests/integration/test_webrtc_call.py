"""Calls over WebRTC placed with aiortc's own peer connection: T25, G10, G52, G88, G145, G200."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conformance.gateway.rtc_call import (
    RATE,
    RtcCall,
    candidates_of,
    placed_rtc,
    without_candidates,
)
from tests.integration.asking import ask_until, plain
from tests.integration.conftest import emptied, until
from tests.integration.hearing import heard
from tests.integration.wire import TIMEOUT_S, WireCall, placed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from salon.media import Samples
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import silence, speak

ASKED = "what is salon"
SAID = (
    "your table is booked for seven on friday",
    "the weather will be fine tomorrow morning",
    "please turn off the light in the kitchen",
    "i would like some coffee and a piece of cake",
)
LONG = "One sentence follows another, and nobody who comes later disturbs them. " * 6
QUESTION = np.concatenate([silence(500), speak(ASKED), silence(300)])


def loud(samples: Samples) -> bool:
    return len(samples) > 0 and int(np.abs(samples.astype(int)).max()) > 2000


async def settled(call: RtcCall) -> Samples:
    """Everything heard, once the rest has come through the jitter buffer: it ends in silence, and
    nothing more comes."""
    before = 0
    async with asyncio.timeout(TIMEOUT_S):
        while not before or before != len(call.speaker) or loud(call.speaker[-1]):
            before = len(call.speaker)
            await asyncio.sleep(0.4)
    return call.sound()


async def hang_up(call: WireCall, server: ServerProcess) -> None:
    await call.send("hangup")
    assert await call.closed() == 1000
    await emptied(server)


async def new_room(server: ServerProcess) -> str:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        room: str = (await client.post("/rooms")).json()["id"]
        return room


async def messages(server: ServerProcess, room: str, count: int) -> list[dict[str, Any]]:
    """What was said in a room, once there are `count` messages."""
    found: list[dict[str, Any]] = []

    def asked() -> bool:
        events = server.get(f"/rooms/{room}/timeline?limit=500")["events"]
        found[:] = [event for event in events if event["type"] == "message"]
        return len(found) >= count

    await until(asked, f"{count} messages in {room}")
    return found


# -- a call that is driven by a program ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("prefer", ["opus", "g722", "pcmu"])
async def test_T25_what_a_program_says_is_heard(server: ServerProcess, prefer: str) -> None:
    async with placed_rtc(server.ws_url, prefer=prefer) as call:
        answer = await call.invite(tts={"provider": "espeak"})
        sdp = answer["sdp"]
        assert "a=fingerprint:sha-256 " in sdp
        assert candidates_of(sdp)
        assert re.search(rf"a=rtpmap:\d+ {prefer}/", sdp, re.IGNORECASE)
        assert call.names == ["trackStart", "answer"]
        rows = (await asyncio.to_thread(server.get, "/list"))["active_calls"]
        (row,) = [row for row in rows if row["id"] == answer["trackId"]]
        assert row["callType"] == "webrtc"
        await call.send("tts", text=SAID[0], playId="answer-1")
        await call.expect("trackEnd", playId="answer-1")
        assert heard(await settled(call), SAID) == SAID[0]
        assert call.audio == []
        await call.send("hangup", reason="caller")
        assert (await call.expect("hangup"))["reason"] == "caller"
        assert await call.closed() == 1000
    assert call.names[-2:] == ["trackEnd", "hangup"]
    assert not call.of("error")
    await emptied(server)


@pytest.mark.slow
@pytest.mark.parametrize("bare", [False, True])
async def test_T25_G88_candidates_may_come_before_and_after_the_offer(
    server: ServerProcess, bare: bool
) -> None:
    async with placed_rtc(server.ws_url, "/call/webrtc") as call:
        complete = await call.offer()
        bare_sdp = without_candidates(complete)
        early, *late = [*candidates_of(complete), ""]
        if bare:  # G281: the first frame
            late = [early, *late]
            await call.socket.send(json.dumps({"sdp": bare_sdp, "type": "offer"}))
        else:
            await call.send("addIceCandidate", candidate=early, sdpMid="0", sdpMLineIndex=0)
            await call.send("invite", option={"offer": bare_sdp})
        for candidate in late:
            await call.send("addIceCandidate", candidate=candidate, sdpMid="0")
        answer = await call.expect("answer")
        await call.accept(answer["sdp"])
        await call.send("tts", text=SAID[1], playId="answer-1", option={"provider": "espeak"})
        await call.expect("trackEnd", playId="answer-1")
        assert heard(await settled(call), SAID) == SAID[1]
        assert not call.of("error")
        await hang_up(call, server)


@pytest.mark.slow
async def test_a_spoken_question_is_understood(server: ServerProcess) -> None:
    async def once(number: int) -> str:
        async with placed_rtc(server.ws_url) as call:
            await call.invite(asr={"provider": "pocketsphinx"}, vad={"type": "silero"})
            await call.talk(QUESTION)
            final = await call.expect("asrFinal")
            assert call.of("speaking")
            await hang_up(call, server)
        return plain(final["text"])

    await ask_until(ASKED, once)


async def test_G52_a_second_offer_of_the_same_session_is_answered(server: ServerProcess) -> None:
    async with placed_rtc(server.ws_url) as call:
        await call.invite()
        call.pc.getTransceivers()[0].direction = "recvonly"
        await call.send("invite", option={"offer": await call.offer()})
        answer = await call.expect("answer")
        assert "a=sendonly" in answer["sdp"]
        await call.accept(answer["sdp"])
        await call.send("tts", text="hello again", playId="p", option={"provider": "espeak"})
        await call.expect("trackEnd", playId="p")
        assert loud(await settled(call))
        assert call.names.count("trackStart") == 2  # the caller's own, once, and the server's
        await hang_up(call, server)


async def test_G201_a_killed_call_ends_with_its_connection(server: ServerProcess) -> None:
    async with placed_rtc(server.ws_url, "/webrtc?id=doomed") as call:
        await call.invite()
        killed = await asyncio.to_thread(server.get, "/kill/doomed")
        assert killed == {"status": "killed", "id": "doomed"}
        assert (await call.expect("hangup"))["reason"] == "system"
        await call.closed()
        await until(lambda: call.pc.connectionState == "closed", "the connection is closed")
    await emptied(server)


@pytest.mark.slow
async def test_G150_a_caller_whose_connection_closes_is_hung_up_later(
    server: ServerProcess,
) -> None:
    async with placed_rtc(server.ws_url) as call:
        await call.invite()
        await call.pc.close()
        await call.expect("trackEnd")
        # how long it waits is shown in virtual time (`test_webrtc_connection`)
        await call.expect("hangup")
        await call.closed()
    await emptied(server)


# -- a call into a room ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_question_in_a_room_is_answered_and_both_sides_are_kept(
    server: ServerProcess,
) -> None:
    async def once(number: int) -> str:
        return await ask(server, await new_room(server))

    await ask_until(ASKED, once)


async def ask(server: ServerProcess, room: str) -> str:
    """A spoken question and its spoken answer, both stored; what was understood."""
    path = f"/webrtc?handler=room&room={room}&participant=ada&name=Ada"
    async with placed_rtc(server.ws_url, path) as call:
        await call.invite()
        await call.talk(QUESTION)
        final = await call.expect("asrFinal")
        await call.expect("trackStart", trackId="server-side-track")
        latency = await call.expect("metrics", key="turn.latency")
        assert 0 < latency["data"]["recognised"] <= latency["data"]["firstAudio"]
        await call.expect("trackEnd", trackId="server-side-track")
        assert loud(await settled(call))
        await hang_up(call, server)
    asked, answered = await messages(server, room, 2)
    assert asked["source"]["participant_id"] == "ada"
    assert asked["content"]["body"] == final["text"]
    assert answered["source"]["channel_type"] == "ai"
    understood = plain(final["text"])
    assert understood != ASKED or "Salon" in answered["content"]["body"]
    return understood


@pytest.mark.slow
async def test_speaking_cuts_the_agent(server: ServerProcess) -> None:
    async def once(number: int) -> str:
        return await speak_over(server, await new_room(server))

    await ask_until(ASKED, once)


async def speak_over(server: ServerProcess, room: str) -> str:
    """A question and, where it was understood, words over its answer; what was understood. The
    answer to something else may be over before the words."""
    async with placed_rtc(server.ws_url, f"/webrtc?handler=room&room={room}") as call:
        await call.invite()
        await call.talk(QUESTION)
        understood = plain((await call.expect("asrFinal"))["text"])
        await call.expect("trackStart", trackId="server-side-track")
        if understood == ASKED:
            await until(lambda: _spoken(call.sound()) >= RATE, "a second of the answer is heard")
            before = len(call.speaker)
            await call.talk(speak("wait please stop talking now"))
            await call.expect("interruption")
            await call.expect("trackEnd", trackId="server-side-track")
            assert len(call.speaker) > before  # it was speaking until then
        await hang_up(call, server)
    if understood == ASKED:
        await until(lambda: _interrupted(server, room), "the answer is stored as cut")
    return understood


def _interrupted(server: ServerProcess, room: str) -> bool:
    """Whether the first answer in a room was cut."""
    events = server.get(f"/rooms/{room}/timeline?limit=500")["events"]
    answers = [event for event in events if event["source"]["channel_type"] == "ai"]
    return bool(answers and answers[0]["metadata"].get("interrupted") is True)


@pytest.mark.slow
async def test_two_people_hear_the_agent_whatever_carries_their_sound(
    server: ServerProcess,
) -> None:
    room = await new_room(server)
    base = f"handler=room&room={room}"
    async with (
        placed(server.ws_url, f"/ws?{base}&participant=ann") as ann,
        placed_rtc(server.ws_url, f"/webrtc?{base}&participant=bob") as bob,
        placed_rtc(server.ws_url, f"/webrtc?{base}&participant=cleo") as cleo,
    ):
        await ann.invite()
        await bob.invite()
        await cleo.invite()
        async with ann.quiet():
            await bob.talk(QUESTION)
            for call in (ann, bob, cleo):
                await call.expect("trackStart", trackId="server-side-track")
                await call.expect("trackEnd", trackId="server-side-track")
        assert loud(ann.sound())
        assert loud(await settled(bob))
        assert loud(await settled(cleo))
        lengths = [_spoken(call.sound()) for call in (ann, bob, cleo)]
        assert max(lengths) - min(lengths) < 0.15 * max(lengths)
        for call in (ann, bob, cleo):
            await call.send("hangup")
            await call.closed()
    await emptied(server)


def _spoken(samples: Samples) -> int:
    """Samples in frames that are not silent."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320).astype(int)
    return int((np.abs(frames).max(axis=1) > 500).sum()) * 320


# -- other servers --------------------------------------------------------------------------------


async def refused(url: str) -> Any:
    """The plain answer to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, open_timeout=20):
            pass
    return caught.value.response


async def test_G286_switched_off_it_refuses_with_the_reason_and_sockets_work() -> None:
    with running_server("--stt", "none", environment={"SALON_WEBRTC": "off"}) as off:
        for path in ("/webrtc", "/call/webrtc"):
            answer = await refused(off.ws_url + path)
            assert answer.status_code == 501
            assert b"SALON_WEBRTC=off" in answer.body
        async with placed(off.ws_url) as call:
            await call.invite()
            await call.send("tts", text="hello", playId="p", option={"provider": "espeak"})
            await call.expect("trackEnd", playId="p")
            assert loud(call.sound())


async def test_a_limit_of_calls_is_shared_by_both_kinds() -> None:
    with running_server("--stt", "none", environment={"SALON_MAX_CALLS": "3"}) as few:
        async with placed(few.ws_url), placed_rtc(few.ws_url) as call, placed_rtc(few.ws_url):
            await call.invite()
            answers = await asyncio.gather(
                *(refused(few.ws_url + path) for path in ("/webrtc", "/ws", "/call/webrtc") * 4)
            )
            assert {answer.status_code for answer in answers} == {503}
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
            health = await asyncio.to_thread(few.get, "/health")
            assert (health["calls"], health["max_calls"]) == (3, 3)
        await emptied(few)
        await until(lambda: few.get("/health")["calls"] == 0, "calls counted as used")
        tries = await asyncio.gather(
            *(_attempt(few.ws_url + path) for path in ("/webrtc", "/ws") * 10)
        )
        let_in = [answer for answer in tries if not isinstance(answer, int)]
        assert len(let_in) == 3
        assert {answer for answer in tries if isinstance(answer, int)} == {503}
        await asyncio.gather(*(socket.close() for socket in let_in))
        assert "Traceback" not in few.log_text()


async def _attempt(url: str) -> Any:
    try:
        return await connect(url, open_timeout=30)
    except InvalidStatus as caught:
        return caught.response.status_code


@pytest.fixture(scope="module")
def stock() -> Iterator[ServerProcess]:
    with running_server(environment={"SALON_WEBRTC": "stock"}) as process:
        yield process
        assert "Traceback" not in process.log_text(), process.log_text()[-4000:]


@pytest.mark.slow
async def test_the_stock_path_answers_a_question_too(stock: ServerProcess) -> None:
    engines = (await asyncio.to_thread(stock.get, "/api/info"))["engines"]
    assert engines["webrtc"]["name"] == "aiortc-stock"

    async def once(number: int) -> str:
        return await ask(stock, await new_room(stock))

    await ask_until(ASKED, once)


@pytest.mark.slow
async def test_the_stock_path_says_what_a_program_says(stock: ServerProcess) -> None:
    async with placed_rtc(stock.ws_url) as call:
        await call.invite()
        await call.send("tts", text=SAID[2], playId="p", option={"provider": "espeak"})
        await call.expect("trackEnd", playId="p")
        assert heard(await settled(call), SAID) == SAID[2]
        await hang_up(call, stock)
