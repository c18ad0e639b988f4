"""Speech with sherpa-onnx and the user's own model, on a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.pcm import to_int16
from salon.media.resample import Resampler
from salon.voice.errors import SpeechError
from salon.voice.sherpa import sherpa_library
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.gain import amplify
from salon.voice.tts.sherpa_onnx_config import SherpaOnnxTTSConfig
from salon.voice.tts.text import blank, is_speakable, split_text

__all__ = ["SherpaOnnxTTSConfig", "SherpaOnnxTTSProvider"]

ENGINE: Final = "SherpaOnnxTTS"
FIRST: Final = 80
"""Characters of the first part, so that sound comes soon."""
PART: Final = 160
"""Characters made at once; a piece that is given up costs at most one such part."""
MAX_TEXT: Final = 20_000
PART_SECONDS: Final = 60.0
_CHUNK: Final = SAMPLE_RATE
MAX_WAITING: Final = 64


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    speaker: int
    speed: float
    volume: float
    resampler: Resampler
    stopped: Event


class SherpaOnnxTTSProvider(TextToSpeech):
    """One model and one thread serve all pieces, part by part in turn.

    A part is made when the sound before it has been taken, so that no more than one is held.
    `part_seconds` bounds the wait for one; at most `max_waiting` pieces speak at once. No times.

    Here already: `MissingExtraError` without the library, `ConfigurationError` for files that are
    missing or of another kind.
    """

    name = ENGINE

    def __init__(
        self,
        config: SherpaOnnxTTSConfig,
        *,
        part_seconds: float = PART_SECONDS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        sherpa_library("speech with sherpa-onnx")
        config.check()
        self.config = config
        self.part_seconds = part_seconds
        self.max_waiting = max_waiting
        self._model: Any = None
        self._thread: ThreadPoolExecutor | None = None
        self._starting = asyncio.Lock()
        self._speaking: set[Event] = set()

    @property
    def default_voice(self) -> str | None:
        names, chosen = self.config.voice_names, self.config.speaker_id
        return names[chosen] if chosen < len(names) else None

    @property
    def sample_rate(self) -> int | None:
        """Of the model, once it is loaded; what is spoken is 16 kHz."""
        return None if self._model is None else int(self._model.sample_rate)

    @property
    def speaking(self) -> int:
        """Pieces under way."""
        return len(self._speaking)

    def voices(self) -> tuple[str, ...]:
        return self.config.voice_names

    async def start(self) -> None:
        """Load the model on the thread. Raises `ConfigurationError` and `SpeechError`.
        Idempotent."""
        async with self._starting:
            if self._thread is not None:
                return
            thread = ThreadPoolExecutor(1, "sherpa-onnx-tts")
            try:
                loop = asyncio.get_running_loop()
                self._model = await loop.run_in_executor(thread, self.config.load)
            except (RuntimeError, ValueError, TypeError) as error:
                thread.shutdown(wait=False)
                raise SpeechError(ENGINE, f"the model can't be loaded: {error}") from error
            except BaseException:
                thread.shutdown(wait=False)
                raise
            self._thread = thread

    async def close(self) -> None:
        """Running pieces end with `SpeechError` after the part they are at. Idempotent."""
        thread, self._thread = self._thread, None
        self._model = None
        for stopped in self._speaking:
            stopped.set()
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """`VoiceSettings.voice` is a name of `voice_names` or a number; `SpeechError` for
        another."""
        if len(text) > MAX_TEXT:
            raise SpeechError(ENGINE, f"{len(text)} characters are over the {MAX_TEXT} allowed")
        thread, model = self._thread, self._model
        if thread is None:
            raise SpeechError(ENGINE, "the engine is not started")
        if len(self._speaking) >= self.max_waiting:
            raise SpeechError(ENGINE, f"{self.max_waiting} pieces are being spoken already")
        speaker = self._speaker(settings, model)
        speed = self.config.speed * min(max(settings.speed, 0.5), 2.0)
        stopped = Event()
        resampler = Resampler(int(model.sample_rate), SAMPLE_RATE)
        parts = [part for _, part in split_text(blank(text), PART, FIRST) if is_speakable(part)]
        heard = 0
        self._speaking.add(stopped)
        try:
            for said in parts:
                part = _Part(said.strip(), speaker, speed, settings.volume, resampler, stopped)
                made = await self._made(thread, model, part)
                heard += len(made)
                for at in range(0, len(made), _CHUNK):
                    yield SpeechChunk(made[at : at + _CHUNK])
            if heard and len(last := resampler.flush()):
                yield SpeechChunk(amplify(np.array(last), settings.volume))
            elif parts and not heard:
                raise SpeechError(ENGINE, "the model made no sound of the text")
        finally:
            stopped.set()
            self._speaking.discard(stopped)

    def _speaker(self, settings: VoiceSettings, model: Any) -> int:
        try:
            speaker = self.config.speaker_id_for(settings.voice)
        except ValueError as error:
            raise SpeechError(ENGINE, str(error)) from error
        count = int(model.num_speakers)
        # 0 and 1 are both said of models with one speaker.
        if speaker >= max(count, 1):
            raise SpeechError(ENGINE, f"there is no speaker {speaker}; the model has {count}")
        return speaker

    async def _made(self, thread: ThreadPoolExecutor, model: Any, part: _Part) -> Samples:
        work = asyncio.get_running_loop().run_in_executor
        try:
            async with asyncio.timeout(self.part_seconds):
                made = await work(thread, _generate, model, part)
        except TimeoutError:
            raise SpeechError(ENGINE, f"no sound within {self.part_seconds:g} s") from None
        except (RuntimeError, ValueError, TypeError) as error:
            raise SpeechError(ENGINE, f"the model failed: {error}") from error
        if self._thread is not thread:
            raise SpeechError(ENGINE, "the engine is closed")
        return made


def _generate(model: Any, part: _Part) -> Samples:
    """On the thread. Whoever gave up meanwhile gets nothing."""
    if part.stopped.is_set():
        return np.zeros(0, dtype=np.int16)

    heard: list[Any] = []

    def goes_on(samples: Any, progress: float) -> int:
        heard.append(np.array(samples))  # The library frees its own.
        return 0 if part.stopped.is_set() else 1

    # What it returns is a list of numbers, and to make an array of it holds up the whole process.
    model.generate(part.text, sid=part.speaker, speed=part.speed, callback=goes_on)
    sound = np.nan_to_num(np.concatenate([np.zeros(0), *heard])) * 32_768.0
    return amplify(np.array(part.resampler.process(to_int16(sound))), part.volume)
