"""A stream of chunks through an engine that takes samples."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Final

from salon.media.frame import AudioChunk, Samples
from salon.voice.chunks import ChunkReader
from salon.voice.stt.result import TranscriptionResult

if TYPE_CHECKING:
    from salon.voice.stt.base import SpeechToText, Transcription, Utterance

MAX_FINALS: Final = 64
"""Final results that may wait to be read; then the sound waits."""


class StreamTranscriber:
    """One `transcribe_stream` call: reads the sound in a task of its own, so that interim results
    come out while the next chunk is awaited."""

    def __init__(
        self,
        engine: SpeechToText,
        sound: AsyncIterator[AudioChunk],
        language: str | None,
    ) -> None:
        self._engine = engine
        self._sound = sound
        self._language = language
        self._reader = ChunkReader(engine.name)
        self._utterance: Utterance | None = None
        self._finals: asyncio.Queue[TranscriptionResult] = asyncio.Queue(MAX_FINALS)
        self._partial: deque[Transcription] = deque(maxlen=1)
        self._news = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._listen(), name="transcription")
        self._task.add_done_callback(lambda _task: self._news.set())

    async def results(self) -> AsyncGenerator[TranscriptionResult, None]:
        """Everything heard, then the failure if there was one."""
        while True:
            self._news.clear()
            while not self._finals.empty():
                yield self._finals.get_nowait()
            if self._partial:
                yield self._partial.popleft().to_result()
            elif self._task.done() and self._finals.empty():
                self._task.result()
                return
            elif self._finals.empty():
                await self._news.wait()

    async def close(self) -> None:
        """Stop reading and give the utterance up; idempotent."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._utterance is not None:
            self._utterance.cancel()

    async def _listen(self) -> None:
        async for chunk in self._sound:
            for samples in self._reader.feed(chunk):
                self._push(samples)
            if chunk.is_final:
                await self._finish()
        if self._utterance is not None:
            await self._finish()

    def _push(self, samples: Samples) -> None:
        if self._utterance is None:
            self._utterance = self._engine.recognize(
                on_partial=self._heard, language=self._language
            )
        self._utterance.push(samples)

    def _heard(self, partial: Transcription) -> None:
        self._partial.append(partial)
        self._news.set()

    async def _finish(self) -> None:
        for samples in self._reader.flush():
            self._push(samples)
        if self._utterance is None:
            return
        result = await self._utterance.finish()
        self._utterance = None
        self._partial.clear()
        await self._finals.put(result.to_result())
        self._news.set()
