"""Speech by Deepgram's Aura, over WebSocket or HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from salon.base import ConfigurationError
from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.g711 import decode_alaw, decode_ulaw
from salon.media.resample import Resampler
from salon.voice.deepgram_wire import BASE_URL, DeepgramService, Query
from salon.voice.errors import SpeechError
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.deepgram_pool import IDLE_S, SpeakLine, SpeakPool
from salon.voice.tts.deepgram_voices import aura_voices
from salon.voice.tts.gain import amplify
from salon.voice.tts.text import blank, is_speakable, split_text

if TYPE_CHECKING:
    import httpx

    from salon.voice.voices import VoiceInfo

__all__ = ["DeepgramTTSConfig", "DeepgramTTSProvider"]

ENGINE: Final = "DeepgramTTS"
RATES: Final = (8000, 16_000, 24_000, 32_000, 48_000)
PACKED_RATES: Final = (8000, 16_000)
"""Of the encodings with one byte per sample."""
MAX_INPUT: Final = 1000
"""Characters that are sent at once; the service refuses over 2000, and longer ones sound worse."""
MAX_TEXT: Final = 50_000
MAX_PIECE_S: Final = 600
MAX_CONNECTIONS: Final = 32
TIMEOUT_S: Final = 8.0
SPEEDS: Final = (0.7, 1.5)
_MAX_REFUSAL: Final = 4096

_log = logging.getLogger("salon.voice.tts")


@dataclass
class DeepgramTTSConfig:
    """`model` names the voice too. `encoding` and `sample_rate` are what the service is asked for;
    everything comes out at 16 kHz. `base_url` is for hosts of one's own."""

    api_key: str = field(repr=False)
    model: str = "aura-2-thalia-en"
    encoding: Literal["linear16", "mulaw", "alaw"] = "linear16"
    sample_rate: int = SAMPLE_RATE
    transport: Literal["websocket", "http"] = "websocket"
    tag: str | None = None
    mip_opt_out: bool = False
    base_url: str = BASE_URL


class DeepgramTTSProvider(TextToSpeech):
    """An account of Deepgram as voice; needs the extra "deepgram".

    `VoiceSettings.voice` is a model that replaces the configured one for a piece; the speed is
    kept within 0.7 to 1.5 and sent only if it is not 1; the volume is applied here. `timeout` is
    the longest silence of the service, in seconds. Over WebSocket, connections are kept for
    `idle` seconds after a piece; what a listener interrupts is cleared at the service.
    """

    name = ENGINE

    def __init__(
        self,
        config: DeepgramTTSConfig,
        *,
        timeout: float = TIMEOUT_S,
        idle: float = IDLE_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if config.encoding not in _UNPACK:
            raise ConfigurationError(
                f"encoding is {config.encoding!r}, not one of {', '.join(_UNPACK)}"
            )
        rates = RATES if config.encoding == "linear16" else PACKED_RATES
        if config.sample_rate not in rates:
            raise ConfigurationError(
                f"Aura has no sample rate {config.sample_rate} in {config.encoding}, but {rates}"
            )
        if config.transport not in ("websocket", "http"):
            raise ConfigurationError(f"transport is {config.transport!r}, not websocket or http")
        self.config = config
        self._service = DeepgramService(
            ENGINE, config.base_url, config.api_key, timeout=timeout, clock=clock
        )
        self._idle = idle
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._pool: SpeakPool | None = None

    @property
    def default_voice(self) -> str | None:
        """The configured model."""
        return self.config.model

    @classmethod
    def available_voices(cls) -> list[VoiceInfo]:
        """The known ones; the service may have others."""
        return aura_voices()

    async def start(self) -> None:
        """Make the connection pools; nothing is sent. `MissingExtraError`. Idempotent."""
        if self._pool is not None:
            return
        self._service.check_extra()
        self._client = self._service.client(MAX_CONNECTIONS)
        self._pool = SpeakPool(self._service, self._clock, self._idle)

    async def close(self) -> None:
        """Close all connections; running pieces end with `SpeechError`."""
        pool, self._pool = self._pool, None
        client, self._client = self._client, None
        if pool is not None:
            await pool.close()
        if client is not None:
            await client.aclose()

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece; nothing to say sends nothing."""
        if len(text) > MAX_TEXT:
            raise SpeechError(ENGINE, f"{len(text)} characters are over the {MAX_TEXT} allowed")
        client, pool = self._client, self._pool
        if client is None or pool is None:
            raise SpeechError(ENGINE, "the engine is not started")
        query = self._query(settings)
        for _, part in split_text(blank(text), MAX_INPUT):
            if not is_speakable(part):
                continue
            if self.config.transport == "http":
                sound = self._by_http(client, part.strip(), query)
            else:
                sound = self._by_socket(pool, part.strip(), query)
            pcm = _Pcm(self.config.encoding, self.config.sample_rate)
            try:
                async for data in sound:
                    if len(samples := pcm.feed(data)):
                        yield SpeechChunk(amplify(samples, settings.volume))
            finally:
                await sound.aclose()
            if len(samples := pcm.finish()):
                yield SpeechChunk(amplify(samples, settings.volume))

    def _query(self, settings: VoiceSettings) -> Query:
        config = self.config
        query = [
            ("model", settings.voice or config.model),
            ("encoding", config.encoding),
            ("sample_rate", str(config.sample_rate)),
        ]
        slowest, fastest = SPEEDS
        if (speed := min(max(settings.speed, slowest), fastest)) != 1:
            query.append(("speed", f"{speed:g}"))
        if config.mip_opt_out:
            query.append(("mip_opt_out", "true"))
        return query

    async def _by_socket(
        self, pool: SpeakPool, text: str, query: Query
    ) -> AsyncGenerator[bytes, None]:
        for new in (False, True):
            if pool.is_closed:
                raise SpeechError(ENGINE, "the engine is closed")
            line = await pool.borrow(query, new=new)
            read = _Reading(self, line)
            try:
                await line.say(text)
                while (data := await read.next(pool)) is not None:
                    if data:
                        yield data
            except SpeechError:
                # A line that waited for use may have ended unseen: then a new one is tried.
                ended_unseen = not (line.is_new or line.socket.is_open or read.length)
                pool.drop(line)
                if not ended_unseen:
                    raise
            except BaseException:
                pool.interrupt(line)
                raise
            else:
                pool.give_back(line)
                return

    async def _by_http(
        self, client: httpx.AsyncClient, text: str, query: Query
    ) -> AsyncGenerator[bytes, None]:
        import httpx

        params = [*query, ("container", "none")]
        if self.config.tag:
            params.append(("tag", self.config.tag))
        length = 0
        try:
            async with client.stream(
                "POST", "/v1/speak", params=tuple(params), json={"text": text}
            ) as reply:
                if reply.status_code != 200:
                    raise self._service.refusal(reply.status_code, await _beginning(reply))
                async for data in reply.aiter_bytes():
                    length += len(data)
                    self.check_length(length)
                    yield data
        except httpx.TimeoutException:
            raise self._service.late() from None
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise self._service.error(f"the request failed: {said}") from error
        except (httpx.StreamError, RuntimeError) as error:
            raise self._service.error(f"the connection was closed: {error}") from error

    @property
    def service(self) -> DeepgramService:
        """Where the voice is."""
        return self._service

    @property
    def is_idle(self) -> bool:
        """No piece is being spoken or cleared on any line."""
        return self._pool is None or not self._pool.used

    def check_length(self, length: int) -> None:
        """`SpeechError` if a piece has too many bytes of sound."""
        width = 2 if self.config.encoding == "linear16" else 1
        if length > MAX_PIECE_S * self.config.sample_rate * width:
            raise SpeechError(ENGINE, f"over {MAX_PIECE_S} s of sound in one answer")


class _Reading:
    """The sound of one piece on a line."""

    def __init__(self, engine: DeepgramTTSProvider, line: SpeakLine) -> None:
        self._engine = engine
        self._line = line
        self.length = 0
        self._warning = ""

    async def next(self, pool: SpeakPool) -> bytes | None:
        """More sound, or none yet; None after the last. `SpeechError`."""
        service = self._engine.service
        try:
            async with asyncio.timeout(service.timeout):
                message = await self._line.socket.receive()
        except TimeoutError:
            late = f"no sound within {service.timeout:g} s"
            raise service.error(f"{self._warning or 'no reason was given'}: {late}") from None
        if pool.is_closed:
            raise service.error("the engine is closed")
        if message is None:
            raise service.error("the service ended the stream too early")
        if isinstance(message, bytes):
            self.length += len(message)
            self._engine.check_length(self.length)
            return message
        match message.get("type"):
            case "Flushed" if self.length or not self._line.was_cleared:
                return None
            case "Warning":
                self._warning = str(message.get("description"))
                _log.warning("%s", service.error(f"the service warns: {self._warning}"))
        return b""


class _Pcm:
    """Bytes as they come from the network become samples at 16 kHz."""

    def __init__(self, encoding: str, rate: int) -> None:
        self._odd = b""
        self._unpack = _UNPACK[encoding]
        self._width = 2 if encoding == "linear16" else 1
        self._resampler = Resampler(rate, SAMPLE_RATE)

    def feed(self, data: bytes) -> Samples:
        """Sound that is complete now, perhaps none; an array of its own."""
        data = self._odd + data
        whole = len(data) // self._width * self._width
        self._odd = data[whole:]
        return self._resampler.process(self._unpack(data[:whole]))

    def finish(self) -> Samples:
        """The rest; half a sample is dropped."""
        return self._resampler.flush()


def _linear(data: bytes) -> Samples:
    return np.frombuffer(data, dtype="<i2").astype(np.int16)


_UNPACK: Final[dict[str, Callable[[bytes], Samples]]] = {
    "linear16": _linear,
    "mulaw": decode_ulaw,
    "alaw": decode_alaw,
}


async def _beginning(reply: httpx.Response) -> bytes:
    said = b""
    async for data in reply.aiter_bytes(_MAX_REFUSAL):
        said += data
        if len(said) >= _MAX_REFUSAL:
            break
    return said
