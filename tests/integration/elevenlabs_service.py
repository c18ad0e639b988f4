"""A small service that speaks ElevenLabs' documented interface: speech by HTTP and over the
WebSocket with alignment, and the lists of voices. eSpeak NG is its voice.

The vendor's own client demands TLS for the WebSocket: `elevenlabs_service(tls=...)` serves it with
a certificate of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from salon.media import SAMPLE_RATE, resample
from salon.media.frame import Samples
from salon.media.timing import WordTime
from salon.voice.tts import EspeakTextToSpeech

KEY = "xi-0123456789abcdef0123456789abcdef"
VOICES = ("21m00Tcm4TlvDq8ikWAM", "voice-two")
MODELS = ("eleven_multilingual_v2", "eleven_flash_v2_5", "eleven_v3", "eleven_v4_turbo")
RATES = {f"pcm_{rate}": rate for rate in (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)}
PIECE_MS = 250
MINIMUM = 50
"""Characters below which `try_trigger_generation` does nothing."""


@dataclass
class Said:
    """What was asked, over which way."""

    text: str
    voice: str
    query: dict[str, str]
    body: dict[str, Any]
    over: str


class ElevenLabsService:
    """Listens on a free loopback port.

    `fault` is what goes wrong next: "401", "429", "hang", "late hang", "garbage", "no object",
    "bad sound", "bad alignment", "close", "late close", "abort", "refuse", "empty", "no final".
    `open` counts connections that are being served.
    """

    def __init__(self) -> None:
        self.port = 0
        self.tls = False
        self.fault = ""
        self.said: list[Said] = []
        self.messages: list[dict[str, Any]] = []
        self.pages: list[str] = []
        self.has_v2 = True
        self.open = 0
        self.sent_pieces = 0
        self._released = asyncio.Event()
        self._engine = EspeakTextToSpeech(processes=1)
        speech = "/v1/text-to-speech/{voice}"
        self.app = Starlette(
            routes=[
                Route(f"{speech}/stream", self._http, methods=["POST"]),
                Route(speech, self._http, methods=["POST"]),
                Route("/v2/voices", self._voices_v2),
                Route("/v1/voices", self._voices_v1),
                WebSocketRoute(f"{speech}/stream-input", self._socket),
            ]
        )

    @property
    def url(self) -> str:
        """As ``base_url`` of a client."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()

    def release(self) -> None:
        """Whatever hangs ends."""
        self._released.set()

    async def quiet(self) -> None:
        """Until nothing is being served."""
        async with asyncio.timeout(10):
            while self.open:
                await asyncio.sleep(0.005)

    async def _spoken(self, text: str, rate: int) -> tuple[Samples, list[WordTime]]:
        sound: list[Samples] = [np.zeros(0, dtype=np.int16)]
        words: list[WordTime] = []
        async for chunk in self._engine.speak(text):
            sound.append(chunk.samples)
            words += chunk.words
        return resample(np.concatenate(sound), SAMPLE_RATE, rate), words

    # -- HTTP -------------------------------------------------------------------------------------

    def _refusal(self, headers: Any, query: Any, voice: str, model: str | None) -> Response | None:
        if headers.get("xi-api-key") != KEY or self.fault == "401":
            said = f"Invalid API key {headers.get('xi-api-key')}"
            return _refused(401, "invalid_api_key", said)
        if self.fault == "429":
            return _refused(429, "too_many_concurrent_requests", "Too many concurrent requests.")
        if voice not in VOICES:
            return _refused(404, "voice_not_found", f"A voice with id {voice} was not found.")
        if model is not None and model not in MODELS:
            return _refused(400, "model_not_found", f"The model {model} does not exist.")
        if query.get("output_format", "mp3_44100_128") not in (*RATES, "mp3_44100_128"):
            return _refused(422, "invalid_output_format", "The output format is invalid.")
        return None

    async def _http(self, request: Request) -> Response:
        body = await request.json()
        voice, query = request.path_params["voice"], dict(request.query_params)
        refusal = self._refusal(request.headers, query, voice, body.get("model_id"))
        if refusal is not None:
            return refusal
        if not body.get("text"):
            return JSONResponse({"detail": [{"loc": ["body", "text"], "msg": "required"}]}, 422)
        if body.get("model_id") == "eleven_v3" and body.get("previous_text"):
            return _refused(400, "unsupported", "This model takes no previous text.")
        self.said.append(Said(body["text"], voice, query, body, request.url.path))
        if self.fault == "garbage":
            return JSONResponse({"what": "is this"})
        rate = RATES.get(query.get("output_format", ""), 0)
        samples, _ = await self._spoken(body["text"], rate or SAMPLE_RATE)
        data = samples.astype("<i2").tobytes() if rate else b"ID3" + bytes(1_000)
        kind = "audio/pcm" if rate else "audio/mpeg"
        return StreamingResponse(self._pieces(data), media_type=kind)

    async def _pieces(self, data: bytes) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            if self.fault == "empty":
                return
            if self.fault == "hang":
                await self._released.wait()
            for at in range(0, len(data), 4_001):  # odd: samples are cut in the middle
                yield data[at : at + 4_001]
                self.sent_pieces += 1
                await asyncio.sleep(0)
                if self.fault == "late hang":
                    await self._released.wait()
                if self.fault in ("close", "late close", "abort"):
                    raise RuntimeError("the service broke")
        finally:
            self.open -= 1

    async def _voices_v2(self, request: Request) -> Response:
        if request.headers.get("xi-api-key") != KEY or self.fault == "401":
            return _refused(401, "invalid_api_key", "Invalid API key")
        if not self.has_v2:
            return _refused(404, "not_found", "There is no such path.")
        if self.fault == "garbage":
            return Response("<html>", media_type="text/html")
        if self.fault == "no object":
            return JSONResponse([])
        if self.fault == "bad alignment":
            return JSONResponse({"voices": [{"name": "nameless"}]})
        if self.fault == "empty":
            return JSONResponse({})
        token = request.query_params.get("next_page_token")
        self.pages.append(token or "")
        voice = _voice(1 if token else 0)
        page = {"voices": [voice], "has_more": not token, "total_count": 2}
        return JSONResponse(page | {"next_page_token": None if token else "page-2"})

    async def _voices_v1(self, request: Request) -> Response:
        if self.fault == "empty":
            return _refused(404, "not_found", "There is no such path.")
        return JSONResponse({"voices": [_voice(0), _voice(1)]})

    # -- WebSocket --------------------------------------------------------------------------------

    async def _socket(self, page: WebSocket) -> None:
        query, voice = dict(page.query_params), page.path_params["voice"]
        refusal = self._refusal(page.headers, query, voice, query.get("model_id"))
        if refusal is not None:
            await page.send_denial_response(refusal)
            return
        await page.accept()
        self.open += 1
        try:
            await _Speaking(self, page, query, voice).run()
        except WebSocketDisconnect:
            pass
        finally:
            self.open -= 1


class _Speaking:
    """One connection: text is gathered until it is long enough, flushed or ended."""

    def __init__(
        self, service: ElevenLabsService, page: WebSocket, query: dict[str, str], voice: str
    ) -> None:
        self.service = service
        self.page = page
        self.query = query
        self.voice = voice
        self.rate = RATES.get(query.get("output_format", ""), SAMPLE_RATE)
        self.schedule = [120, 160, 250, 290]
        self.buffer = ""
        self.first: dict[str, Any] | None = None

    async def run(self) -> None:
        while True:
            said = json.loads(await self.page.receive_text())
            self.service.messages.append(said)
            if self.service.fault == "refuse":
                await self.fail("This request exceeds your quota. You have 0 credits.")
                return
            if self.first is None:
                if not await self.begin(said):
                    return
                continue
            if said.get("voice_settings") not in (None, self.first.get("voice_settings")):
                await self.fail("voice_settings field must be provided in the first message")
                return
            if said["text"] == "":
                break
            self.buffer += said["text"]
            trigger = said.get("try_trigger_generation") and len(self.buffer) >= MINIMUM
            if said.get("flush") or trigger or len(self.buffer) >= self.schedule[0]:
                self.schedule = self.schedule[1:] or self.schedule
                if not await self.speak():
                    return
        if self.buffer.strip() and not await self.speak():
            return
        if self.service.fault != "no final":
            await self.page.send_json({"audio": None, "isFinal": True})
        await self.page.close(1000)

    async def begin(self, said: dict[str, Any]) -> bool:
        self.first = said
        schedule = (said.get("generation_config") or {}).get("chunk_length_schedule")
        self.schedule = schedule or self.schedule
        if said.get("text") != " " or not all(50 <= length <= 500 for length in self.schedule):
            await self.fail("The first message is not as it should be.")
            return False
        return True

    async def fail(self, said: str) -> None:
        message = {"message": f"{said} Key {KEY}", "error": "policy_violation", "code": 1008}
        await self.page.send_json(message)
        await self.page.close(1008, said[:100])

    async def speak(self) -> bool:
        """False if it went wrong."""
        text, self.buffer = self.buffer, ""
        assert self.first is not None
        self.service.said.append(Said(text, self.voice, self.query, self.first, "socket"))
        samples, words = await self.service._spoken(text, self.rate)
        step = self.rate * PIECE_MS // 1000
        characters = _timed(text, words)
        for number, at in enumerate(range(0, len(samples), step)):
            if not await self.hold(number):
                return False
            piece = samples[at : at + step].astype("<i2").tobytes()
            begin = number * PIECE_MS
            last = at + step >= len(samples)
            mine = [c for c in characters if begin <= c[1] and (last or c[1] < begin + PIECE_MS)]
            alignment = _alignment(mine, begin) if mine else None
            if self.service.fault == "bad alignment":
                alignment = {"chars": ["a"], "charStartTimesMs": [], "charDurationsMs": []}
            message = {
                "audio": base64.b64encode(piece).decode(),
                "isFinal": None,
                "alignment": alignment,
                "normalizedAlignment": alignment,
            }
            if self.service.fault != "empty":
                await self.page.send_json(message)
                self.service.sent_pieces += 1
            await asyncio.sleep(0.001)
        return True

    async def hold(self, number: int) -> bool:
        """The fault of this moment; False if the connection is over."""
        fault, page = self.service.fault, self.page
        if fault == "hang" or (fault == "late hang" and number == 1):
            released = asyncio.ensure_future(self.service._released.wait())
            gone = asyncio.ensure_future(self.gone())
            _, waiting = await asyncio.wait({released, gone}, return_when="FIRST_COMPLETED")
            for task in waiting:
                task.cancel()
        elif fault == "garbage" and number == 1:
            await page.send_text("<html>")
        elif fault == "no object":
            await page.send_text("[1]")
        elif fault == "bad sound":
            await page.send_json({"audio": "not base64!"})
        elif fault == "close" or (fault == "late close" and number == 1):
            await page.close(1000)
            return False
        elif fault == "abort" and number == 1:
            await page.close(1011, f"something went wrong, key {KEY}")
            return False
        return True

    async def gone(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await self.page.receive_text()


def _timed(text: str, words: list[WordTime]) -> list[tuple[str, float, float]]:
    """Each character with its start and length in ms; those between words take no time."""
    found: list[tuple[str, float, float]] = []
    at, end = 0, 0.0
    for word in words:
        for character in text[at : word.offset]:
            found.append((character, end, 0.0))
        length = (word.end_ms - word.start_ms) / max(1, word.length)
        for index in range(word.length):
            found.append((word.text[index], word.start_ms + index * length, length))
        at, end = word.offset + word.length, float(word.end_ms)
    found += [(character, end, 0.0) for character in text[at:]]
    return found


def _alignment(characters: list[tuple[str, float, float]], begin: float) -> dict[str, Any]:
    return {
        "chars": [character for character, _, _ in characters],
        "charStartTimesMs": [round(start - begin) for _, start, _ in characters],
        "charDurationsMs": [round(length) for _, _, length in characters],
    }


def _voice(number: int) -> dict[str, Any]:
    languages = [
        [{"language": "en", "model_id": MODELS[0], "accent": "american", "locale": "en-US"}],
        [
            {"language": "en", "model_id": MODELS[0], "accent": "british", "locale": "en-GB"},
            {"language": "de", "model_id": MODELS[0], "accent": "standard", "locale": "de-DE"},
        ],
    ]
    return {
        "voice_id": VOICES[number],
        "name": ("Rachel", "Georg")[number],
        "category": "premade",
        "labels": {"gender": ("female", "male")[number], "accent": "american", "age": "young"},
        "description": ("A warm voice.", None)[number],
        "preview_url": "https://example.com/preview.mp3",
        "verified_languages": languages[number],
        "is_legacy": number == 1,
    }


def _refused(status: int, code: str, said: str) -> JSONResponse:
    return JSONResponse({"detail": {"status": code, "message": said}}, status)


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "certificate.pem", directory / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


@contextlib.asynccontextmanager
async def elevenlabs_service(
    tls: tuple[Path, Path] | None = None,
) -> AsyncIterator[ElevenLabsService]:
    """The service for the length of a ``with``, on the test's own event loop."""
    service = ElevenLabsService()
    service.tls = tls is not None
    await service.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service.port = listener.getsockname()[1]
        made: dict[str, Any] = {"log_config": None, "lifespan": "off"}
        if tls is not None:
            made |= {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])}
        server = uvicorn.Server(uvicorn.Config(service.app, **made))
        serving = asyncio.create_task(server._serve([listener]))
        try:
            while not server.started:
                assert not serving.done()
                await asyncio.sleep(0.01)
            yield service
        finally:
            service.release()
            server.should_exit = server.force_exit = True
            await serving
            await service.close()
