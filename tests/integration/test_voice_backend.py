"""`FastRTCVoiceBackend` on a FastAPI application behind uvicorn, and clients as pages are."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from tests.unit.docs.pages import blocks
from tests.unit.transport.offerer import candidates_of, offering, without_candidates
from tests.unit.voice.backends.hearing import chunk, frequency, of_client, of_frames, until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from salon.media import AudioFrame, decode_ulaw, encode_ulaw
from salon.testing import tone
from salon.voice.backends.fastrtc import FastRTCVoiceBackend, auth_context, mount_fastrtc_voice
from salon.voice.backends.session import VoiceSession, VoiceSessionState

KEY = {"authorization": "Bearer key"}


async def check(visitor: Any) -> dict[str, Any] | None:
    """An `AuthCallback`."""
    return {"user": "ann"} if visitor.headers.get("authorization") == KEY["authorization"] else None


class Application:
    """An application with its backend, and where it is to be found."""

    def __init__(self, app: FastAPI, backend: FastRTCVoiceBackend) -> None:
        self.app = app
        self.backend = backend
        self.address = ""


class Service(Application):
    """An application that answers calls."""

    def __init__(self) -> None:
        super().__init__(FastAPI(), FastRTCVoiceBackend())
        self.sessions: list[VoiceSession] = []
        self.ready: list[VoiceSession] = []
        self.gone: list[VoiceSession] = []
        self.frames: list[AudioFrame] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        self.backend.on_session_ready(self.ready.append)
        self.backend.on_client_disconnected(self.gone.append)
        mount_fastrtc_voice(self.app, self.backend, session_factory=self._session, auth=check)

    async def _session(self, websocket_id: str) -> VoiceSession:
        known = auth_context.get() or {}
        session = await self.backend.connect("lobby", known["user"], "voice")
        assert websocket_id
        self.sessions.append(session)
        return session


@asynccontextmanager
async def running(service: Application) -> AsyncIterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(service.app, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        service.address = f"127.0.0.1:{listener.getsockname()[1]}/fastrtc"
        try:
            await until(lambda: server.started)
            yield
        finally:
            await service.backend.close()
            server.should_exit = True
            await asyncio.wait_for(task, 30)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    async with running(made):
        yield made


async def test_a_page_over_webrtc(service: Service) -> None:
    url = f"http://{service.address}/webrtc/offer"
    async with offering() as client, httpx.AsyncClient(timeout=20) as http:
        offer = await client.offer()
        body = {"sdp": without_candidates(offer), "type": "offer", "webrtc_id": "k3x9"}
        assert (await http.post(url, json=body)).status_code == 403
        reply = (await http.post(url, json=body, headers=KEY)).json()
        assert reply["type"] == "answer"
        for candidate in candidates_of(offer):
            trickled = {"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0}
            sent = await http.post(
                url,
                json={"type": "ice-candidate", "candidate": trickled, "webrtc_id": "k3x9"},
                headers=KEY,
            )
            assert sent.json() == {"status": "success"}
        await client.accept(reply["sdp"])
        await until(lambda: service.ready != [])
        (session,) = service.sessions
        assert service.ready == [session]
        assert session.participant_id == "ann"

        await until(lambda: len(service.frames) >= 60)
        heard = service.frames[-40:]
        assert {(len(frame.data), frame.sample_rate) for frame in heard} == {(1920, 48_000)}
        assert frequency(*of_frames(heard)) == pytest.approx(440, abs=5)

        sending = asyncio.create_task(
            service.backend.send_audio(session, chunk(1000, 10_000, 24_000).data)
        )

        def loud(count: int) -> bool:
            last = client.frames[-count:]
            return len(last) == count and all(
                np.abs(frame.to_ndarray()).max() > 1000 for frame in last
            )

        def quiet(count: int) -> bool:
            return all(np.abs(frame.to_ndarray()).max() <= 1000 for frame in client.frames[-count:])

        await until(lambda: loud(30))
        assert frequency(*of_client(client.frames[-25:])) == pytest.approx(1000, abs=10)
        service.backend.interrupt(session)
        await sending
        await until(lambda: quiet(3))

        second = {**body, "webrtc_id": "other"}
        refused = (await http.post(url, json=second, headers=KEY)).json()
        assert refused["meta"] == {"error": "concurrency_limit_reached", "limit": 1}
    await until(lambda: session.state is VoiceSessionState.ENDED)
    assert service.gone == [session]


async def test_a_page_over_websocket(service: Service) -> None:
    url = f"ws://{service.address}/websocket/offer"
    with pytest.raises(InvalidStatus, match="403"):
        await connect(url)
    async with connect(url, additional_headers=KEY) as page:
        await page.send(json.dumps({"event": "start", "websocket_id": "k3x9"}))
        await until(lambda: service.ready != [])
        samples = np.frombuffer(chunk(440, 1000, 48_000).data, "<i2")
        for at in range(0, len(samples), 4096):
            payload = base64.b64encode(encode_ulaw(samples[at : at + 4096])).decode()
            await page.send(json.dumps({"event": "media", "media": {"payload": payload}}))
        await until(lambda: len(service.frames) >= 48)
        assert frequency(*of_frames(service.frames)) == pytest.approx(440, abs=5)

        (session,) = service.sessions
        await service.backend.send_audio(session, chunk(1000, 1000, 24_000).data)
        heard = b""
        async with asyncio.timeout(30):
            while len(heard) < 24_000:
                message = json.loads(await page.recv())
                heard += base64.b64decode(message["media"]["payload"])
        assert frequency(decode_ulaw(heard)[480:], 24_000) == pytest.approx(1000, abs=5)
    await until(lambda: session.state is VoiceSessionState.ENDED)
    assert service.gone == [session]


async def test_a_session_that_ends_here_ends_the_socket(service: Service) -> None:
    url = f"ws://{service.address}/websocket/offer"
    async with connect(url, additional_headers=KEY) as page:
        await page.send(json.dumps({"event": "start", "websocket_id": "k3x9"}))
        await until(lambda: service.ready != [])
        await service.backend.disconnect(service.sessions[0])
        await asyncio.wait_for(page.wait_closed(), 30)
        assert page.close_code == 1000
    assert service.gone == []


async def test_the_application_shown_to_users_repeats_what_it_hears() -> None:
    names: dict[str, Any] = {}
    exec(blocks("docs/how-to/voice-backend.md", "python")[0], names)
    parrot = Application(names["app"], names["backend"])
    async with running(parrot), connect(f"ws://{parrot.address}/websocket/offer") as page:
        await page.send(json.dumps({"event": "start", "websocket_id": "k3x9"}))
        payload = base64.b64encode(encode_ulaw(tone(1000))).decode()
        await page.send(json.dumps({"event": "media", "media": {"payload": payload}}))
        heard = b""
        async with asyncio.timeout(30):
            while len(heard) < 16_000:
                message = json.loads(await page.recv())
                heard += base64.b64decode(message["media"]["payload"])
    assert frequency(decode_ulaw(heard)[640:], 16_000) == pytest.approx(440, abs=5)
