"""A small service that speaks OpenAI's documented HTTP interface: chat, recognition, synthesis.

It understands what is said (with a recogniser of its own) and speaks (with Flite); its language
model follows one rule: with tools it calls the first one and then says what the tool gave.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.parser
import email.policy
import io
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.integration.hearing import heard

from salon.media import SAMPLE_RATE, read_wav, wav_bytes
from salon.testing.speech import speak

KEY = "sk-test-key-0123456789"
PCM_RATE = 24_000
PIECES = 7
"""Characters of a streamed fragment: words and JSON are cut in the middle."""


class OpenAIService:
    """Listens on a free loopback port. `sentences` is all that its recogniser can understand;
    `chats`, `recognised` and `spoken` hold what was asked."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        self.chats: list[dict[str, Any]] = []
        self.recognised: list[str] = []
        self.spoken: list[dict[str, Any]] = []
        self.broken: set[str] = set()
        """Paths that answer 503."""
        self.port = 0
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/audio/transcriptions", self._transcribe, methods=["POST"]),
                Route("/v1/audio/speech", self._speak, methods=["POST"]),
            ]
        )

    @property
    def url(self) -> str:
        """As ``base_url`` of a client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            said = f"Incorrect API key provided: {request.headers.get('authorization')}"
            return _error(401, said, "invalid_request_error", "invalid_api_key")
        if request.url.path in self.broken:
            return _error(503, "The engine is overloaded.", "server_error", None)
        return None

    async def _models(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        model = {"id": "rule-1", "object": "model", "created": 1, "owned_by": "tests"}
        return JSONResponse({"object": "list", "data": [model]})

    # -- chat -------------------------------------------------------------------------------------

    async def _chat(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await request.json()
        if body.get("model") != "rule-1":
            said = f"The model {body.get('model')!r} does not exist"
            return _error(404, said, "invalid_request_error", "model_not_found")
        self.chats.append(body)
        message, reason = _thought(body)
        head = {"id": "chatcmpl-1", "created": int(time.time()), "model": "rule-1"}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            return JSONResponse(
                head | {"object": "chat.completion", "choices": [choice], "usage": usage}
            )
        head["object"] = "chat.completion.chunk"

        async def stream() -> AsyncIterator[bytes]:
            for delta in _deltas(message):
                choice = {"index": 0, "delta": delta, "finish_reason": None}
                yield _event(head | {"choices": [choice]})
                await asyncio.sleep(0)
            last = {"index": 0, "delta": {}, "finish_reason": reason}
            yield _event(head | {"choices": [last]})
            if body.get("stream_options", {}).get("include_usage"):
                yield _event(head | {"choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    # -- speech -----------------------------------------------------------------------------------

    async def _transcribe(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        fields = _form(request.headers["content-type"], await request.body())
        if not fields.get("model"):
            return _error(400, "you must provide a model parameter", "invalid_request_error", None)
        try:
            sound, rate = read_wav(io.BytesIO(fields["file"]))
        except (KeyError, ValueError):
            return _error(400, "Invalid file format.", "invalid_request_error", None)
        assert rate == SAMPLE_RATE
        text = await asyncio.to_thread(heard, sound, self.sentences)
        self.recognised.append(text)
        match fields.get("response_format", b"json").decode():
            case "text":
                return PlainTextResponse(text)
            case "verbose_json":
                seconds = len(sound) / rate
                segment = {"id": 0, "start": 0.0, "end": seconds, "text": text,
                           "avg_logprob": -0.2, "no_speech_prob": 0.01}  # fmt: skip
                return JSONResponse(
                    {"task": "transcribe", "language": "english", "duration": seconds,
                     "text": text, "segments": [segment]}
                )  # fmt: skip
            case _:
                return JSONResponse({"text": text})

    async def _speak(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await request.json()
        for name in ("model", "input", "voice"):
            if not body.get(name):
                said = f"Missing required parameter: '{name}'."
                return _error(400, said, "invalid_request_error", "missing_required_parameter")
        self.spoken.append(body)
        samples = await asyncio.to_thread(speak, body["input"], rate=PCM_RATE)
        if body.get("response_format") == "pcm":
            sound, kind = samples.astype("<i2").tobytes(), "audio/pcm"
        else:
            sound, kind = wav_bytes(np.asarray(samples), PCM_RATE), "audio/wav"

        async def stream() -> AsyncIterator[bytes]:
            for start in range(0, len(sound), 4001):  # odd: samples are cut in the middle
                yield sound[start : start + 4001]

        return StreamingResponse(stream(), media_type=kind)


def _thought(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The message that answers, and why it ends."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        asked = body["messages"][-2]
        assert asked["tool_calls"][0]["id"] == last["tool_call_id"]
        return {"role": "assistant", "content": f"The code word is {last['content']}."}, "stop"
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        function = {"name": name, "arguments": json.dumps({"place": "kitchen"})}
        call = {"id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    return {"role": "assistant", "content": f"You asked: {last['content']}"}, "stop"


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if message.get("tool_calls") else ""}
    text = message["content"] or ""
    for start in range(0, len(text), PIECES):
        yield {"content": text[start : start + PIECES]}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]}
        arguments = function["arguments"]
        for start in range(0, len(arguments), PIECES):
            piece = {"arguments": arguments[start : start + PIECES]}
            yield {"tool_calls": [{"index": index, "function": piece}]}


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _error(status: int, said: str, kind: str, code: str | None) -> JSONResponse:
    return JSONResponse(
        {"error": {"message": said, "type": kind, "param": None, "code": code}}, status
    )


def _form(content_type: str, body: bytes) -> dict[str, bytes]:
    """The fields of a ``multipart/form-data`` body."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    found = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = bytes(part.get_payload(decode=True))
    return found


@contextlib.asynccontextmanager
async def openai_service(*sentences: str) -> AsyncIterator[OpenAIService]:
    """The service for the length of a ``with``, on the test's own event loop."""
    service = OpenAIService(*sentences)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service.port = listener.getsockname()[1]
        config = uvicorn.Config(service.app, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None
        with contextlib.ExitStack():
            serving = asyncio.create_task(server._serve([listener]))
            try:
                while not server.started:
                    assert not serving.done()
                    await asyncio.sleep(0.01)
                yield service
            finally:
                server.should_exit = server.force_exit = True
                await serving
