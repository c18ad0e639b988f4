"""Recognition by an OpenAI-compatible service, against a small server that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
import pytest_asyncio

from salon.base import ConfigurationError, MissingExtraError
from salon.media import read_wav
from salon.models.speech import SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.stt import OpenAISpeechToText


@dataclass
class Request:
    """One request as it came: headers in lower case, form fields, the file."""

    path: str
    headers: dict[str, str]
    fields: dict[str, str]
    wav: bytes


class TranscriptionServer:
    """Answers with `reply` (JSON, or bytes as they are) and `status`; while `held`, not at all."""

    def __init__(self) -> None:
        self.reply: Any = {"text": ""}
        self.status = 200
        self.requests: list[Request] = []
        self.held = asyncio.Event()
        self.held.set()
        self.arrived = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self.held.set()
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append(_parse(first.split()[1], headers, body))
        self.arrived.set()
        await self.held.wait()
        data = self.reply if isinstance(self.reply, bytes) else json.dumps(self.reply).encode()
        head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()


def _parse(path: str, headers: dict[str, str], body: bytes) -> Request:
    boundary = headers["content-type"].split("boundary=")[1].encode()
    request = Request(path, headers, {}, b"")
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        if b"filename=" in head:
            request.wav = content
        else:
            request.fields[name[1].decode()] = content.decode()
    return request


SOUND = np.arange(1600, dtype=np.int16)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[TranscriptionServer]:
    async with TranscriptionServer() as running:
        yield running


@pytest_asyncio.fixture
async def engine(server: TranscriptionServer) -> AsyncIterator[OpenAISpeechToText]:
    made = OpenAISpeechToText(server.url + "/", "secret", "small", timeout=5, max_requests=1)
    await made.start()
    yield made
    await made.close()


async def test_request_holds_the_sound_as_wav_model_language_prompt_and_key(
    server: TranscriptionServer, engine: OpenAISpeechToText
) -> None:
    utterance = engine.recognize(SpeechHints(("open the door", "x" * 700)), language="en-US")
    utterance.push(SOUND)
    utterance.push(SOUND)
    await utterance.finish()
    (request,) = server.requests
    assert request.path == "/v1/audio/transcriptions"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.fields == {
        "model": "small",
        "response_format": "verbose_json",
        "language": "en",
        "prompt": "open the door.",
    }
    samples, rate = read_wav(request.wav)
    assert rate == 16_000
    assert samples.tolist() == SOUND.tolist() * 2


async def test_V231_language_is_what_the_service_reports(
    server: TranscriptionServer, engine: OpenAISpeechToText
) -> None:
    server.reply = {"text": "hallo", "language": "german"}
    utterance = engine.recognize(language="en")
    utterance.push(SOUND)
    assert (await utterance.finish()).language == "german"
    server.reply = {"text": "hallo"}
    utterance = engine.recognize(language="auto")
    utterance.push(SOUND)
    assert (await utterance.finish()).language is None
    assert "language" not in server.requests[1].fields


async def test_words_and_confidence_come_from_the_verbose_reply(
    server: TranscriptionServer, engine: OpenAISpeechToText
) -> None:
    server.reply = {
        "text": " Open, door. ",
        "words": [
            {"word": "Open", "start": 0.1, "end": 0.4},
            {"word": "missing", "start": 0.4, "end": 0.5},
            {"word": "door", "start": 0.5, "end": 0.9},
        ],
        "segments": [
            {"avg_logprob": 0.0, "start": 0.0, "end": 1.0},
            {"avg_logprob": -50.0, "start": 1.0, "end": 2.0},
            {"start": 1.0, "end": 2.0},
        ],
    }
    utterance = engine.recognize()
    utterance.push(SOUND)
    result = await utterance.finish()
    assert result.text == "Open, door."
    assert [(w.text, w.start_ms, w.end_ms, w.offset) for w in result.words] == [
        ("Open", 100, 400, 0),
        ("door", 500, 900, 6),
    ]
    assert result.confidence == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("status", "reply", "said"),
    [
        (401, {"error": {"message": "bad key"}}, "401: bad key"),
        (500, b"<html> oops", "500: <html> oops"),
        (400, {"error": "plain"}, "400: plain"),
        (302, {}, "answers 302"),
        (200, b"not json", "not a transcription"),
        (200, {"no": "text"}, "not a transcription"),
        (200, [1], "not a transcription"),
        (200, {"text": None}, "not a transcription"),
        (200, {"text": 7}, "not a transcription"),
        (200, b'{"text": "a", "words": [{"word": "a", "start": 1e999, "end": 1}]}', "not a trans"),
        (200, b"[" * 200_000, "not a transcription"),
        (500, b"[" * 200_000, "500"),
        (200, b"x" * (1 << 20) + b"y", "longer than 1 MiB"),
    ],
)
async def test_failures_of_the_service_are_speech_errors_without_the_key(
    server: TranscriptionServer,
    engine: OpenAISpeechToText,
    status: int,
    reply: Any,
    said: str,
) -> None:
    server.status, server.reply = status, reply
    utterance = engine.recognize()
    utterance.push(SOUND)
    with pytest.raises(SpeechError, match=said) as caught:
        await utterance.finish()
    assert "secret" not in str(caught.value)


async def test_a_service_that_is_not_there_is_a_speech_error() -> None:
    async with TranscriptionServer() as server:
        url = server.url
    engine = OpenAISpeechToText(url)
    await engine.start()
    utterance = engine.recognize()
    utterance.push(SOUND)
    with pytest.raises(SpeechError, match="ConnectError"):
        await utterance.finish()
    await engine.close()


async def test_a_service_that_does_not_answer_in_time_is_a_speech_error(
    server: TranscriptionServer,
) -> None:
    server.held.clear()
    engine = OpenAISpeechToText(server.url, timeout=0.05)
    await engine.start()
    utterance = engine.recognize()
    utterance.push(SOUND)
    with pytest.raises(SpeechError, match=r"within 0\.05 s"):
        await utterance.finish()
    await engine.close()


async def test_cancelling_the_wait_gives_the_request_up_and_frees_its_place(
    server: TranscriptionServer, engine: OpenAISpeechToText
) -> None:
    server.held.clear()
    utterance = engine.recognize()
    utterance.push(SOUND)
    waiting = asyncio.create_task(utterance.finish())
    await server.arrived.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.held.set()
    utterance = engine.recognize()
    utterance.push(SOUND)
    await utterance.finish()
    assert utterance.decoder_wait_ms >= 0


async def test_sound_after_finish_is_ignored(
    server: TranscriptionServer, engine: OpenAISpeechToText
) -> None:
    utterance = engine.recognize()
    utterance.push(SOUND)
    await utterance.finish()
    utterance.push(SOUND)
    assert len(read_wav(server.requests[0].wav)[0]) == len(SOUND)


def test_base_url_must_be_http() -> None:
    with pytest.raises(ConfigurationError, match="ftp://x"):
        OpenAISpeechToText("ftp://x")


async def test_missing_httpx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError) as caught:
        await OpenAISpeechToText("http://127.0.0.1:1").start()
    assert caught.value.extra == "openai"
