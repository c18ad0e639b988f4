"""A recogniser that streams from a script, and a room that listens without a detector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.conformance.voice.stage import Stage, stage

from salon.media.frame import AudioChunk
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import SpeakerSegment, TranscriptionResult

Step = tuple[int, TranscriptionResult | Exception]
"""After so many ms of the stream's sound comes this."""


def interim(text: str) -> TranscriptionResult:
    """Words that may still change."""
    return TranscriptionResult(text, is_final=False)


def final(text: str, **more: Any) -> TranscriptionResult:
    """Words that stay."""
    return TranscriptionResult(text, **more)


def by(*parts: tuple[str | None, str]) -> TranscriptionResult:
    """Words of several speakers."""
    text = " ".join(said for _, said in parts)
    return TranscriptionResult(text, segments=[SpeakerSegment(who, said) for who, said in parts])


class ScriptedStreams(STTProvider):
    """Each stream plays one list of `streams`, then listens on until the sound ends; after the last
    list streams bring nothing. ``ends``: it ends after its list instead."""

    supports_streaming = True
    supports_language_override = True
    supports_diarization = False
    keeps_stream_across_turns = True

    def __init__(
        self,
        *streams: Sequence[Step],
        ends: bool = False,
        diarizes: bool = False,
        keeps: bool = True,
    ) -> None:
        self.streams = list(streams)
        self.ends = ends
        self.supports_diarization = diarizes
        self.keeps_stream_across_turns = keeps
        self.opened: list[float] = []
        """Loop time at which each stream was opened."""
        self.heard: list[bytes] = []
        """The sound of each stream."""
        self.languages: list[str | None] = []
        self.closed = 0

    async def transcribe(self, audio: Any, *, language: str | None = None) -> TranscriptionResult:
        """Not used where sound streams."""
        raise NotImplementedError

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        """The next list."""
        at = len(self.opened)
        self.opened.append(asyncio.get_running_loop().time())
        self.heard.append(b"")
        self.languages.append(language)
        steps = list(self.streams[at]) if at < len(self.streams) else []
        empty = not steps
        try:
            async for chunk in audio_stream:
                self.heard[at] += chunk.data
                while steps and len(self.heard[at]) // 32 >= steps[0][0]:
                    _, step = steps.pop(0)
                    if isinstance(step, Exception):
                        raise step
                    yield step
                if self.ends and not steps and not empty:
                    return
        finally:
            self.closed += 1


@asynccontextmanager
async def listening(
    stt: STTProvider, *, pipeline: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Stage]:
    """A room ``room`` with Ann on a mock line that no detector listens to."""
    config = {"vad": None, **(pipeline or {})}
    async with stage(stt=stt, pipeline=config, **options) as room:
        yield room
