"""Speech by ElevenLabs, over its WebSocket with word times or over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from salon.base.errors import MissingExtraError
from salon.base.tasks import TaskScope
from salon.media.frame import AudioChunk, Samples
from salon.media.timing import WordTime
from salon.models.content import AudioContent
from salon.voice.errors import SpeechError
from salon.voice.plain_http import plain
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.context import TTSContext, TTSContextLevel
from salon.voice.tts.elevenlabs_config import ElevenLabsConfig
from salon.voice.tts.elevenlabs_voices import read_voices
from salon.voice.tts.elevenlabs_wire import (
    ENGINE,
    Sound,
    body,
    harmless,
    message,
    opening,
    query,
    refusal,
    socket_url,
    sound_in,
    speech_path,
)
from salon.voice.tts.elevenlabs_words import WordTracker
from salon.voice.tts.gain import amplify
from salon.voice.tts.text import blank, is_speakable, split_text
from salon.voice.voices import filter_voices

if TYPE_CHECKING:
    import httpx
    from websockets.asyncio.client import ClientConnection

    from salon.voice.voices import VoiceInfo

__all__ = ["ElevenLabsConfig", "ElevenLabsTTSProvider"]

MAX_INPUT: Final = 5_000
"""Characters of one request; a longer piece is spoken in parts."""
MAX_TEXT: Final = 50_000
_MAX_MESSAGE: Final = 8 * 1024 * 1024
_MAX_BODY: Final = 64 * 1024 * 1024
_MAX_ERROR: Final = 2_048
_READ_BYTES: Final = 4_096
_CONTEXT_CHARS: Final = 1_000
_CLOSE_S: Final = 0.5
"""A service that still sends may not hear of the end; then the connection is cut."""
_MIMES: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "ulaw": "audio/basic",
    "alaw": "audio/alaw",
    "wav": "audio/wav",
}


class ElevenLabsTTSProvider(TextToSpeech):
    """One connection per piece, so that a piece that is cancelled stops the service at once.

    `VoiceSettings.voice` is a voice id and replaces the configured one for a piece; speeds are kept
    within the service's 0.7 to 1.2, the volume is applied here. The key goes nowhere but to
    `base_url`, redirects are not followed.
    """

    def __init__(self, config: ElevenLabsConfig) -> None:
        self.name = ENGINE
        self._config = config
        self._client: httpx.AsyncClient | None = None
        self._scope: TaskScope | None = None
        self._sockets: set[ClientConnection] = set()
        self._slots = asyncio.Semaphore(config.max_connections)
        self._voices: list[VoiceInfo] | None = None

    def __repr__(self) -> str:
        config = self._config
        return f"ElevenLabsTTSProvider(model={config.model_id!r}, voice={config.voice_id!r})"

    @property
    def has_word_times(self) -> bool:  # type: ignore[override]
        """Over the WebSocket."""
        return self._config.uses_socket

    @property
    def default_voice(self) -> str:
        return self._config.voice_id

    @property
    def context_level(self) -> TTSContextLevel:
        """`SELF` where a request can tell what was said before."""
        told = self._config.use_context and not self._config.uses_socket
        # The models without a socket refuse it.
        return TTSContextLevel.SELF if told and self._config.has_socket else TTSContextLevel.NONE

    @property
    def connections(self) -> int:
        """WebSockets that are open."""
        return len(self._sockets)

    async def start(self) -> None:
        """`MissingExtraError` if httpx or websockets is not installed. Sends nothing yet."""
        if self._client is not None:
            return
        try:
            import httpx
            import websockets.asyncio.client  # noqa: F401 - whether it is there
        except ImportError as error:
            raise MissingExtraError("elevenlabs", "speech by ElevenLabs") from error
        config = self._config
        most = config.max_connections
        self._client = httpx.AsyncClient(
            base_url=config.base_url,
            limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            timeout=httpx.Timeout(
                config.connect_timeout, read=config.read_timeout, pool=config.connect_timeout
            ),
            **plain(self._headers()),
            follow_redirects=False,
        )
        self._slots = asyncio.Semaphore(most)
        self._scope = TaskScope("salon.voice.tts.elevenlabs")

    def _headers(self) -> dict[str, str]:
        return {"xi-api-key": self._config.api_key}

    async def close(self) -> None:
        """Close all connections; running pieces end with `SpeechError`."""
        client, self._client = self._client, None
        scope, self._scope = self._scope, None
        if scope is not None:
            for socket in list(self._sockets):
                scope.spawn(socket.close(), name="close")
            await scope.drain(_CLOSE_S)
            await scope.close()
        for socket in list(self._sockets):
            socket.transport.abort()
        if client is not None:
            await client.aclose()

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece; nothing to say sends no request."""
        sound = self._speak(text, settings, "")
        try:
            async for chunk in sound:
                yield chunk
        finally:
            await sound.aclose()

    async def _speak(
        self, text: str, settings: VoiceSettings, before: str
    ) -> AsyncGenerator[SpeechChunk, None]:
        if len(text) > MAX_TEXT:
            raise SpeechError(ENGINE, f"{len(text)} characters are over the {MAX_TEXT} allowed")
        if self._client is None:
            raise SpeechError(ENGINE, "the engine is not started")
        spoken = 0
        for offset, part in split_text(blank(text), MAX_INPUT):
            if not is_speakable(part):
                continue
            made = (
                self._over_socket(part, settings)
                if self._config.uses_socket
                else self._over_http(part, settings, before)
            )
            first = spoken
            try:
                async for chunk in made:
                    spoken += len(chunk.samples)
                    yield _moved(chunk, first // 16, offset, settings.volume)
            finally:
                await made.aclose()

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: TTSContext | None = None
    ) -> AsyncGenerator[AudioChunk, None]:
        """As `TextToSpeech` does; over HTTP the service is told what was said before."""
        await self.start()
        before = ""
        if context is not None and self.context_level is not TTSContextLevel.NONE:
            said = [turn.text for turn in context.turns if turn.role == "assistant"]
            before = " ".join(said)[-_CONTEXT_CHARS:]
        sound = self._speak(text, VoiceSettings(voice=voice), before)
        try:
            async for chunk in sound:
                if len(chunk.samples):
                    yield AudioChunk(chunk.samples.tobytes())
        finally:
            await sound.aclose()
        yield AudioChunk(b"", is_final=True)

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        """The whole sound in a ``data:`` URL: WAV, or as `output_format` says if that isn't PCM."""
        config = self._config
        if config.speech_format == config.output_format or not is_speakable(text):
            return await super().synthesize(text, voice=voice)
        await self.start()
        settings = VoiceSettings(voice=voice)
        data = bytearray()
        async with self._answer(settings, "", config.output_format, text, "") as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > _MAX_BODY:
                    raise SpeechError(ENGINE, "the answer is longer than 64 MiB")
        mime = _MIMES[config.output_format.partition("_")[0]]
        url = f"data:{mime};base64," + base64.b64encode(data).decode("ascii")
        return AudioContent(url=url, mime_type=mime, size_bytes=len(data), transcript=text)

    async def list_voices(
        self, *, language: str | None = None, gender: str | None = None, query: str | None = None
    ) -> list[VoiceInfo]:
        """The voices of the account, asked for once. Raises `SpeechError`."""
        if self._voices is None:
            await self.start()
            self._voices = await read_voices(self._ask)
        return filter_voices(self._voices, language=language, gender=gender, query=query)

    # -- HTTP -------------------------------------------------------------------------------------

    async def _ask(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """A question with a JSON answer; 404 comes back, other refusals are `SpeechError`."""
        data = bytearray()
        async with self._request("GET", path, params=asked) as answer:
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > _MAX_MESSAGE:
                    raise SpeechError(ENGINE, "the answer is longer than 8 MiB")
            if answer.status_code not in (200, 404):
                raise refusal(answer.status_code, bytes(data), self._config.api_key)
        try:
            found = json.loads(data) if answer.status_code == 200 else {}
        except (ValueError, RecursionError) as error:
            raise SpeechError(ENGINE, "the service sent what is no JSON") from error
        if not isinstance(found, dict):
            raise SpeechError(ENGINE, "the service sent no list of voices")
        return answer.status_code, found

    async def _over_http(
        self, text: str, settings: VoiceSettings, before: str
    ) -> AsyncGenerator[SpeechChunk, None]:
        config = self._config
        sound = Sound(config.speech_rate)
        asked = settings, "/stream", config.speech_format, text.strip(), before
        async with self._answer(*asked) as pieces:
            async for data in pieces:
                if len(samples := sound.feed(data)):
                    yield SpeechChunk(samples)
        if not sound.ms:
            raise SpeechError(ENGINE, "the service sent no sound")
        if len(last := sound.finish()):
            yield SpeechChunk(last)

    @asynccontextmanager
    async def _answer(
        self, settings: VoiceSettings, tail: str, output_format: str, text: str, before: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The sound of one request."""
        config = self._config
        async with self._request(
            "POST",
            speech_path(config, settings, tail),
            params=query(config, output_format),
            json=body(config, text, settings, before),
        ) as answer:
            if answer.status_code != 200:
                said = b""
                async for data in answer.aiter_bytes(_MAX_ERROR):
                    said += data
                    if len(said) >= _MAX_ERROR:
                        break
                raise refusal(answer.status_code, said[:_MAX_ERROR], config.api_key)
            kind = answer.headers.get("content-type", "")
            if kind.startswith(("application/json", "text/")):
                raise SpeechError(ENGINE, f"the service sent {kind} for sound")
            yield answer.aiter_bytes(_READ_BYTES)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[httpx.Response]:
        import httpx

        if self._client is None:
            raise SpeechError(ENGINE, "the engine is closed")
        try:
            async with self._client.stream(method, path, **options) as answer:
                yield answer
        except httpx.TimeoutException:
            raise SpeechError(ENGINE, f"no answer for {self._config.read_timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            said = harmless(str(error), self._config.api_key) or type(error).__name__
            raise SpeechError(ENGINE, f"the request failed: {said}") from error

    # -- WebSocket --------------------------------------------------------------------------------

    async def _over_socket(
        self, text: str, settings: VoiceSettings
    ) -> AsyncGenerator[SpeechChunk, None]:
        words, sound = WordTracker(text), Sound(self._config.speech_rate)
        async with self._socket(settings) as socket:
            await self._ask_for(socket, text, settings)
            while (data := await self._next(socket, sound, words)) is not None:
                found = message(data, self._config.api_key)
                begin = sound.ms
                samples = sound.feed(sound_in(found))
                timed = _timed(words, found, begin)
                if len(samples) or timed:
                    yield SpeechChunk(samples, timed)
                if found.get("isFinal"):
                    break
        if not sound.ms:
            raise SpeechError(ENGINE, "the service sent no sound")
        last, timed = sound.finish(), words.finish()
        if len(last) or timed:
            yield SpeechChunk(last, timed)

    async def _ask_for(self, socket: ClientConnection, text: str, settings: VoiceSettings) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async with asyncio.timeout(self._config.read_timeout):
                await socket.send(opening(self._config, settings))
                await socket.send(_piece(text))
                await socket.send(json.dumps({"text": ""}))
        except ConnectionClosed:
            pass  # What the service said before it closed is read next.
        except TimeoutError:
            raise SpeechError(ENGINE, "the service takes no text") from None

    async def _next(
        self, socket: ClientConnection, sound: Sound, words: WordTracker
    ) -> str | bytes | None:
        """None at an end in good order."""
        from websockets.exceptions import ConnectionClosed

        try:
            async with asyncio.timeout(self._config.read_timeout):
                return await socket.recv()
        except TimeoutError:
            said = f"no answer for {self._config.read_timeout:g} s"
            raise SpeechError(ENGINE, said) from None
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd is not None else 1006
            # Some ends come without `isFinal`; a sentence that is cut off is no end.
            if code == 1000 and self._client is not None and sound.ms and words.complete:
                return None
            reason = error.rcvd.reason if error.rcvd is not None else "connection lost"
            said = harmless(reason, self._config.api_key) or "before the end of the speech"
            raise SpeechError(ENGINE, f"the service closed ({code}): {said}") from error

    @asynccontextmanager
    async def _socket(self, settings: VoiceSettings) -> AsyncIterator[ClientConnection]:
        """A connection of one piece. It is closed in the background: whoever interrupts does not
        wait for it."""
        scope, slots = self._scope, self._slots
        if scope is None:
            raise SpeechError(ENGINE, "the engine is closed")
        try:
            async with asyncio.timeout(self._config.read_timeout):
                await slots.acquire()
        except TimeoutError:
            said = f"no free connection for {self._config.read_timeout:g} s"
            raise SpeechError(ENGINE, said) from None
        try:
            socket = await self._connected(settings)
        except BaseException:
            slots.release()
            raise
        self._sockets.add(socket)
        try:
            yield socket
        finally:
            if self._scope is scope:
                scope.spawn(self._left(socket, slots), name="close")
            else:
                self._cut(socket, slots)

    async def _left(self, socket: ClientConnection, slots: asyncio.Semaphore) -> None:
        try:
            await socket.close()
        finally:
            self._cut(socket, slots)

    def _cut(self, socket: ClientConnection, slots: asyncio.Semaphore) -> None:
        socket.transport.abort()
        self._sockets.discard(socket)
        slots.release()

    async def _connected(self, settings: VoiceSettings) -> ClientConnection:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

        config = self._config
        try:
            return await connect(
                socket_url(config, settings),
                additional_headers=self._headers(),
                open_timeout=config.connect_timeout,
                close_timeout=_CLOSE_S,
                max_size=_MAX_MESSAGE,
                max_queue=8,
                proxy=None,
            )
        except InvalidStatus as error:
            answer = error.response
            raise refusal(answer.status_code, bytes(answer.body or b""), config.api_key) from None
        except TimeoutError:
            said = f"no connection within {config.connect_timeout:g} s"
            raise SpeechError(ENGINE, said) from None
        except (OSError, InvalidURI, WebSocketException) as error:
            said = harmless(str(error), config.api_key) or type(error).__name__
            raise SpeechError(ENGINE, f"no connection: {said}") from error


def _piece(text: str) -> str:
    """The service wants a space at the end of what it shall not continue."""
    return json.dumps({"text": text.rstrip() + " ", "flush": True})


def _timed(words: WordTracker, found: dict[str, Any], begin: float) -> tuple[WordTime, ...]:
    alignment = found.get("alignment")
    if not alignment:
        return ()
    try:
        return words.feed(alignment, begin)
    except ValueError as error:
        raise SpeechError(ENGINE, f"the service sent what is no message: {error}") from error


def _moved(chunk: SpeechChunk, ms: int, offset: int, volume: float) -> SpeechChunk:
    """The chunk of a part as one of the whole piece."""
    samples: Samples = amplify(chunk.samples, volume)
    if not ms and not offset:
        return SpeechChunk(samples, chunk.words)
    words = tuple(
        WordTime(w.text, w.start_ms + ms, w.end_ms + ms, w.offset + offset, w.length)
        for w in chunk.words
    )
    return SpeechChunk(samples, words)
