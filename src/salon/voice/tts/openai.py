"""Speech over HTTP from any server with OpenAI's `/audio/speech`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import numpy as np

from salon.base.errors import ConfigurationError, MissingExtraError
from salon.base.redaction import MASK, redact_text
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler
from salon.media.wav import RiffHeaderStripper
from salon.voice.errors import SpeechError
from salon.voice.plain_http import plain
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.gain import amplify
from salon.voice.tts.text import blank, is_speakable, split_text

if TYPE_CHECKING:
    import httpx

PCM_RATE: Final = 24_000
"""What `response_format` pcm means: 16-bit little-endian mono at this rate."""
MAX_INPUT: Final = 4096
"""Characters per request; a longer piece is spoken in parts."""
MAX_TEXT: Final = 50_000
MAX_PIECE_S: Final = 900
"""Sound of one request, in seconds; a server that sends more is cut off."""
CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 8.0
"""Longest silence of the server, before the first byte and between bytes."""
MAX_CONNECTIONS: Final = 32
_READ_BYTES: Final = 4096
_COMPRESSED: Final = (b"ID3", b"OggS", b"fLaC")
"""How such files begin."""
_FRAMED_KINDS: Final = ("audio/mpeg", "audio/mp3", "audio/aac")
_MAX_ERROR_BYTES: Final = 2048
_TOKEN: Final = re.compile(r"[\w*.-]*[*\d][\w*.-]{15,}|\b[a-z]{2}-[\w*-]{4,}", re.ASCII)


class _PcmStream:
    """Bytes as they come from the network become samples at 16 kHz. `ValueError` for garbage."""

    def __init__(self, rate: int, kind: str) -> None:
        self.bytes = 0
        self._rate = rate
        self._kind = kind
        self._header = RiffHeaderStripper()  # some servers send WAV whatever was asked for
        self._odd = b""
        self._resampler = Resampler(rate, SAMPLE_RATE)

    def feed(self, data: bytes) -> Samples:
        """Sound that is complete now, perhaps none."""
        if not self.bytes:
            _check_sound(self._kind, data)
        self.bytes += len(data)
        return self._decode(self._header.feed(data))

    def finish(self) -> Samples:
        """The rest."""
        last = self._decode(self._header.flush())
        return np.concatenate((last, self._resampler.flush()))

    def _decode(self, data: bytes) -> Samples:
        rate, channels = self._header.sample_rate or self._rate, self._header.channels or 1
        if rate != self._resampler.in_rate:
            self._resampler = Resampler(rate, SAMPLE_RATE)
        data = self._odd + data
        whole = len(data) // (2 * channels) * 2 * channels
        self._odd = data[whole:]
        return self._resampler.process(decode_pcm(data[:whole], channels=channels).astype(np.int16))


def _check_sound(kind: str, first: bytes) -> None:
    """`ValueError` for what would be noise if it were played as samples: a text, compressed sound.
    `kind` alone does not tell: there are servers that call everything MP3."""
    if kind.startswith(("application/json", "text/")):
        raise ValueError(f"{kind}, no sound")
    in_frames = len(first) > 1 and first[0] == 0xFF and first[1] & 0xE0 == 0xE0
    if first.startswith(_COMPRESSED) or (in_frames and kind.startswith(_FRAMED_KINDS)):
        raise ValueError(f"compressed sound ({kind or 'of no stated type'}), not pcm")


class OpenAITextToSpeech(TextToSpeech):
    """A client of ``POST {base_url}/audio/speech``; one request per piece, streamed.

    The answer is raw samples at `sample_rate`, or WAV of 16 bit, which says its own rate; anything
    else, and an empty one, is `SpeechError`. No times. `VoiceSettings.voice` replaces `voice` for a
    piece; the volume is applied here. A listener that pauses stops the reading, and so the server,
    by back-pressure.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        model: str = "tts-1",
        voice: str = "alloy",
        *,
        sample_rate: int = PCM_RATE,
        read_timeout: float = READ_TIMEOUT_S,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"speech base_url {base_url!r} is not an http(s) address")
        self.name = "openai"
        self._url = base_url.rstrip("/") + "/audio/speech"
        self._api_key = api_key
        self._model = model
        self._voice = voice
        self._rate = sample_rate
        self._read_timeout = read_timeout
        self._max_connections = max_connections
        self._client: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"OpenAITextToSpeech({self._url!r}, model={self._model!r}, voice={self._voice!r})"

    async def start(self) -> None:
        """`MissingExtraError` if httpx is not installed. Sends nothing yet."""
        if self._client is not None:
            return
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("openai", "speech synthesis over HTTP") from error
        limits = httpx.Limits(
            max_connections=self._max_connections, max_keepalive_connections=self._max_connections
        )
        timeout = httpx.Timeout(CONNECT_TIMEOUT_S, read=self._read_timeout, pool=CONNECT_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        self._client = httpx.AsyncClient(limits=limits, timeout=timeout, **plain(headers))
        Resampler(self._rate, SAMPLE_RATE).process(np.zeros(4096, dtype=np.int16))

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece; nothing to say sends no request."""
        if len(text) > MAX_TEXT:
            raise SpeechError(self.name, f"{len(text)} characters are over the {MAX_TEXT} allowed")
        if self._client is None:
            raise SpeechError(self.name, "the engine is not started")
        for _, part in split_text(blank(text), MAX_INPUT):
            if not is_speakable(part):
                continue
            sound = self._request(self._client, part.strip(), settings)
            try:
                async for samples in sound:
                    yield SpeechChunk(amplify(samples, settings.volume))
            finally:
                await sound.aclose()

    async def _request(
        self, client: httpx.AsyncClient, text: str, settings: VoiceSettings
    ) -> AsyncGenerator[Samples, None]:
        import httpx

        body = {
            "model": self._model,
            "voice": settings.voice or self._voice,
            "input": text,
            "response_format": "pcm",
            "speed": min(max(settings.speed, 0.5), 2.0),
        }
        try:
            async with client.stream("POST", self._url, json=body) as response:
                if response.status_code != 200:
                    raise SpeechError(self.name, await _refusal(response))
                stream = _PcmStream(self._rate, response.headers.get("content-type", ""))
                async for data in response.aiter_bytes(_READ_BYTES):
                    samples = stream.feed(data)
                    if stream.bytes > MAX_PIECE_S * self._rate * 2:
                        raise SpeechError(self.name, f"over {MAX_PIECE_S} s of sound in one answer")
                    if len(samples):
                        yield samples
        except httpx.HTTPError as error:
            reason = redact_text(str(error)) or type(error).__name__
            raise SpeechError(self.name, f"{self._url}: {reason}") from error
        except (httpx.InvalidURL, httpx.StreamError, RuntimeError) as error:
            raise SpeechError(self.name, f"the connection was closed: {error}") from error
        except ValueError as error:
            raise SpeechError(self.name, f"the server sent {error}") from error
        if not stream.bytes:
            raise SpeechError(self.name, "the server sent no sound")
        if len(last := stream.finish()):
            yield last


async def _refusal(response: httpx.Response) -> str:
    """Status and the beginning of what the server says, without secrets."""
    said = b""
    async for data in response.aiter_bytes(_MAX_ERROR_BYTES):
        said += data
        if len(said) >= _MAX_ERROR_BYTES:
            break
    text = redact_text(said[:_MAX_ERROR_BYTES].decode("utf-8", "replace"))
    text = _TOKEN.sub(MASK, text)  # servers like to repeat the key they refuse
    return f"HTTP {response.status_code}: {' '.join(text.split())[:300]}"
