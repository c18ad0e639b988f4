"""Scripted recognition, for tests and demonstrations."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult

if TYPE_CHECKING:
    from salon.models.content import AudioContent

Scripted = str | Transcription | Exception
MAX_SAMPLES: Final = 60 * SAMPLE_RATE
MAX_HEARD: Final = 1000


@dataclass(slots=True)
class HeardUtterance:
    """What a `MockSpeechToText` got: `samples` is ``int16[n]``, complete once it has ended."""

    hints: SpeechHints
    language: str | None
    chunks: list[Samples] = field(default_factory=list)
    finished: bool = False
    cancelled: bool = False

    @property
    def samples(self) -> Samples:
        """All sound pushed so far."""
        return np.concatenate(self.chunks) if self.chunks else np.zeros(0, dtype=np.int16)


class MockSpeechToText(SpeechToText):
    """Answers the utterances with `script`, in the order in which they are *finished*; after its
    end with empty texts. An exception in the script is raised by `finish`.

    Each text is reported as a partial word by word, one word per push. `heard` keeps the newest
    1000 utterances.
    """

    name = "mock"
    supports_partials = True

    def __init__(self, script: Iterable[Scripted] = ()) -> None:
        self._script: deque[Scripted] = deque(script)
        self.heard: deque[HeardUtterance] = deque(maxlen=MAX_HEARD)
        self.prepared: list[SpeechHints] = []
        self.dropped_samples = 0
        self.running = False
        self._open: set[_MockUtterance] = set()

    def add(self, *texts: Scripted) -> None:
        """Lengthen the script."""
        self._script.extend(texts)

    async def start(self) -> None:
        self.running = True

    async def prepare(self, hints: SpeechHints) -> None:
        self.prepared.append(hints)

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """Raises `SpeechError` outside `start` and `close`."""
        if not self.running:
            raise SpeechError(self.name, "the recogniser is not running")
        heard = HeardUtterance(hints, language)
        self.heard.append(heard)
        utterance = _MockUtterance(self, heard, on_partial)
        self._open.add(utterance)
        return utterance

    async def close(self) -> None:
        self.running = False
        for utterance in list(self._open):
            utterance.end("the recogniser is closed")

    def next_partial(self, words: int) -> str:
        """The first `words` words of what the script answers next."""
        text = self._script[0] if self._script else ""
        if isinstance(text, Transcription):
            text = text.text
        return "" if isinstance(text, Exception) else " ".join(text.split()[:words])

    def take(self) -> Transcription:
        """The script's next answer."""
        answer = self._script.popleft() if self._script else ""
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Transcription):
            return answer
        return Transcription(answer, is_final=True, confidence=1.0)

    def ended(self, utterance: Utterance) -> None:
        """An utterance reports its end."""
        self._open.discard(utterance)


class _MockUtterance(Utterance):
    def __init__(
        self, engine: MockSpeechToText, heard: HeardUtterance, on_partial: OnPartial | None
    ) -> None:
        self._engine = engine
        self._heard = heard
        self._on_partial = on_partial
        self._samples = 0
        self._partial = ""
        self._ended: str | None = None

    def push(self, samples: Samples) -> None:
        if self._ended is not None or self._heard.finished:
            return
        room = MAX_SAMPLES - self._samples
        if len(samples) > room:
            self._engine.dropped_samples += len(samples) - room
            samples = samples[:room]
        if not len(samples):
            return
        self._samples += len(samples)
        self._heard.chunks.append(samples.copy())
        if self._on_partial is not None:
            text = self._engine.next_partial(len(self._heard.chunks))
            if text and text != self._partial:
                self._partial = text
                self._on_partial(Transcription(text, is_final=False))

    async def finish(self) -> Transcription:
        if self._ended is not None:
            raise SpeechError(self._engine.name, self._ended)
        self._heard.finished = True
        self._ended = "the utterance has ended"
        self._engine.ended(self)
        return self._engine.take()

    def cancel(self) -> None:
        if self._ended is None:
            self._heard.cancelled = True
            self.end("the utterance was given up")

    def end(self, reason: str) -> None:
        """`finish` fails with `reason` from now on."""
        self._ended = reason
        self._engine.ended(self)


class MockSTTProvider(STTProvider):
    """Answers with `transcripts` in turn, from the first again after the last.

    `calls` keeps what was given (of a stream: every chunk), `languages_requested` the languages
    asked for. `languages` are reported with the transcripts of the same place.
    """

    def __init__(
        self,
        transcripts: list[str] | None = None,
        *,
        streaming: bool = False,
        languages: list[str | None] | None = None,
    ) -> None:
        self.transcripts = transcripts or ["Hello", "How can I help you?"]
        self.calls: list[AudioContent | AudioChunk | AudioFrame] = []
        self.languages_requested: list[str | None] = []
        self._streaming = streaming
        self._languages = languages
        self._index = 0

    @property
    def supports_streaming(self) -> bool:
        """As given."""
        return self._streaming

    @property
    def supports_language_override(self) -> bool:
        """Languages asked for are noted."""
        return True

    async def transcribe(
        self, audio: AudioContent | AudioChunk | AudioFrame, *, language: str | None = None
    ) -> TranscriptionResult:
        """The next transcript."""
        self.calls.append(audio)
        return self._next(language)

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        """The next transcript once the stream has ended."""
        async for chunk in audio_stream:
            self.calls.append(chunk)
        yield self._next(language)

    def _next(self, language: str | None) -> TranscriptionResult:
        self.languages_requested.append(language)
        index = self._index
        self._index += 1
        reported = self._languages[index % len(self._languages)] if self._languages else None
        return TranscriptionResult(
            self.transcripts[index % len(self.transcripts)], language=reported
        )
