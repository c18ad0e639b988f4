"""A spoken WAV goes in over a plain WebSocket, a spoken reply comes out."""

from __future__ import annotations

import asyncio
import io
import wave

import httpx
import numpy as np
import pytest
from tests.integration.asking import ask_until, plain
from tests.integration.conftest import emptied
from tests.integration.hearing import heard
from tests.integration.wire import placed

from salon.testing.server import ServerProcess
from salon.testing.speech import silence, speak

ASKED = "what is salon"
ASKED_BY_PHONE = "what are your opening hours"
"""Longer: at 8 kHz the recogniser takes the other for something else."""
SAID = (
    "your table is booked for seven on friday",
    "the weather will be fine tomorrow morning",
    "please turn off the light in the kitchen",
    "i would like some coffee and a piece of cake",
    "we are closed on monday and tuesday",
)
CODECS = {"pcm": 640, "pcmu": 160, "pcma": 160, "g722": 160}


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
async def test_G120_a_spoken_turn_and_a_spoken_reply(server: ServerProcess, codec: str) -> None:
    asked = ASKED_BY_PHONE if codec in ("pcmu", "pcma") else ASKED

    async def once(_number: int) -> list[str]:
        return await spoken_reply(server, codec, asked)

    await ask_until([asked], once)


async def spoken_reply(server: ServerProcess, codec: str, asked: str) -> list[str]:
    """A question, and a reply that a program has spoken; what was understood, turn by turn."""
    async with placed(server.ws_url, codec=codec) as call:
        await call.invite(
            asr={"provider": "pocketsphinx"}, vad={"type": "silero"}, tts={"provider": "espeak"}
        )
        assert call.names[:2] == ["trackStart", "answer"]
        assert call.events[1]["sdp"] == ""
        await call.talk(np.concatenate([silence(300), speak(asked), silence(300)]))
        async with call.quiet():
            final = await call.expect("asrFinal")
            if "silence" not in call.names:
                await call.expect("silence")
        assert final["startTime"] < final["endTime"]
        speaking, last = call.names.index("speaking"), call.names.index("asrFinal")
        # a recogniser that lags behind tells no words before the last
        heard_before = call.names.index("asrDelta") if call.of("asrDelta") else last - 1
        assert speaking <= heard_before < last
        assert speaking < call.names.index("silence")
        assert not call.audio, "Salon never speaks unasked to a controller"

        await call.send("tts", text=SAID[0], playId="answer-1")
        await call.expect("trackStart", playId="answer-1")
        await call.expect("trackEnd", playId="answer-1")
        started = call.order.index("trackStart", call.order.index("asrFinal"))
        assert call.order[started + 1] in ("audio", "metrics")
        assert "audio" in call.order[started:]
        assert {len(packet.data) for packet in call.audio} == {CODECS[codec]}
        call.assert_paced()
        assert heard(call.sound(), SAID) == SAID[0]

        await call.send("hangup", reason="caller")
        hangup = await call.expect("hangup")
        assert hangup["reason"] == "caller"
        assert await call.closed() == 1000
    assert call.names[-2:] == ["trackEnd", "hangup"]
    assert not call.of("error")
    await emptied(server)
    return [plain(final["text"]) for final in call.of("asrFinal")]


@pytest.mark.slow
async def test_handler_room_answers_and_the_room_keeps_both_sides(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:

        async def once(_number: int) -> list[str]:
            room = (await client.post("/rooms")).json()["id"]
            understood = await spoken_turn(server, room)
            if understood == [ASKED]:
                await assert_kept(client, room)
            return understood

        await ask_until([ASKED], once)


async def spoken_turn(server: ServerProcess, room: str) -> list[str]:
    """A question and its answer; what was understood, turn by turn."""
    path = f"/ws?handler=room&room={room}&participant=ada&name=Ada"
    async with placed(server.ws_url, path) as call:
        await call.invite(asr={}, vad={}, tts={})
        await call.talk(np.concatenate([silence(300), speak(ASKED)]))
        async with call.quiet():
            await call.expect("asrFinal")
            await call.expect("trackStart", trackId="server-side-track")
            latency = await call.expect("metrics", key="turn.latency")
            await call.expect("trackEnd", trackId="server-side-track")
        assert 0 < latency["data"]["recognised"] <= latency["data"]["firstAudio"]
        assert {len(packet.data) for packet in call.audio} == {640}
        call.assert_paced()
        await call.send("hangup")
        assert await call.closed() == 1000
    await emptied(server)
    return [plain(final["text"]) for final in call.of("asrFinal")]


async def assert_kept(client: httpx.AsyncClient, room: str) -> None:
    async with asyncio.timeout(30):  # the answer is stored a moment after its last sound
        while True:
            page = (await client.get(f"/rooms/{room}/timeline", params={"limit": 500})).json()
            if sum(event["type"] == "message" for event in page["events"]) >= 2:
                break
            await asyncio.sleep(0.05)
    assert not page["has_more"]
    assert [event["index"] for event in page["events"]] == list(range(len(page["events"])))
    asked, answered = [event for event in page["events"] if event["type"] == "message"]
    assert asked["source"]["participant_id"] == "ada"
    assert asked["content"]["body"].lower().rstrip("?.") == ASKED
    assert answered["source"]["channel_type"] == "ai"
    answer = answered["content"]["body"]
    assert "Salon" in answer

    transcript = await client.get(f"/rooms/{room}/transcript")
    assert "attachment" in transcript.headers["content-disposition"]
    assert "Ada" in transcript.text
    assert answer in transcript.text

    (recording,) = (await client.get(f"/rooms/{room}/recordings")).json()
    assert recording["duration_ms"] > 2000
    sound = await client.get(f"/rooms/{room}/recordings/{recording['id']}.wav")
    with wave.open(io.BytesIO(sound.content)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 16_000)
        frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    assert (np.abs(frames.astype(int)).max(axis=0) > 2000).all(), "both sides are recorded"
