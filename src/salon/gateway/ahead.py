"""Pieces of speech that are made while earlier ones are still being spoken (G142)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from salon.base import RAISED, TaskScope
from salon.media.frame import SAMPLE_RATE
from salon.voice.foreign import close_stream, is_ours
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings

MOST_TASKS: Final = 8
"""Syntheses of one call that may run at once, whatever `maxConcurrentTasks` says."""
AHEAD_SAMPLES: Final = 10 * SAMPLE_RATE
"""A piece that is not spoken yet is made so far and no further."""


class SpeechAhead:
    """Makes up to `tasks` pieces of one playback at once, each once; they are heard in the order in
    which the playback takes them.

    A piece counts until it was spoken, so that no more than `tasks` wait with their sound. The work
    lives in `scope`; pieces that nobody will take any more are given up with `drop`.
    """

    def __init__(self, scope: TaskScope, tasks: int) -> None:
        self._scope = scope
        self._tasks = 1
        self._waiting: deque[PieceAhead] = deque()
        self._begun: set[PieceAhead] = set()
        self.allow(tasks)

    def allow(self, tasks: int) -> None:
        """So many at once from now on: 1 to `MOST_TASKS`."""
        self._tasks = min(max(tasks, 1), MOST_TASKS)

    def piece(self, engine: TextToSpeech, text: str, settings: VoiceSettings) -> PieceAhead:
        """What speaks `text`, begun at once if there is room."""
        made = PieceAhead(self, engine, text, settings)
        self._waiting.append(made)
        self._fill()
        return made

    def drop(self) -> None:
        """Give up every piece that is not being spoken yet. Idempotent."""
        self._waiting.clear()
        for piece in [piece for piece in self._begun if not piece.taken]:
            self._begun.discard(piece)
            piece.give_up()

    def begin(self, piece: PieceAhead) -> None:
        """It is to be spoken now, whatever else is being made; called by the piece."""
        if piece in self._waiting:
            self._waiting.remove(piece)
        if piece not in self._begun:
            self._start(piece)

    def spoken(self, piece: PieceAhead) -> None:
        """It is not needed any more; called by the piece."""
        self._begun.discard(piece)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._begun) < self._tasks:
            self._start(self._waiting.popleft())

    def _start(self, piece: PieceAhead) -> None:
        self._begun.add(piece)
        piece.task = self._scope.spawn(piece.make(), name="speech ahead")


class PieceAhead(TextToSpeech):
    """One piece by `engine`. It is spoken once; another text is left to the engine."""

    def __init__(
        self, ahead: SpeechAhead, engine: TextToSpeech, text: str, settings: VoiceSettings
    ) -> None:
        self.name = engine.name
        self.taken = False
        """It is being spoken, or was, or nobody will."""
        self.task: asyncio.Task[None] | None = None
        self._ahead = ahead
        self._engine = engine
        self._text = text
        self._settings = settings
        self._sound: deque[SpeechChunk] = deque()
        self._samples = 0
        self._done = False
        self._failure: BaseException | None = None
        self._came = asyncio.Event()
        self._room = asyncio.Event()

    def voices(self) -> tuple[str, ...]:
        return self._engine.voices()

    async def make(self) -> None:
        """Take the sound from the engine, as far ahead as may be."""
        sound: AsyncIterator[SpeechChunk] | None = None
        try:
            sound = self._engine.speak(self._text, self._settings)
            async for chunk in sound:
                self._sound.append(chunk)
                self._samples += len(chunk.samples)
                self._came.set()
                while self._samples >= AHEAD_SAMPLES:
                    self._room.clear()
                    await self._room.wait()
        except RAISED as error:
            if is_ours(error):
                raise
            self._failure = error  # told where the piece would be heard
        finally:
            self.from_cache = self._engine.from_cache
            self._done = True
            self._came.set()
            if sound is not None:
                await close_stream(sound, self.name)

    def give_up(self) -> None:
        """Stop the engine's work on it. Idempotent."""
        self.taken = True
        if self.task is not None:
            self.task.cancel()

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """What was made of it so far, then the rest as it is made; what the engine raised rises
        here."""
        if self.taken or (text, settings) != (self._text, self._settings):
            sound = self._engine.speak(text, settings)
            try:
                async for chunk in sound:
                    yield chunk
            finally:
                await close_stream(sound, self.name)
            return
        self.taken = True
        self._ahead.begin(self)
        try:
            while True:
                while self._sound:
                    chunk = self._sound.popleft()
                    self._samples -= len(chunk.samples)
                    self._room.set()
                    yield chunk
                if self._done:
                    break
                self._came.clear()
                await self._came.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self.give_up()
            self._sound.clear()
            self._ahead.spoken(self)
