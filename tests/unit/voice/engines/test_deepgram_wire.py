"""Deepgram's engines against a server that says, at each step, what a test wants it to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from salon.base.clock import SYSTEM_CLOCK
from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.testing.contracts.voice_stt import hear
from salon.testing.contracts.voice_tts import SENTENCE, spoken
from salon.voice.deepgram_wire import DeepgramService, beside
from salon.voice.errors import SpeechError
from salon.voice.stt import deepgram as stt
from salon.voice.stt.base import Transcription
from salon.voice.stt.deepgram import DeepgramConfig, DeepgramSTTProvider
from salon.voice.stt.result import TranscriptionResult
from salon.voice.tts import deepgram as tts
from salon.voice.tts import deepgram_pool
from salon.voice.tts.base import VoiceSettings
from salon.voice.tts.deepgram import DeepgramTTSConfig, DeepgramTTSProvider

SECOND: Samples = np.ones(SAMPLE_RATE, dtype=np.int16)
Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        (listener,) = server.sockets
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def ears(handler: Handler, **options: Any) -> AsyncIterator[DeepgramSTTProvider]:
    async with served(handler) as url:
        options.setdefault("timeout", 15)
        engine = DeepgramSTTProvider(DeepgramConfig("key", base_url=url), **options)
        await engine.start()
        yield engine
        await engine.close()


@asynccontextmanager
async def voice(handler: Handler, **options: Any) -> AsyncIterator[DeepgramTTSProvider]:
    async with served(handler) as url:
        config = DeepgramTTSConfig("key", base_url=url)
        engine = DeepgramTTSProvider(config, timeout=15, **options)
        await engine.start()
        yield engine
        await engine.close()


def results(text: str, **fields: Any) -> str:
    channel = {"alternatives": [{"transcript": text, "confidence": 0.9, "words": []}]}
    return json.dumps({"type": "Results", "channel": channel, **fields})


def message(kind: str) -> str:
    return json.dumps({"type": kind})


async def until(connection: ServerConnection, kind: str) -> None:
    """Read to a command of this kind."""
    async for data in connection:
        if isinstance(data, str) and json.loads(data)["type"] == kind:
            return


async def stream(engine: DeepgramSTTProvider, *finals: bool) -> list[TranscriptionResult]:
    """Half seconds, each final or not."""

    async def sound() -> AsyncIterator[AudioChunk]:
        for is_final in finals:
            yield AudioChunk(SECOND[::2].tobytes(), is_final=is_final)

    async with asyncio.timeout(15):
        return [result async for result in engine.transcribe_stream(sound())]


# -- recognition ---------------------------------------------------------------------------------


async def test_what_is_unknown_is_passed_over() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(message("Metadata"))
        await connection.send(message("Novelty"))
        await connection.send(b"sound")
        await connection.send(results("", is_final=False))
        await connection.send(results("on", is_final=False))
        await until(connection, "CloseStream")
        await connection.send(results("one", is_final=True))
        await connection.send(results("two", is_final=False))
        await connection.send(message("Metadata"))
        await connection.wait_closed()

    async with ears(handler) as engine, asyncio.timeout(15):
        partials: list[Transcription] = []
        heard = asyncio.Event()

        def hear_partial(partial: Transcription) -> None:
            partials.append(partial)
            heard.set()

        utterance = engine.recognize(on_partial=hear_partial)
        utterance.push(SECOND)
        await heard.wait()
        # what was left interim counts as said
        assert (await utterance.finish()).text == "one two"
        utterance.cancel()
        assert (await utterance.finish()).text == "one two"
        assert [partial.text for partial in partials] == ["on", "one two"]


async def test_what_is_unknown_is_passed_over_in_a_stream() -> None:
    heard = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(message("Metadata"))
        await connection.send(message("Novelty"))
        await connection.send(b"sound")
        await connection.send(results("", is_final=False))
        await connection.send(results("one", is_final=True, speech_final=True))
        await until(connection, "CloseStream")
        await connection.send(results("two", is_final=False))
        await connection.send(message("Metadata"))
        await connection.wait_closed()

    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SECOND.tobytes())
        await heard.wait()

    async with ears(handler) as engine, asyncio.timeout(15):
        finals = []
        async for result in engine.transcribe_stream(sound()):
            if result.is_final:
                finals.append(result.text)
                heard.set()
        assert finals == ["one", "two"]


async def test_an_end_without_metadata_is_one_after_an_answer() -> None:
    async def handler(connection: ServerConnection) -> None:
        await until(connection, "CloseStream")
        await connection.send(results("one", is_final=True))

    async with ears(handler) as engine:
        assert (await hear(engine, SECOND)).text == "one"
        assert [r.text for r in await stream(engine, False) if r.is_final] == ["one"]


async def test_V96_an_end_without_any_answer_is_a_failure() -> None:
    async def handler(connection: ServerConnection) -> None:
        await until(connection, "CloseStream")

    async with ears(handler) as engine:
        with pytest.raises(SpeechError, match="too early"):
            await hear(engine, SECOND)
        with pytest.raises(SpeechError, match="too early"):
            await stream(engine, False)


async def test_V96_a_close_stream_without_answer_is_a_failure() -> None:
    async def handler(connection: ServerConnection) -> None:
        await until(connection, "CloseStream")
        await connection.wait_closed()

    async with ears(handler, timeout=0.5) as engine:
        with pytest.raises(SpeechError, match=r"no answer within 0.5 s"):
            await stream(engine, False)


async def test_V96_a_service_that_takes_no_sound() -> None:
    over = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await over.wait()

    async with ears(handler, timeout=0.5) as engine:
        loud = np.tile(SECOND, 600)
        with pytest.raises(SpeechError, match=r"nothing was taken for 0.5 s"):
            async with asyncio.timeout(15):
                [r async for r in engine.transcribe_stream(one(loud))]
        over.set()


async def one(sound: Samples) -> AsyncIterator[AudioChunk]:
    yield AudioChunk(sound.tobytes())


async def test_V96_an_end_in_the_middle_is_a_failure() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()

    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SECOND.tobytes())
        await asyncio.Event().wait()

    async with ears(handler) as engine, asyncio.timeout(15):
        with pytest.raises(SpeechError, match="too early"):
            [result async for result in engine.transcribe_stream(sound())]
        utterance = engine.recognize()
        utterance.push(SECOND)
        while engine.busy:
            await asyncio.sleep(0.005)
        with pytest.raises(SpeechError, match="too early"):
            await utterance.finish()


async def test_a_late_answer_is_not_said_again() -> None:
    told, begun = asyncio.Event(), asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(results("one", is_final=False))
        await until(connection, "Finalize")
        await told.wait()
        await connection.send(results("one.", is_final=True, from_finalize=True))
        await connection.send(results("two", is_final=True, speech_final=True))
        await connection.send(results("", is_final=True, speech_final=True))
        await until(connection, "CloseStream")
        await connection.send(message("Metadata"))

    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SECOND.tobytes())
        await begun.wait()
        yield AudioChunk(SECOND.tobytes(), is_final=True)
        await told.wait()

    async with ears(handler, finalize_timeout=0.05) as engine, asyncio.timeout(15):
        finals = []
        async for result in engine.transcribe_stream(sound()):
            begun.set()
            if result.is_final:
                finals.append(result.text)
                told.set()
        assert finals == ["one", "two"]


async def test_a_stream_without_sound_asks_nothing() -> None:
    async def handler(connection: ServerConnection) -> None:
        raise AssertionError

    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(b"", is_final=True)

    async with ears(handler) as engine:
        assert [r async for r in engine.transcribe_stream(sound())] == []


async def test_V96_too_much_text_is_a_failure() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(results("a" * 100_001, is_final=True))
        await connection.wait_closed()

    async with ears(handler) as engine:
        with pytest.raises(SpeechError, match="100000 characters"):
            await hear(engine, SECOND)


async def test_V96_an_endless_reply_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stt, "MAX_REPLY_BYTES", 10)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        config = DeepgramConfig("key", base_url=f"http://127.0.0.1:{port}")
        engine = DeepgramSTTProvider(config)
        with pytest.raises(SpeechError, match="over 10 bytes"):
            await engine.transcribe(AudioFrame.of(SECOND[:320]))
        await engine.close()


async def test_a_recording_after_close_starts_again_and_one_during_it_fails() -> None:
    engine = DeepgramSTTProvider(DeepgramConfig("key", base_url="http://127.0.0.1:1"))
    with pytest.raises(SpeechError, match="is closed"):
        await engine._post(SECOND, None, 1.0)


# -- synthesis -----------------------------------------------------------------------------------


def speaking(*answers: str | bytes) -> Handler:
    """A service that answers each flush so."""

    async def handler(connection: ServerConnection) -> None:
        while True:
            await until(connection, "Flush")
            for answer in answers:
                await connection.send(answer)

    return handler


async def test_other_messages_are_passed_over() -> None:
    answers = (message("Metadata"), b"", b"\1\0\2", b"\0", message("Novelty"), message("Flushed"))
    async with voice(speaking(*answers)) as engine:
        assert list((await spoken(engine, "One.")).samples) == [1, 2]


async def test_V106_too_much_sound_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tts, "MAX_PIECE_S", 1)
    async with voice(speaking(*[bytes(20_000)] * 2)) as engine:
        with pytest.raises(SpeechError, match="over 1 s of sound"):
            await spoken(engine, "One.")


@pytest.mark.parametrize("after", [b"\1\0", None])
async def test_closing_ends_a_piece_whatever_comes_next(after: bytes | None) -> None:
    async def handler(connection: ServerConnection) -> None:
        await until(connection, "Flush")
        await connection.send(bytes(640))
        if after is not None:
            await connection.send(after)
        await connection.wait_closed()

    async with voice(handler) as engine:
        piece = engine.speak("One.")
        await anext(piece)
        await engine.close()
        with pytest.raises(SpeechError):
            await anext(piece)
        await piece.aclose()


async def test_V106_an_end_in_the_middle_is_a_failure() -> None:
    async def handler(connection: ServerConnection) -> None:
        await until(connection, "Flush")
        await connection.send(b"\1\0")

    async with voice(handler) as engine:
        with pytest.raises(SpeechError, match="too early"):
            await spoken(engine, "One.")


async def test_a_late_flushed_of_a_cleared_piece_ends_no_other() -> None:
    async def handler(connection: ServerConnection) -> None:
        await until(connection, "Flush")
        await connection.send(bytes(640))
        await until(connection, "Clear")
        await connection.send(message("Cleared"))
        await connection.send(message("Flushed"))
        await until(connection, "Flush")
        await connection.send(bytes(1280))
        await connection.send(message("Flushed"))
        await connection.wait_closed()

    async with voice(handler) as engine:
        piece = engine.speak(SENTENCE)
        await anext(piece)
        await piece.aclose()
        async with asyncio.timeout(15):
            while not engine.is_idle:
                await asyncio.sleep(0.005)
        assert len((await spoken(engine, "One.")).samples) == 640


@pytest.mark.parametrize("answer", ["end", "silence"])
async def test_a_clear_that_is_not_answered(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepgram_pool, "CLEAR_S", 0.1)
    connections = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await until(connection, "Flush")
        await connection.send(bytes(640))
        if connections > 1:
            await connection.send(message("Flushed"))
        await until(connection, "Clear")
        if answer == "silence":
            await connection.wait_closed()

    async with voice(handler) as engine:
        piece = engine.speak(SENTENCE)
        await anext(piece)
        await piece.aclose()
        async with asyncio.timeout(15):
            while not engine.is_idle:
                await asyncio.sleep(0.005)
        assert len((await spoken(engine, "One.")).samples) == 320
        assert connections == 2


async def test_idle_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepgram_pool, "MAX_IDLE", 1)
    open_now = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal open_now
        open_now += 1
        try:
            await speaking(bytes(640), message("Flushed"))(connection)
        except Exception:  # noqa: BLE001 - however it ends
            open_now -= 1

    async with voice(handler) as engine:
        both = asyncio.gather(spoken(engine, "One."), spoken(engine, "Two."))
        assert [len(said.samples) for said in await both] == [320, 320]
        await spoken(engine, "Three.", VoiceSettings(voice="aura-2-zeus-en"))
        assert engine.is_idle


async def test_a_line_that_opens_while_the_engine_closes_is_dropped() -> None:
    opening, may = asyncio.Event(), asyncio.Event()

    async def wait(connection: ServerConnection, request: object) -> None:
        opening.set()
        await may.wait()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0, process_request=wait) as server:
        (listener,) = server.sockets
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        engine = DeepgramTTSProvider(DeepgramTTSConfig("key", base_url=url))
        await engine.start()
        saying = asyncio.create_task(spoken(engine, "One."))
        async with asyncio.timeout(15):
            await opening.wait()
            await engine.close()
            may.set()
            with pytest.raises(SpeechError, match="is closed"):
                await saying


# -- the connection ------------------------------------------------------------------------------


def service(url: str) -> DeepgramService:
    return DeepgramService("Test", url, "key", timeout=15, keep_alive=0.01, clock=SYSTEM_CLOCK)


async def test_keep_alive_ends_with_the_connection() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()

    async with served(handler) as url, asyncio.timeout(15):
        socket = await service(url).connect("/", ())
        await socket.keep_alive()
        assert not socket.is_open


async def test_keep_alive_that_is_not_taken_leaves_the_word_to_the_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with served(handler) as url, asyncio.timeout(15):
        socket = await service(url).connect("/", ())

        async def gone(kind: str) -> None:
            raise SpeechError("Test", f"{kind} was not taken")

        monkeypatch.setattr(socket, "command", gone)
        await socket.keep_alive()
        assert socket.is_open
        await socket.close()


async def test_what_fails_beside_ends_the_body_and_is_raised_as_it_is() -> None:
    async def broken() -> None:
        raise OSError("it broke")

    with pytest.raises(OSError, match="it broke"):
        async with beside(broken(), asyncio.sleep(60, None)):
            await asyncio.Event().wait()
    with pytest.raises(KeyError):
        async with beside(asyncio.sleep(60, None)):
            raise KeyError
    async with beside(asyncio.sleep(60, None)):
        pass


async def test_a_redirect_elsewhere_is_not_followed() -> None:
    asked: list[str] = []

    async def elsewhere(connection: ServerConnection) -> None:
        asked.append("elsewhere")

    async with served(elsewhere) as other:

        def moved(connection: ServerConnection, request: object) -> Any:
            answer = connection.respond(302, "moved")
            answer.headers["Location"] = other.replace("http", "ws")
            return answer

        async with serve(elsewhere, "127.0.0.1", 0, process_request=moved) as server:
            (listener,) = server.sockets
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(SpeechError, match="answers 302: moved"):
                await service(url).connect("/", ())
    assert not asked


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"err_code": "X", "err_msg": "no credit"}', "no credit"),
        (b'{"category": "X", "message": "no model"}', "no model"),
        (b"[1]", "[1]"),
        (b"\xff plain key=abc", "plain"),
    ],
)
def test_refusals_are_told_in_their_own_words(body: bytes, told: str) -> None:
    assert told in str(service("https://host").refusal(402, body))
