"""Recognition by Deepgram: utterances and continuous streams over WebSocket, recordings by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from salon.base import TaskScope
from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.media.wav import wav_bytes
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.chunks import whole_sound
from salon.voice.content import sound_of
from salon.voice.deepgram_wire import KEEP_ALIVE_S, DeepgramService
from salon.voice.errors import SpeechError
from salon.voice.stt.base import OnPartial, SpeechToText, TranscriptionResult, Utterance
from salon.voice.stt.deepgram_config import DeepgramConfig
from salon.voice.stt.deepgram_live import DeepgramUtterance
from salon.voice.stt.deepgram_results import read_reply, read_results
from salon.voice.stt.deepgram_stream import FINALIZE_S, DeepgramStream

if TYPE_CHECKING:
    import httpx

    from salon.models.content import AudioContent

__all__ = ["DeepgramConfig", "DeepgramSTTProvider"]

ENGINE: Final = "DeepgramSTT"
TIMEOUT_S: Final = 15.0
MAX_WAITING_S: Final = 60.0
MAX_REPLY_BYTES: Final = 32 * 1024 * 1024
MAX_CONNECTIONS: Final = 32


class DeepgramSTTProvider(SpeechToText):
    """An account of Deepgram as recogniser; needs the extra "deepgram".

    `timeout` (seconds) bounds the wait for the end of a result and for the service to take sound;
    a recording gets a tenth of its length on top. At most `max_seconds` of an utterance wait for
    the service; beyond, sound is dropped and counted in `dropped_samples`. Nothing is repeated: a
    late text is of no use in a conversation.
    """

    name = ENGINE
    supports_partials = True

    def __init__(
        self,
        config: DeepgramConfig,
        *,
        timeout: float = TIMEOUT_S,
        keep_alive: float = KEEP_ALIVE_S,
        finalize_timeout: float = FINALIZE_S,
        max_seconds: float = MAX_WAITING_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.config = config
        self.service = DeepgramService(
            ENGINE,
            config.base_url,
            config.api_key,
            timeout=timeout,
            keep_alive=keep_alive,
            clock=clock,
        )
        self.max_samples = int(max_seconds * SAMPLE_RATE)
        self.dropped_samples = 0
        self._finalize_timeout = finalize_timeout
        self._client: httpx.AsyncClient | None = None
        self._scope: TaskScope | None = None
        self._open: set[DeepgramUtterance] = set()
        self._streams: set[DeepgramStream] = set()

    @property
    def supports_diarization(self) -> bool:
        """With `diarize_model`."""
        return self.config.diarize_model is not None

    @property
    def keeps_stream_across_turns(self) -> bool:
        """Where speakers are told apart: their labels hold for one stream only (V233)."""
        return self.supports_diarization

    @property
    def busy(self) -> int:
        """Utterances and streams that are open."""
        return len(self._open) + len(self._streams)

    async def start(self) -> None:
        """Make the connection pool; nothing is sent. `MissingExtraError`. Idempotent."""
        if self._scope is not None:
            return
        self.service.check_extra()
        self._client = self.service.client(MAX_CONNECTIONS)
        self._scope = TaskScope("salon.voice.stt.deepgram")

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """`hints` are key terms of the models that take them (nova-3). `SpeechError` outside
        `start` and `close`."""
        if self._scope is None:
            raise SpeechError(ENGINE, "the recogniser is not running")
        partials = on_partial is not None and self.config.interim_results
        query = self.config.utterance_query(language, hints, partials)
        utterance = DeepgramUtterance(self, self._scope, query, on_partial if partials else None)
        self._open.add(utterance)
        return utterance

    async def transcribe(
        self, audio: AudioContent | AudioChunk | AudioFrame, *, language: str | None = None
    ) -> TranscriptionResult:
        """A recording in one HTTP request. `ValueError` for sound that cannot be read here, and
        URLs, which are not fetched; `SpeechError` if the service fails."""
        await self.start()
        if isinstance(audio, AudioChunk | AudioFrame):
            samples = whole_sound(audio, ENGINE)
        else:
            samples = sound_of(audio, ENGINE)
        if not len(samples):
            return TranscriptionResult("")
        limit = self.service.timeout + len(samples) / SAMPLE_RATE / 10
        try:
            async with asyncio.timeout(limit):
                body = await self._post(samples, language, limit)
        except TimeoutError:
            raise SpeechError(ENGINE, f"no answer within {limit:g} s") from None
        try:
            return read_reply(body, diarized=self.supports_diarization)
        except ValueError as error:
            raise SpeechError(ENGINE, f"the reply is not a transcription: {error}") from error

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        """One connection for the whole stream, kept alive through silence. Interim results, of
        which a slow reader gets the newest, and a final one wherever the service or a chunk that
        `is_final` ends what was said."""
        await self.start()
        stream = DeepgramStream(self, audio_stream, language, self._finalize_timeout)
        self._streams.add(stream)
        try:
            async for result in stream.results():
                yield result
        finally:
            self._streams.discard(stream)
            await stream.close()

    async def close(self) -> None:
        """Open utterances fail with `SpeechError`, open streams end so. Idempotent."""
        scope, self._scope = self._scope, None
        client, self._client = self._client, None
        for utterance in list(self._open):
            utterance.fail(SpeechError(ENGINE, "the recogniser is closed"))
        for stream in list(self._streams):
            await stream.fail(SpeechError(ENGINE, "the recogniser is closed"))
        if scope is not None:
            await scope.close()
        if client is not None:
            await client.aclose()

    def closed(self, utterance: DeepgramUtterance) -> None:
        """An utterance reports its end."""
        self._open.discard(utterance)

    def read(self, message: dict[str, Any]) -> TranscriptionResult:
        """A message of type ``Results``. `SpeechError` for garbage."""
        try:
            return read_results(message, diarized=self.supports_diarization)
        except ValueError as error:
            raise self.service.error(f"sent what is no result: {error}") from error

    async def _post(self, samples: Samples, language: str | None, limit: float) -> bytes:
        import httpx

        if self._client is None:
            raise SpeechError(ENGINE, "the recogniser is closed")
        body = bytearray()
        try:
            async with self._client.stream(
                "POST",
                "/v1/listen",
                params=tuple(self.config.recording_query(language)),
                content=wav_bytes(samples),
                headers={"Content-Type": "audio/wav"},
                timeout=httpx.Timeout(limit, connect=self.service.connect_timeout),
            ) as reply:
                async for piece in reply.aiter_bytes():
                    body += piece
                    if len(body) > MAX_REPLY_BYTES:
                        raise SpeechError(ENGINE, f"the reply is over {MAX_REPLY_BYTES} bytes")
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise self.service.error(f"the request failed: {said}") from error
        if reply.status_code != 200:
            raise self.service.refusal(reply.status_code, bytes(body))
        return bytes(body)
