"""Language model, recognition and synthesis by services that speak OpenAI's interface."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.integration.conftest import until
from tests.integration.hearing import heard
from tests.integration.openai_service import KEY, PCM_RATE, OpenAIService, openai_service
from tests.integration.wire import WireCall, placed
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from salon.media import read_wav, resample, wav_bytes
from salon.testing.server import ServerProcess, running_server
from salon.testing.speech import silence, speak

ASKED = "please tell me the code word"
SENTENCES = (ASKED, "what is the weather like today", "i would like a cup of coffee")
SAID = tuple(f"the code word is {word}" for word in ("banana", "mountain", "elephant", "winter"))

TOOL = {
    "type": "function",
    "function": {
        "name": "code_word",
        "description": "The code word of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}

AGENT = '''
import salon


@salon.tool
def code_word(place: str) -> str:
    """The code word of a place.

    place: where it holds
    """
    return {"kitchen": "banana"}[place]


@salon.agent(tools=[code_word], system="You know code words.")
async def helper(turn, room):
    async for piece in room.llm(turn):
        yield piece
'''


async def test_the_service_keeps_to_the_interface_as_documented() -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        openai_service(*SENTENCES) as service,
        httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30) as client,
    ):
        assert (await client.get("/models")).json()["data"][0]["id"] == "rule-1"
        question = {"role": "user", "content": "hello"}
        body = {"model": "rule-1", "messages": [question]}
        whole = (await client.post("/chat/completions", json=body)).json()
        assert whole["object"] == "chat.completion"
        assert whole["choices"][0]["message"]["content"] == "You asked: hello"
        streamed = await client.post(
            "/chat/completions", json=body | {"stream": True, "tools": [TOOL]}
        )
        assert streamed.headers["content-type"].startswith("text/event-stream")
        *events, last = [line for line in streamed.text.split("\n\n") if line]
        assert last == "data: [DONE]"
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        calls = [
            call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])
        ]
        assert calls[0]["function"]["name"] == "code_word"
        assert json.loads("".join(c["function"]["arguments"] for c in calls)) == {
            "place": "kitchen"
        }
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
        file = {"file": ("a.wav", wav_bytes(speak(ASKED)), "audio/wav")}
        answer = await client.post("/audio/transcriptions", data={"model": "w"}, files=file)
        assert answer.json() == {"text": ASKED}
        speech = {"model": "t", "input": "banana", "voice": "alloy"}
        sound = await client.post("/audio/speech", json=speech)
        assert read_wav(io.BytesIO(sound.content))[1] == PCM_RATE
        assert (await client.post("/audio/speech", json={})).status_code == 400
        denied = await client.get("/models", headers={"Authorization": "Bearer no"})
        assert denied.status_code == 401
        assert denied.json()["error"]["code"] == "invalid_api_key"


async def test_the_official_client_takes_the_service_for_the_original() -> None:
    import openai

    async with (
        openai_service(*SENTENCES) as service,
        openai.AsyncOpenAI(base_url=service.url, api_key=KEY, max_retries=0) as client,
    ):
        assert [model.id async for model in client.models.list()] == ["rule-1"]
        question = {"role": "user", "content": "hello"}
        whole = await client.chat.completions.create(model="rule-1", messages=[question])
        assert whole.choices[0].message.content == "You asked: hello"
        async with client.chat.completions.stream(
            model="rule-1", messages=[question], tools=[TOOL]
        ) as stream:
            final = await stream.get_final_completion()
        (call,) = final.choices[0].message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == (
            "code_word",
            {"place": "kitchen"},
        )
        transcription = await client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", wav_bytes(speak(ASKED)), "audio/wav")
        )
        assert transcription.text == ASKED
        verbose = await client.audio.transcriptions.create(
            model="whisper-1",
            file=("a.wav", wav_bytes(speak(ASKED)), "audio/wav"),
            response_format="verbose_json",
        )
        assert verbose.segments[0].text == ASKED
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=SAID[0], response_format="pcm"
        ) as speech:
            sound = np.frombuffer(await speech.read(), dtype="<i2").astype(np.int16)
        assert heard(resample(sound, PCM_RATE, 16_000), SAID) == SAID[0]
        for action in (
            client.chat.completions.create(model="other", messages=[question]),
            client.with_options(api_key="no").models.list(),
        ):
            with pytest.raises(openai.APIStatusError) as caught:
                await action
            assert caught.value.status_code in (401, 404)


def environment_for(service: OpenAIService, key: str = KEY) -> dict[str, str]:
    made = {"SALON_LLM_MODEL": "rule-1", "SALON_STT": "openai", "SALON_TTS": "openai"}
    for kind in ("LLM", "STT", "TTS"):
        made[f"SALON_{kind}_BASE_URL"] = service.url
        made[f"SALON_{kind}_API_KEY"] = key
    return made | {"SALON_TTS_MODEL": "tts-9", "SALON_TTS_VOICE": "nova"}


async def spoken(server: ServerProcess, room: str) -> WireCall:
    """One spoken question and its spoken answer."""
    path = f"/ws?handler=room&room={room}&participant=ada&name=Ada"
    async with placed(server.ws_url, path) as call:
        await call.invite(asr={}, vad={}, tts={})
        await call.talk(np.concatenate([silence(300), speak(ASKED)]))
        async with call.quiet():
            assert (await call.expect("asrFinal"))["text"].lower().rstrip("?.") == ASKED
            await call.expect("trackStart", trackId="server-side-track")
            await call.expect("trackEnd", trackId="server-side-track")
        await call.send("hangup")
        assert await call.closed() == 1000
    return call


async def answered(server: ServerProcess, room: str) -> str:
    """What the agent said in a room; it is stored a moment after its last sound."""
    found: list[str] = []

    def stored() -> bool:
        events = server.get(f"/rooms/{room}/timeline")["events"]
        found[:] = [
            event["content"]["body"]
            for event in events
            if event["type"] == "message" and event["source"]["channel_type"] == "ai"
        ]
        return bool(found)

    await until(stored, "the answer in the room")
    return found[-1]


async def test_a_whole_call_runs_through_the_services(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(AGENT)
    async with openai_service(*SENTENCES) as service:
        environment = environment_for(service)
        with running_server("--agent", str(agent), environment=environment) as server:
            call = await spoken(server, "services")
            assert heard(call.sound(), SAID) == SAID[0]
            call.assert_paced(jitter=0.5)
            assert not call.of("error")
            said = await answered(server, "services")
            assert said == "The code word is banana."
            log = server.log_text()
        assert "Traceback" not in log, log[-4000:]
        assert KEY not in log
    assert service.recognised == [ASKED]
    first, second = service.chats
    assert first["stream"] is True
    assert first["tools"][0]["function"]["name"] == "code_word"
    assert "You know code words." in first["messages"][0]["content"]
    assert first["messages"][-1]["content"].lower().rstrip("?.") == ASKED
    assert second["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "banana",
    }
    assert {(body["model"], body["voice"]) for body in service.spoken} == {("tts-9", "nova")}
    assert " ".join(body["input"] for body in service.spoken) == "The code word is banana."


async def test_without_an_agent_the_model_itself_answers() -> None:
    async with openai_service(*SENTENCES) as service:
        environment = environment_for(service) | {"SALON_LLM_PROMPT": "Repeat the question."}
        with running_server(environment=environment) as server:
            await spoken(server, "plain")
            said = await answered(server, "plain")
            info = await asyncio.to_thread(server.get, "/api/info")
            assert said.lower().rstrip("?.") == f"you asked: {ASKED}"
            assert info["agent"]["name"] == "rule-1"
            assert info["engines"]["recognition"]["name"] == "openai"
    assert "Repeat the question." in service.chats[0]["messages"][0]["content"]
    assert "tools" not in service.chats[0]


async def test_services_that_refuse_are_told_without_the_key() -> None:
    wrong = "sk-wrong-key-9876543210"
    async with openai_service(*SENTENCES) as service:
        with running_server(environment=environment_for(service, wrong)) as server:
            path = "/ws?handler=room&room=refused&participant=ada&name=Ada"
            async with placed(server.ws_url, path) as call:
                await call.invite(asr={}, vad={}, tts={})
                await call.talk(np.concatenate([silence(300), speak(ASKED)]))
                async with call.quiet():
                    assert "401" in (await call.expect("error"))["error"]
                await call.send("tts", text="Hello.")
                assert "401" in (await call.expect("error"))["error"]
                await call.send("hangup")
                assert await call.closed() == 1000
            async with placed(server.ws_url) as call:
                await call.invite()
                await call.send("hangup")
                assert await call.closed() == 1000
            seen = str(call.events) + server.log_text()
            async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
                seen += (await client.get("/rooms/refused/timeline")).text
            assert wrong not in seen
            assert "Traceback" not in server.log_text(), server.log_text()[-4000:]


async def after_a_failure(service: OpenAIService, path: str) -> None:
    """A call is told that a service failed, and goes on when it is back."""
    with running_server(environment=environment_for(service)) as server:
        room = "/ws?handler=room&room=broken&participant=ada&name=Ada"
        async with placed(server.ws_url, room) as call:
            await call.invite(tts={})
            service.broken.add(f"/v1/{path}")
            await call.send("chat", text="one")
            try:
                await call.expect("error")
            finally:
                service.broken.clear()
            await call.send("chat", text="two")
            await call.expect("trackStart", trackId="server-side-track")
            await call.heard(20)
            await call.send("hangup")
            assert await call.closed() == 1000


async def test_a_call_outlives_a_voice_that_fails_and_comes_back() -> None:
    async with openai_service(*SENTENCES) as service:
        await after_a_failure(service, "audio/speech")


async def test_a_call_is_told_of_a_model_that_fails() -> None:
    async with openai_service(*SENTENCES) as service:
        await after_a_failure(service, "chat/completions")


async def test_a_room_notes_a_model_that_fails_and_goes_on() -> None:
    async with openai_service(*SENTENCES) as service:
        with running_server(environment=environment_for(service)) as server:
            async with connect(f"{server.ws_url}/ws/noted?participant=ada") as page:
                service.broken.add("/v1/chat/completions")
                await page.send(json.dumps({"type": "message", "text": "one"}))
                note = await event_of(page, "system")
                assert "503" in json.dumps(note) or "answer" in note["content"]["body"]
                service.broken.clear()
                await page.send(json.dumps({"type": "message", "text": "two"}))
                while True:
                    said = await event_of(page, "message")
                    if said["source"]["channel_type"] == "ai":
                        break
                assert said["content"]["body"] == "You asked: two"
            assert KEY not in server.log_text()


async def event_of(page: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of this type."""
    seen: list[str] = []
    async with asyncio.timeout(30):
        while True:
            try:
                seen.append(str(await page.recv()))
            except ConnectionClosed as error:
                raise AssertionError(f"{error}; before it {seen}") from error
            message = json.loads(seen[-1])
            event = message.get("event") or {}
            if event.get("type") == kind:
                return dict(event)
