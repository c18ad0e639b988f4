"""Recognition by a service that speaks OpenAI's ``POST /audio/transcriptions``.

The interface takes whole files: nothing is sent before the speaker stops, and there are no interim
results. Key and sound go nowhere but to `base_url`; redirects are not followed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from salon.base import ConfigurationError, MissingExtraError, TaskScope
from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.timing import WordTime
from salon.media.wav import wav_bytes
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.foreign import failure
from salon.voice.plain_http import plain
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance

if TYPE_CHECKING:
    import httpx

ENGINE: Final = "openai"
MAX_SECONDS: Final = 60.0
MAX_REPLY_BYTES: Final = 1024 * 1024
MAX_PROMPT_CHARS: Final = 600
"""The service reads only the end of a longer prompt."""
_ERROR_CHARS: Final = 300
_GARBAGE: Final = (
    *(ValueError, KeyError, TypeError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What reading a reply that is not what it should be raises."""

_log = logging.getLogger("salon.voice.stt")


class OpenAISpeechToText(SpeechToText):
    """`base_url` ends before ``/audio/transcriptions`` (``https://host/v1``).

    `timeout` bounds one request from connect to the last byte, in seconds; `max_requests` run at
    once, more wait in order (counted in `decoder_wait_ms`, bounded by the same time). A request is
    not repeated: a late text is of no use in a conversation.
    """

    name = ENGINE
    supports_partials = False

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        model: str = "whisper-1",
        *,
        timeout: float = 15.0,
        max_requests: int = 8,
        max_seconds: float = MAX_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigurationError(f"base_url is {base_url!r}, an http or https URL is needed")
        self._url = base_url.rstrip("/") + "/audio/transcriptions"
        self._api_key = api_key
        self._model = model
        self.timeout = timeout
        self._slots = asyncio.Semaphore(max_requests)
        self.max_samples = int(max_seconds * SAMPLE_RATE)
        self.clock = clock
        self.dropped_samples = 0
        self._client: httpx.AsyncClient | None = None
        self._scope: TaskScope | None = None
        self._open: set[_OpenAIUtterance] = set()

    async def start(self) -> None:
        """Open the connection pool. Raises `MissingExtraError` without httpx. Idempotent."""
        if self._client is not None:
            return
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("openai", "recognition by an OpenAI-compatible service") from (
                error
            )
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        self._client = httpx.AsyncClient(
            **plain(headers),
            timeout=httpx.Timeout(self.timeout, connect=min(5.0, self.timeout)),
            follow_redirects=False,
        )
        self._scope = TaskScope("salon.voice.stt.openai")

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """`hints` become the prompt. Raises `SpeechError` outside `start` and `close`."""
        if self._scope is None:
            raise SpeechError(ENGINE, "the recogniser is not running")
        utterance = _OpenAIUtterance(self, self._scope, self._fields(hints, language))
        self._open.add(utterance)
        return utterance

    async def close(self) -> None:
        """Open utterances fail with `SpeechError`. Idempotent."""
        scope, self._scope = self._scope, None
        client, self._client = self._client, None
        for utterance in list(self._open):
            utterance.fail(SpeechError(ENGINE, "the recogniser is closed"))
        if scope is not None:
            await scope.close()
        if client is not None:
            await client.aclose()

    def closed(self, utterance: Utterance) -> None:
        """An utterance reports its end."""
        self._open.discard(utterance)

    def _fields(self, hints: SpeechHints, language: str | None) -> dict[str, str]:
        fields = {"model": self._model, "response_format": "verbose_json"}
        if language and language != "auto":
            fields["language"] = language.replace("_", "-").split("-")[0].lower()
        prompt = ""
        for phrase in hints.phrases:
            if len(prompt) + len(phrase) + 2 > MAX_PROMPT_CHARS:
                break
            prompt += f"{phrase}. "
        if prompt:
            fields["prompt"] = prompt.strip()
        return fields

    async def request(self, wav: bytes, fields: dict[str, str]) -> tuple[Transcription, float]:
        """One request; the text, and the wait before it in ms. Raises `SpeechError`."""
        asked = self.clock.monotonic()
        try:
            async with asyncio.timeout(self.timeout), self._slots:
                waited = (self.clock.monotonic() - asked) * 1000
                return _transcription(await self._post(wav, fields)), waited
        except TimeoutError:
            raise SpeechError(ENGINE, f"no answer within {self.timeout:g} s") from None

    async def _post(self, wav: bytes, fields: dict[str, str]) -> bytes:
        import httpx

        if self._client is None:
            raise SpeechError(ENGINE, "the recogniser is closed")
        files = {"file": ("utterance.wav", wav, "audio/wav")}
        body = bytearray()
        try:
            async with self._client.stream("POST", self._url, data=fields, files=files) as reply:
                async for piece in reply.aiter_bytes():
                    body += piece
                    if len(body) > MAX_REPLY_BYTES:
                        raise SpeechError(ENGINE, "the reply is longer than 1 MiB")
        except httpx.TimeoutException:
            raise SpeechError(ENGINE, f"no answer within {self.timeout:g} s") from None
        except httpx.HTTPError as error:
            raise SpeechError(ENGINE, f"the request failed: {type(error).__name__}") from error
        if reply.status_code != 200:
            said = _error_text(bytes(body))
            raise SpeechError(ENGINE, f"the service answers {reply.status_code}: {said}")
        return bytes(body)


class _OpenAIUtterance(Utterance):
    def __init__(
        self, engine: OpenAISpeechToText, scope: TaskScope, fields: dict[str, str]
    ) -> None:
        self._engine = engine
        self._scope = scope
        self._fields = fields
        self._chunks: list[Samples] = []
        self._samples = 0
        self._task: asyncio.Task[None] | None = None
        self._result: asyncio.Future[Transcription] = asyncio.get_running_loop().create_future()

    def push(self, samples: Samples) -> None:
        if self._task is not None or self._result.done():
            return
        room = self._engine.max_samples - self._samples
        if len(samples) > room:
            self._engine.dropped_samples += len(samples) - room
            samples = samples[:room]
        if len(samples):
            self._samples += len(samples)
            self._chunks.append(samples.copy())

    async def finish(self) -> Transcription:
        if self._task is None and not self._result.done():
            if self._chunks:
                self._task = self._scope.spawn(self._recognize(), name="utterance")
            else:
                self._end(Transcription("", is_final=True))
        try:
            return await asyncio.shield(self._result)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        self.fail(SpeechError(ENGINE, "the utterance was given up"))

    def fail(self, error: SpeechError) -> None:
        """End with this error, unless it has ended."""
        if self._result.done():
            return
        self._result.set_exception(error)
        self._result.exception()  # Who cancels does not ask for it.
        self._chunks.clear()
        self._engine.closed(self)
        if self._task is not None:
            self._task.cancel()

    async def _recognize(self) -> None:
        wav = wav_bytes(np.concatenate(self._chunks))
        self._chunks.clear()
        try:
            result, self.decoder_wait_ms = await self._engine.request(wav, self._fields)
        except SpeechError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - the task's outer edge
            _log.exception("an utterance of %s failed", ENGINE)
            self.fail(failure(ENGINE, error))
        else:
            if not self._result.done():
                self._end(result)

    def _end(self, result: Transcription) -> None:
        self._result.set_result(result)
        self._engine.closed(self)


def _error_text(body: bytes) -> str:
    try:
        found = json.loads(body)["error"]
        text = found["message"] if isinstance(found, dict) else found
    except _GARBAGE:
        text = body.decode("utf-8", "replace")
    return " ".join(str(text).split())[:_ERROR_CHARS]


def _transcription(body: bytes) -> Transcription:
    """Takes ``verbose_json`` and the plain ``json`` that smaller services answer instead."""
    try:
        reply = json.loads(body)
        text = reply["text"].strip()
        language = reply.get("language")
        words = _words(text, reply.get("words") or ())
        confidence = _confidence(reply.get("segments") or ())
    except _GARBAGE as error:
        raise SpeechError(ENGINE, "the reply is not a transcription") from error
    return Transcription(
        text,
        is_final=True,
        confidence=confidence,
        language=language if isinstance(language, str) else None,
        words=words,
    )


def _words(text: str, found: Any) -> tuple[WordTime, ...]:
    words, at = [], 0
    for item in found:
        word = str(item["word"]).strip()
        offset = text.find(word, at)
        if offset < 0:
            continue
        at = offset + len(word)
        start, end = round(float(item["start"]) * 1000), round(float(item["end"]) * 1000)
        words.append(WordTime(word, start, end, offset, len(word)))
    return tuple(words)


def _confidence(segments: Any) -> float | None:
    """The mean probability of a token, over the segments by their length."""
    weighed = [
        (float(np.exp(float(item["avg_logprob"]))), float(item["end"]) - float(item["start"]))
        for item in segments
        if "avg_logprob" in item
    ]
    total = sum(seconds for _, seconds in weighed)
    if total <= 0:
        return None
    mean = sum(probability * seconds for probability, seconds in weighed) / total
    return min(1.0, max(0.0, mean))
