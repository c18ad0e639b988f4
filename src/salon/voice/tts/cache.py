"""Speech that was made before is not made again."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import astuple, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np

from salon.base import RAISED, ConfigurationError, TaskScope
from salon.media.frame import SAMPLE_RATE
from salon.media.timing import PhonemeTime, WordTime
from salon.voice.errors import SpeechError
from salon.voice.foreign import CLOSE_S, close_stream, failure, is_ours
from salon.voice.tts.adapt import voice_of
from salon.voice.tts.base import (
    DEFAULT_VOICE,
    SpeechChunk,
    TextToSpeech,
    VoiceSettings,
    require_chunk,
)
from salon.voice.tts.cache_store import CachedPiece, DiskStore, MemoryStore
from salon.voice.tts.provider import TTSProvider

_log = logging.getLogger("salon.voice.tts")

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DISK_BYTES: Final = 1024 * 1024 * 1024
MAX_TEXT: Final = 2000
"""Longer texts are spoken past the cache."""
MAX_PIECE: Final = 300 * SAMPLE_RATE
"""Samples of one piece that others may share; an engine that makes more of 2,000 characters has
failed."""
AHEAD: Final = 15 * SAMPLE_RATE
"""The engine rests when it is this far before the fastest listener."""
_CHUNK: Final = SAMPLE_RATE // 2


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """`hits` came from memory, `disk_hits` from the directory, `shared` joined a synthesis under
    way, `misses` were made, `passed` were too long to keep. `bytes` and `entries` are memory's."""

    hits: int
    disk_hits: int
    shared: int
    misses: int
    passed: int
    stored: int
    evicted: int
    damaged: int
    entries: int
    bytes: int


class CachedTextToSpeech(TextToSpeech):
    """Keeps what `engine` spoke: up to `max_bytes` in memory, and in `directory` if one is given
    (up to `max_disk_bytes`; it outlives the process).

    A piece is known by the engine's name, `variant` (say what else decides the sound, such as the
    model), voice, language, speed, volume and text. Only whole pieces are kept, with their times.
    Equal requests at once make one synthesis, which stops when nobody listens any more. Put it
    around each engine of a chain, not around the chain: it would keep a stand-in's voice.
    """

    def __init__(
        self,
        engine: TTSProvider,
        max_bytes: int = MAX_BYTES,
        directory: str | Path | None = None,
        *,
        max_disk_bytes: int = MAX_DISK_BYTES,
        variant: str = "",
    ) -> None:
        if max_bytes < 0 or max_disk_bytes < 0:
            raise ConfigurationError("a speech cache cannot hold less than 0 bytes")
        self.engine = voice_of(engine)
        self.name = self.engine.name
        self._variant = variant
        self._memory = MemoryStore(max_bytes)
        self._disk = None if directory is None else DiskStore(Path(directory), max_disk_bytes)
        self._scope: TaskScope | None = None
        self._making: dict[str, _Making] = {}
        self._counts = dict.fromkeys(
            ("hits", "disk_hits", "shared", "misses", "passed", "stored"), 0
        )

    async def start(self) -> None:
        """Start the engine; `ConfigurationError` if the directory cannot be used."""
        if self._scope is not None:
            return
        if self._disk is not None:
            await asyncio.to_thread(self._disk.open)
        await self.engine.start()
        self.has_word_times = self.engine.has_word_times
        self.has_phoneme_times = self.engine.has_phoneme_times
        self._scope = TaskScope(f"speech-cache:{self.name}")

    def voices(self) -> tuple[str, ...]:
        """The engine's."""
        return self.engine.voices()

    def statistics(self) -> CacheStatistics:
        """Counts since the making."""
        disk = self._disk
        return CacheStatistics(
            **self._counts,
            evicted=self._memory.evicted + (disk.evicted if disk else 0),
            damaged=disk.damaged if disk else 0,
            entries=len(self._memory),
            bytes=self._memory.bytes,
        )

    def clear(self) -> None:
        """Forget what memory holds; files stay."""
        self._memory.clear()

    async def close(self) -> None:
        """Pieces under way end with `SpeechError`; the engine is closed."""
        scope, self._scope = self._scope, None
        for making in list(self._making.values()):
            if not making.done and making.task is not None:
                making.fail(SpeechError(self.name, "the engine is closed"))
                making.task.cancel()
        if scope is not None:
            await scope.drain(CLOSE_S)  # Files that are being written.
            await scope.close()
        await self.engine.close()

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece, from what is kept if it is."""
        if self._scope is None:
            raise SpeechError(self.name, "the engine is not started")
        if len(text) > MAX_TEXT:
            self._counts["passed"] += 1
            sound = self.engine.speak(text, settings)
            try:
                async for chunk in sound:
                    yield chunk
            finally:
                await close_stream(sound, self.name)
            return
        key = self._key(text, settings)
        piece = self._memory.get(key)
        if piece is not None:
            self._counts["hits"] += 1
            for chunk in _chunks(piece):
                yield chunk
            return
        making = self._making.get(key)
        if making is None or making.error is not None:
            making = self._making[key] = _Making()
            making.task = self._scope.spawn(self._make(making, key, text, settings), name="piece")
        else:
            self._counts["shared"] += 1
        listener = _Listener(making)
        try:
            async for chunk in listener.chunks():
                yield chunk
        finally:
            await listener.leave()

    def _key(self, text: str, settings: VoiceSettings) -> str:
        asked = json.dumps([self.name, self._variant, text, *astuple(settings)])
        return blake2b(asked.encode(), digest_size=20).hexdigest()

    async def _make(self, making: _Making, key: str, text: str, settings: VoiceSettings) -> None:
        """Load the piece or have it spoken, for all who listen."""
        try:
            piece = await self._load(key, text)
            if piece is not None:
                for chunk in _chunks(piece):
                    making.add(chunk)
                making.finish()
                return
            self._counts["misses"] += 1
            await self._speak(making, text, settings)
            making.finish()
            await self._keep(key, making.piece())
        except SpeechError as error:
            making.fail(error)
        except RAISED as error:
            if is_ours(error):
                raise
            _log.exception("the voice %s failed", self.name)
            making.fail(failure(self.name, error))
        finally:
            making.fail(SpeechError(self.name, "the piece was given up"))
            if self._making.get(key) is making:
                del self._making[key]

    async def _load(self, key: str, text: str) -> CachedPiece | None:
        if self._disk is None:
            return None
        piece = await asyncio.to_thread(self._disk.get, key, text)
        if piece is not None:
            self._counts["disk_hits"] += 1
            self._memory.put(key, piece)
        return piece

    async def _speak(self, making: _Making, text: str, settings: VoiceSettings) -> None:
        sound = self.engine.speak(text, settings)
        try:
            async for chunk in sound:
                making.add(require_chunk(chunk, self.name))
                if making.samples > MAX_PIECE:
                    raise SpeechError(self.name, f"over {MAX_PIECE // SAMPLE_RATE} s of sound")
                await making.wait_for_listeners()
        finally:
            await close_stream(sound, self.name)

    async def _keep(self, key: str, piece: CachedPiece) -> None:
        if not len(piece.samples):
            return
        self._memory.put(key, piece)
        self._counts["stored"] += 1
        if self._disk is not None and not await asyncio.to_thread(self._disk.put, key, piece):
            _log.warning("the speech cache could not write a piece of %s", self.name)


class _Making:
    """A piece while it is made: all its chunks so far, and who listens."""

    def __init__(self) -> None:
        self.made: list[SpeechChunk] = []
        self.samples = 0
        self.done = False
        self.error: SpeechError | None = None
        self.task: asyncio.Task[None] | None = None
        self.listeners: set[_Listener] = set()
        self._front = 0
        self._more = asyncio.Event()
        self._read = asyncio.Event()

    def add(self, chunk: SpeechChunk) -> None:
        """The next chunk; its sound belongs to the piece from now on."""
        self.made.append(chunk)
        self.samples += len(chunk.samples)
        self._wake()

    def finish(self) -> None:
        """The piece is whole."""
        self.done = True
        self._wake()

    def fail(self, error: SpeechError) -> None:
        """The piece ends here, unless it has ended."""
        if not self.done:
            self.done, self.error = True, error
            self._wake()

    def piece(self) -> CachedPiece:
        """All of it."""
        samples = np.concatenate([np.zeros(0, dtype=np.int16), *(c.samples for c in self.made)])
        return CachedPiece(
            samples,
            tuple(word for chunk in self.made for word in chunk.words),
            tuple(phoneme for chunk in self.made for phoneme in chunk.phonemes),
        )

    def heard(self, samples: int) -> None:
        """A listener has taken this much."""
        if samples > self._front:
            self._front = samples
            self._read.set()

    async def more(self) -> None:
        """Wait for the next chunk or the end."""
        await self._more.wait()

    async def wait_for_listeners(self) -> None:
        """Wait until the fastest listener is near."""
        while self.samples - self._front > AHEAD:
            self._read.clear()
            await self._read.wait()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


class _Listener:
    """One request's place in a piece."""

    def __init__(self, making: _Making) -> None:
        self._making = making
        making.listeners.add(self)

    async def chunks(self) -> AsyncGenerator[SpeechChunk, None]:
        """The piece from its beginning, each listener's sound its own."""
        making = self._making
        at = samples = 0
        while True:
            while at < len(making.made):
                chunk = making.made[at]
                at += 1
                samples += len(chunk.samples)
                making.heard(samples)
                yield SpeechChunk(chunk.samples.copy(), chunk.words, chunk.phonemes)
            if making.done:
                break
            await making.more()
        if making.error is not None:
            raise making.error

    async def leave(self) -> None:
        """Listen no more; the last one stops the engine."""
        making = self._making
        making.listeners.discard(self)
        task = making.task
        if making.listeners or making.done or task is None:
            return
        making.fail(SpeechError("speech cache", "nobody listens"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _chunks(piece: CachedPiece) -> list[SpeechChunk]:
    """Half a second each, with the words and sounds that start in it."""
    chunks = []
    word = phoneme = 0
    for at in range(0, len(piece.samples), _CHUNK):
        end = at + _CHUNK
        until = end * 1000 / SAMPLE_RATE if end < len(piece.samples) else math.inf
        words = _begun(piece.words, word, until)
        phonemes = _begun(piece.phonemes, phoneme, until)
        part = piece.samples[at:end].copy()
        chunks.append(SpeechChunk(part, piece.words[word:words], piece.phonemes[phoneme:phonemes]))
        word, phoneme = words, phonemes
    return chunks


def _begun(times: Sequence[WordTime | PhonemeTime], at: int, until: float) -> int:
    while at < len(times) and times[at].start_ms < until:
        at += 1
    return at
