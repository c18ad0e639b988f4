"""Speech that was made before (G219, G295)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator

import numpy as np

from salon.gateway.options import SynthesisOption
from salon.gateway.sound_files import SoundFiles
from salon.media.frame import SAMPLE_RATE, Samples
from salon.voice.foreign import close_stream
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings

MAX_SAMPLES = 600 * SAMPLE_RATE
"""Longer pieces are not kept."""
_CHUNK = SAMPLE_RATE
_PLAIN = SynthesisOption()
_SOUND = ("codec", "emotion", "endpoint", "extra", "language", "model", "volume")
"""What changes the sound beside what the plain key holds."""


def speech_key(
    option: SynthesisOption, provider: str, speaker: str | None, text: str, *, house: str = ""
) -> str:
    """The key of a text as `provider` speaks it. `house` stands for what else of this server its
    sound depends on. Keys and ids of accounts are no part of it.

    What was made with all else at its defaults has the key of G219; else a hash of that follows
    (G295).
    """
    said = hashlib.sha256(f"tts:{provider}{text}".encode("utf-8", "surrogatepass")).hexdigest()
    parts = [said, str(option.samplerate), *([speaker] if speaker else []), f"{option.speed:g}"]
    more = {
        name: value
        for name in _SOUND
        if (value := getattr(option, name)) not in (None, {}) and value != getattr(_PLAIN, name)
    }
    if house:
        more["house"] = house
    if more:
        written = json.dumps(more, sort_keys=True).encode("utf-8", "surrogatepass")
        parts.append(hashlib.sha256(written).hexdigest()[:16])
    return "_".join(parts)


class SpeechCache:
    """Gives out voices that speak from `files` what is there, and keep there what they speak."""

    def __init__(self, files: SoundFiles) -> None:
        self.files = files

    def voice(self, engine: TextToSpeech, key: str, text: str) -> CachedVoice:
        """`engine` for one piece, `text`, that is kept under `key`."""
        return CachedVoice(self.files, engine, key, text)


class CachedVoice(TextToSpeech):
    """Speaks one text; any other is left to the engine. What is cut short is not kept. Words have
    no times in what comes from the cache. `from_cache` says so of the newest piece."""

    def __init__(self, files: SoundFiles, engine: TextToSpeech, key: str, text: str) -> None:
        self.name = engine.name
        self.key = key
        self.kept_bytes = 0
        """As many were put into the cache."""
        self._files = files
        self._engine = engine
        self._text = text

    def voices(self) -> tuple[str, ...]:
        return self._engine.voices()

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """From the cache, else from the engine."""
        ours = text == self._text
        found = await self._files.get(self.key) if ours else None
        self.from_cache = found is not None
        if found is not None:
            for start in range(0, len(found), _CHUNK):
                yield SpeechChunk(found[start : start + _CHUNK])
            return
        made: list[Samples] = []
        length = 0
        sound = self._engine.speak(text, settings)
        try:
            async for chunk in sound:
                length += len(chunk.samples)
                if length <= MAX_SAMPLES:
                    made.append(chunk.samples)
                else:
                    made.clear()
                yield chunk
        finally:
            await close_stream(sound, self.name)
        if ours and 0 < length <= MAX_SAMPLES:
            samples = np.concatenate(made)
            if await self._files.put(self.key, samples):
                self.kept_bytes = 2 * len(samples)
