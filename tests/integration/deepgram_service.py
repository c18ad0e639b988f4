"""A small service that speaks Deepgram's documented interface: ``/v1/listen`` and ``/v1/speak``,
over WebSocket and HTTP.

It understands what is said with a recogniser of its own (`listens`: by default PocketSphinx over
`sentences`) and speaks with a voice of its own (`speaks`: by default Flite). Its ends of speech are
those of a simple energy detector. `fault` makes it do what services do at times.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from salon.media import SAMPLE_RATE, Samples, read_wav
from salon.media.g711 import encode_alaw, encode_ulaw

KEY: Final = "0123456789abcdef0123456789abcdef01234567"
FLUSHES: Final = 20
LOUD: Final = 150.0
_NET_0001: Final = (
    "Deepgram did not receive audio data or a text message within the timeout window. "
    "See https://dpgr.am/net0001"
)
_MODELS: Final = ("nova-2", "nova-3", "nova", "enhanced", "base")
_BOOLEAN: Final = frozenset(
    {
        "punctuate", "smart_format", "numerals", "dictation", "profanity_filter",
        "detect_entities", "diarize", "filler_words", "multichannel", "mip_opt_out",
        "interim_results", "vad_events", "detect_language", "utterances", "paragraphs",
    }
)  # fmt: skip
_FREE: Final = frozenset(
    {"language", "version", "tag", "redact", "replace", "search", "extra", "keywords", "keyterm"}
)
_STREAM_ONLY: Final = frozenset(
    {"interim_results", "vad_events", "endpointing", "utterance_end_ms"}
)

Listens = Callable[[Samples, int], str]
Speaks = Callable[[str, int], Samples]


class DeepgramService:
    """Listens on a free loopback port. `requests` holds what was asked as (path, parameters),
    `received` the control messages, `open_streams` counts the streams that are open.

    `fault`, until it is taken away: ``429``, ``503``, ``redirect`` (instead of an answer), ``hang``
    (nothing is answered), ``gone`` (the stream ends with 1011 at the first message), ``ended`` (the
    same with 1000), ``dropped`` (without a close), ``garbage``, ``list``, ``empty`` (messages that
    are none), ``error`` (an ``Error`` message), ``warning`` (a ``Warning``, and silence), ``slow``
    (each answer takes `pace` s); with ``late`` before it: in the middle of speech.
    """

    def __init__(
        self,
        *sentences: str,
        listens: Listens | None = None,
        speaks: Speaks | None = None,
    ) -> None:
        self.sentences = sentences
        self.listens = listens or self._sphinx
        self.speaks = speaks or _flite
        self.requests: list[tuple[str, dict[str, list[str]]]] = []
        self.received: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self.speakers: Callable[[str], list[int]] | None = None
        """Who says which word of a text; nobody is told apart without it."""
        self.finalizes = True
        self.fault = ""
        self.pace = 0.05
        self.idle_timeout = 10.0
        self.open_streams = 0
        self.over = asyncio.Event()
        self._decoder = threading.Lock()
        self.port = 0
        self.app = Starlette(
            routes=[
                Route("/v1/listen", self._recording, methods=["POST"]),
                Route("/v1/speak", self._speech, methods=["POST"]),
                WebSocketRoute("/v1/listen", self._stream(ListenStream)),
                WebSocketRoute("/v1/speak", self._stream(SpeakStream)),
            ]
        )

    @property
    def url(self) -> str:
        """As ``base_url`` of a client."""
        return f"http://127.0.0.1:{self.port}"

    def _sphinx(self, sound: Samples, rate: int) -> str:
        from tests.integration.hearing import heard

        assert rate == SAMPLE_RATE
        with self._decoder:
            return heard(sound, self.sentences)

    # -- what is refused ------------------------------------------------------------------------

    def _refused(
        self, request: Request | WebSocket, check: Callable[[QueryParams], str]
    ) -> Response | None:
        query = request.query_params
        self.requests.append((request.url.path, {name: query.getlist(name) for name in query}))
        given = request.headers.get("authorization", "")
        if given != f"Token {KEY}":
            return _error(401, "INVALID_AUTH", f"Invalid credentials. Given: {given}")
        match self.fault:
            case "429":
                return _error(429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later")
            case "503":
                return _error(503, "Service Unavailable", "Please try again later")
            case "redirect":
                return Response(status_code=302, headers={"Location": f"{self.url}/elsewhere"})
        if wrong := check(query):
            return _error(400, "INVALID_QUERY_PARAMETER", wrong)
        return None

    # -- HTTP -----------------------------------------------------------------------------------

    async def _recording(self, request: Request) -> Response:
        refusal = self._refused(request, lambda query: wrong_listen(query, stream=False))
        if refusal is not None:
            return refusal
        body = await request.body()
        await self._dawdle()
        match self.fault:
            case "hang":
                await self.over.wait()
            case "garbage":
                return Response(b"\x00not json", media_type="application/json")
            case "list" | "empty":
                return JSONResponse({"results": {"channels": []}})
        try:
            sound, rate = read_wav(io.BytesIO(body))
        except ValueError:
            said = "Bad Request: failed to process audio: corrupt or unsupported data"
            return _error(400, "Bad Request", said)
        text = await asyncio.to_thread(self.listens, sound, rate)
        self.heard.append(text)
        query = request.query_params
        best = self.alternative(text, 0.0, len(sound) / rate, query)
        channel: dict[str, Any] = {"alternatives": [best]}
        if query.get("detect_language") == "true":
            channel |= {"detected_language": "en", "language_confidence": 0.98}
        metadata = {
            "transaction_key": "deprecated", "request_id": str(uuid.uuid4()), "sha256": "0" * 64,
            "created": _now(), "duration": len(sound) / rate, "channels": 1, "models": [],
            "model_info": {},
        }  # fmt: skip
        return JSONResponse({"metadata": metadata, "results": {"channels": [channel]}})

    async def _speech(self, request: Request) -> Response:
        refusal = self._refused(request, lambda query: wrong_speak(query, stream=False))
        if refusal is not None:
            return refusal
        try:
            text = (await request.json())["text"]
        except (ValueError, KeyError, TypeError):
            said = "Failed to deserialize JSON payload. Please specify exactly one of `text`"
            return _error(400, "PAYLOAD_ERROR", said)
        if not text.strip():
            return _error(400, "Bad Request", "Input text contains no characters.")
        if len(text) > 2000:
            return _error(413, "Payload Too Large", "Input text exceeds maximum character limit")
        await self._dawdle()
        if self.fault == "hang":
            await self.over.wait()
        query = request.query_params
        sound = await asyncio.to_thread(self.speaks, text, int(query.get("sample_rate", 24_000)))

        async def stream() -> AsyncIterator[bytes]:
            data = encoded(sound, query)
            for at in range(0, len(data), 4001):  # odd: samples are cut in the middle
                if self.fault == "dropped" and at:
                    raise ConnectionResetError("as the fault says")
                yield data[at : at + 4001]

        return StreamingResponse(stream(), media_type="audio/l16")

    # -- WebSocket ------------------------------------------------------------------------------

    def _stream(self, kind: type[Stream]) -> Callable[[WebSocket], Any]:
        async def serve(websocket: WebSocket) -> None:
            refusal = self._refused(websocket, kind.wrong)
            if refusal is not None:
                await websocket.send_denial_response(refusal)
                return
            if self.fault == "hang at connect":
                await self.over.wait()
            await websocket.accept(headers=[(b"dg-request-id", b"1")])
            self.open_streams += 1
            stream = kind(self, websocket)
            try:
                await stream.serve()
            except (WebSocketDisconnect, RuntimeError):
                pass  # The client left, perhaps while it was being answered.
            finally:
                self.open_streams -= 1

        return serve

    async def _dawdle(self) -> None:
        if self.fault == "slow":
            await asyncio.sleep(self.pace)

    def alternative(
        self, text: str, start: float, end: float, query: QueryParams
    ) -> dict[str, Any]:
        """What the service thinks was said between `start` and `end` (s)."""
        names = text.split()
        each = (end - start) / max(1, len(names))
        words: list[dict[str, Any]] = [
            {
                "word": name.lower().strip(".,?!"),
                "start": round(start + each * index, 3),
                "end": round(start + each * (index + 1), 3),
                "confidence": 0.97,
                "punctuated_word": name,
            }
            for index, name in enumerate(names)
        ]
        if query.get("diarize") == "true" or query.get("diarize_model"):
            who = self.speakers(text) if self.speakers else [0] * len(words)
            for word, speaker in zip(words, who, strict=True):
                word["speaker"] = speaker
        best: dict[str, Any] = {
            "transcript": text, "confidence": 0.97 if text else 0.0, "words": words
        }  # fmt: skip
        if query.get("language") == "multi":
            best["languages"] = ["en"] if text else []
        return best


class Stream:
    """One stream of either kind."""

    def __init__(self, service: DeepgramService, websocket: WebSocket) -> None:
        self.service = service
        self.websocket = websocket
        self.query = websocket.query_params
        self.request_id = str(uuid.uuid4())

    @staticmethod
    def wrong(query: QueryParams) -> str:
        """What is wrong with the parameters; empty if nothing is."""
        raise NotImplementedError

    async def serve(self) -> None:
        """Answer until one side closes."""
        while self.websocket.client_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(self.service.idle_timeout):
                    message = await self.websocket.receive()
            except TimeoutError:
                await self.websocket.close(1011, _NET_0001)
                return
            if message["type"] == "websocket.disconnect":
                return
            if await self._misbehave():
                return
            await self.service._dawdle()
            data = message.get("bytes")
            if data is not None:
                await self.sound(data)
            elif await self._control(message["text"]):
                return

    async def sound(self, data: bytes) -> None:
        """Sound from the client."""

    async def command(self, message: dict[str, Any]) -> bool:
        """A control message; true if it ends the stream. `KeyError` for one that is none."""
        raise NotImplementedError

    async def send(self, message: dict[str, Any]) -> None:
        """To the client."""
        await self.websocket.send_text(json.dumps(message))

    async def _control(self, text: str) -> bool:
        try:
            message = json.loads(text)
            self.service.received.append(message)
            return await self.command(message)
        except (ValueError, KeyError, TypeError) as error:
            await self.send(
                {"type": "Error", "variant": "SchemaError", "message": text,
                 "description": f"Could not deserialize last text message: {error!r}"}
            )  # fmt: skip
            return False

    async def _misbehave(self) -> bool:
        """True if the stream is over."""
        match self.service.fault:
            case "hang":
                await self.service.over.wait()
            case "once gone":
                self.service.fault = ""
                await self.websocket.close(1011, "Deepgram failed.")
                return True
            case "warning":
                await self.send(
                    {"type": "Warning", "code": "EXCESSIVE_FLUSH",
                     "description": "Too many flushes; wait for 60 seconds."}
                )  # fmt: skip
                await self.service.over.wait()
            case "gone":
                await self.websocket.close(1011, "Deepgram failed. See https://dpgr.am/net0000")
            case "ended":
                await self.websocket.close(1000)
            case "dropped":
                self.websocket.scope["transport"].abort()
            case "garbage":
                await self.websocket.send_text("\x00{not json")
            case "list":
                await self.websocket.send_text("[1, 2]")
            case "empty":
                await self.send({"type": "Results", "channel": {"alternatives": []}})
                await self.websocket.send_bytes(b"")
            case "error":
                await self.send(
                    {"type": "Error", "variant": "ServerError", "description": "no model left"}
                )
            case _:
                return False
        return self.service.fault in ("hang", "warning", "gone", "ended", "dropped")


class ListenStream(Stream):
    """Recognition."""

    def __init__(self, service: DeepgramService, websocket: WebSocket) -> None:
        super().__init__(service, websocket)
        self.rate = int(self.query.get("sample_rate", SAMPLE_RATE))
        self.samples = np.zeros(0, dtype=np.int16)
        self.begin = 0
        """Where what is not final yet begins."""
        self.interim_at = 0
        self.quiet = 0
        self.speaking = False
        self.total = 0
        self.rest = b""

    @staticmethod
    def wrong(query: QueryParams) -> str:
        return wrong_listen(query, stream=True)

    async def sound(self, data: bytes) -> None:
        data = self.rest + data
        whole = len(data) // 2 * 2
        self.rest = data[whole:]
        step = self.rate // 50
        new = np.frombuffer(data[:whole], dtype="<i2").astype(np.int16)
        for at in range(0, len(new), step):
            await self._frame(new[at : at + step])

    async def _frame(self, frame: Samples) -> None:
        self.samples = np.concatenate([self.samples, frame])
        self.total += len(frame)
        loud = float(np.sqrt(np.mean(frame.astype(np.float64) ** 2))) > LOUD
        if loud and not self.speaking:
            self.speaking = True
            if self.query.get("vad_events") == "true":
                at = self.total / self.rate
                await self.send({"type": "SpeechStarted", "channel": [0], "timestamp": at})
        self.quiet = 0 if loud else self.quiet + len(frame)
        pause = self.query.get("endpointing", "10")
        if self.speaking and pause != "false":
            limit = 10 if pause == "true" else int(pause)
            if self.quiet * 1000 >= limit * self.rate:
                await self._final(speech_final=True)
                return
        every = self.rate
        if self.query.get("interim_results") == "true" and (
            self.total - max(self.interim_at, self.begin) >= every
        ):
            self.interim_at = self.total
            text = await self._text()
            await self._results(text, is_final=False)

    async def command(self, message: dict[str, Any]) -> bool:
        match message["type"]:
            case "KeepAlive":
                return False
            case "Finalize":
                if len(self.samples) and self.service.finalizes:
                    await self._final(from_finalize=True)
                return False
            case "CloseStream":
                if len(self.samples):
                    await self._final()
                await self.send(
                    {"type": "Metadata", "transaction_key": "deprecated",
                     "request_id": self.request_id, "sha256": "0" * 64, "created": _now(),
                     "duration": self.total / self.rate, "channels": 1}
                )  # fmt: skip
                await self.websocket.close(1000)
                return True
        raise ValueError(f"unknown variant {message['type']}")

    async def _text(self) -> str:
        return await asyncio.to_thread(self.service.listens, self.samples, self.rate)

    async def _final(self, *, speech_final: bool = False, from_finalize: bool = False) -> None:
        text = await self._text()
        self.service.heard.append(text)
        await self._results(
            text, is_final=True, speech_final=speech_final or from_finalize,
            from_finalize=from_finalize,
        )  # fmt: skip
        if self.query.get("utterance_end_ms") and text:
            end = self.total / self.rate
            await self.send({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": end})
        self.samples = self.samples[:0]
        self.begin = self.total
        self.speaking = False

    async def _results(
        self,
        text: str,
        *,
        is_final: bool,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> None:
        start, end = self.begin / self.rate, self.total / self.rate
        info = {"name": "general", "version": "2024-01-09.29447", "arch": "nova-2"}
        await self.send(
            {"type": "Results", "channel_index": [0, 1], "duration": end - start, "start": start,
             "is_final": is_final, "speech_final": speech_final, "from_finalize": from_finalize,
             "channel": {"alternatives": [self.service.alternative(text, start, end, self.query)]},
             "metadata": {"request_id": self.request_id, "model_uuid": str(uuid.uuid4()),
                          "model_info": info}}
        )  # fmt: skip


class SpeakStream(Stream):
    """Synthesis."""

    def __init__(self, service: DeepgramService, websocket: WebSocket) -> None:
        super().__init__(service, websocket)
        self.text = ""
        self.sequence = 0
        self.flushes: list[float] = []
        self.speaking: asyncio.Task[None] | None = None

    @staticmethod
    def wrong(query: QueryParams) -> str:
        return wrong_speak(query, stream=True)

    async def serve(self) -> None:
        await self.send(
            {"type": "Metadata", "request_id": self.request_id, "model_name": "aura-2-thalia-en",
             "model_version": "1", "model_uuid": str(uuid.uuid4()), "additional_model_uuids": []}
        )  # fmt: skip
        try:
            await super().serve()
        finally:
            await self._silence()

    async def command(self, message: dict[str, Any]) -> bool:
        match message["type"]:
            case "Speak":
                if len(message["text"]) > 2000:
                    await self._warn("TEXT_TOO_LONG", "The text is over 2000 characters.")
                else:
                    self.text += message["text"]
            case "Flush":
                await self._flush()
            case "Clear":
                self.text = ""
                await self._silence()
                await self._acknowledge("Cleared")
            case "Close":
                if self.speaking is not None:
                    await self.speaking
                await self.websocket.close(1000)
                return True
            case other:
                raise ValueError(f"unknown variant {other}")
        return False

    async def _flush(self) -> None:
        now = time.monotonic()
        self.flushes = [at for at in self.flushes if now - at < 60]
        if len(self.flushes) >= FLUSHES:
            await self._warn("EXCESSIVE_FLUSH", "Too many flushes; wait for 60 seconds.")
            return
        self.flushes.append(now)
        if self.speaking is not None:
            await self.speaking
        text, self.text = self.text, ""
        self.speaking = asyncio.create_task(self._speak(text))

    async def _speak(self, text: str) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            rate = int(self.query.get("sample_rate", 24_000))
            data = b""
            if text.strip():
                sound = await asyncio.to_thread(self.service.speaks, text, rate)
                data = encoded(sound, self.query)
            for at in range(0, len(data), 4001):
                await self.service._dawdle()
                if self.service.fault in ("late garbage", "late gone", "late hang"):
                    await self._fail()
                await self.websocket.send_bytes(data[at : at + 4001])
            await self._acknowledge("Flushed")

    async def _fail(self) -> None:
        match self.service.fault:
            case "late garbage":
                await self.websocket.send_text("nonsense")
            case "late gone":
                await self.websocket.close(1011, "Deepgram failed.")
            case "late hang":
                await self.service.over.wait()

    async def _silence(self) -> None:
        if self.speaking is not None:
            self.speaking.cancel()
            await asyncio.gather(self.speaking, return_exceptions=True)
            self.speaking = None

    async def _acknowledge(self, kind: str) -> None:
        await self.send({"type": kind, "sequence_id": self.sequence})
        self.sequence += 1

    async def _warn(self, code: str, description: str) -> None:
        await self.send({"type": "Warning", "code": code, "description": description})


def wrong_listen(query: QueryParams, *, stream: bool) -> str:
    """What is wrong with the parameters of ``/v1/listen``; empty if nothing is."""
    model = query.get("model", "base")
    if not model.startswith(_MODELS):
        return "No such model/language/tier combination found."
    for name in query:
        for value in query.getlist(name):
            if wrong := _wrong_value(name, value, stream=stream):
                return wrong
    if query.get("encoding") and not query.get("sample_rate"):
        return "sample_rate is required with encoding"
    if query.get("utterance_end_ms") and query.get("interim_results") != "true":
        return "utterance_end_ms needs interim_results"
    if query.get("keyterm") and not model.startswith("nova-3"):
        return "keyterm is only for nova-3"
    if query.get("keywords") and model.startswith("nova-3"):
        return "keywords are not for nova-3"
    return ""


def _wrong_value(name: str, value: str, *, stream: bool) -> str:
    if not stream and name in _STREAM_ONLY:
        return f"{name} is only for streams"
    if name in _BOOLEAN:
        good = value in ("true", "false")
    elif name in _FREE:
        good = bool(value)
    elif name == "endpointing":
        good = value in ("true", "false") or value.isdigit()
    elif name == "utterance_end_ms":
        good = value.isdigit() and int(value) >= 1000
    elif name == "encoding":
        good = value == "linear16"
    elif name == "sample_rate":
        good = value.isdigit()
    elif name == "channels":
        good = value == "1"
    elif name == "diarize_model":
        good = value in (("latest", "v1") if stream else ("latest", "v1", "v2"))
    else:
        good = name == "model"
    return "" if good else f"Failed to deserialize query parameters: {name}={value}"


def wrong_speak(query: QueryParams, *, stream: bool) -> str:
    """What is wrong with the parameters of ``/v1/speak``; empty if nothing is."""
    known = {"model", "encoding", "sample_rate", "speed", "mip_opt_out"}
    known |= set() if stream else {"container", "tag", "bit_rate", "callback"}
    for name in query:
        if name not in known:
            return f"Failed to deserialize query parameters: {name}"
    if not query.get("model", "aura-asteria-en").startswith("aura-"):
        return "No such model/language/tier combination found."
    if query.get("encoding", "linear16") not in _ENCODE:
        return f"Unsupported audio format: encoding={query['encoding']}"
    rates = ("8000", "16000", "24000", "32000", "48000")
    if query.get("encoding", "linear16") != "linear16":
        rates = rates[:2]
    if query.get("sample_rate", "24000") not in rates:
        return f"Unsupported audio format: sample_rate={query['sample_rate']}"
    if not 0.7 <= float(query.get("speed", 1)) <= 1.5:
        return "speed must be between 0.7 and 1.5"
    return ""


def encoded(sound: Samples, query: QueryParams) -> bytes:
    """As the parameters of ``/v1/speak`` say."""
    return _ENCODE[query.get("encoding", "linear16")](sound)


def _linear(sound: Samples) -> bytes:
    return sound.astype("<i2").tobytes()


_ENCODE = {"linear16": _linear, "mulaw": encode_ulaw, "alaw": encode_alaw}


def _flite(text: str, rate: int) -> Samples:
    from salon.testing.speech import speak

    return speak(text, rate=rate)


def _error(status: int, code: str, message: str) -> JSONResponse:
    body = {"err_code": code, "err_msg": message, "request_id": str(uuid.uuid4())}
    return JSONResponse(body, status)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


class _Protocol(WebSocketsSansIOProtocol):
    """Lets the service drop a connection."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        with contextlib.suppress(AttributeError):
            self.scope["transport"] = self.transport  # type: ignore[typeddict-unknown-key]


@contextlib.asynccontextmanager
async def deepgram_service(
    *sentences: str, listens: Listens | None = None, speaks: Speaks | None = None
) -> AsyncIterator[DeepgramService]:
    """The service for the length of a ``with``, on the test's own event loop."""
    service = DeepgramService(*sentences, listens=listens, speaks=speaks)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service.port = listener.getsockname()[1]
        config = uvicorn.Config(
            service.app,
            log_config=None,
            lifespan="off",
            ws=_Protocol,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=0,
        )
        server = uvicorn.Server(config)
        with contextlib.ExitStack():
            serving = asyncio.create_task(server._serve([listener]))
            try:
                while not server.started:
                    assert not serving.done()
                    await asyncio.sleep(0.01)
                yield service
            finally:
                service.over.set()
                server.should_exit = server.force_exit = True
                await serving
