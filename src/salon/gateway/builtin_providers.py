"""The speech services that calls can use without anybody having set them up, given a key (G290).

What the options leave open is as the service's adapter has it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from salon.gateway.engine_pool import E
from salon.gateway.options import SynthesisOption, TranscriptionOption
from salon.models.speech import SpeechHints
from salon.voice.stt.base import SpeechToText
from salon.voice.stt.deepgram_config import DeepgramConfig, Query
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings

if TYPE_CHECKING:
    from salon.voice.tts.deepgram import DeepgramTTSProvider

O = TypeVar("O", SynthesisOption, TranscriptionOption)  # noqa: E741 - an option
OPENAI_URL: Final = "https://api.openai.com/v1"
_ENCODINGS: Final[Mapping[str, Literal["linear16", "mulaw", "alaw"]]] = {
    "pcmu": "mulaw",
    "pcma": "alaw",
}
"""What the service is asked for by `codec` (G290); PCM else. The call hears it decoded (G143)."""


@dataclass(frozen=True, slots=True)
class Builtin(Generic[O, E]):
    """`make` gets an option with its key filled in. `key_name` is the environment variable of the
    key, "" where none is needed."""

    make: Callable[[O], E]
    key_name: str = ""


@dataclass
class CallDeepgramConfig(DeepgramConfig):
    """With parameters that win over all others."""

    parameters: Mapping[str, str] | None = None

    def utterance_query(self, language: str | None, hints: SpeechHints, partials: bool) -> Query:
        query = super().utterance_query(language, hints, partials)
        own = self.parameters or {}
        return [(name, value) for name, value in query if name not in own] + list(own.items())


def _deepgram_ears(option: TranscriptionOption) -> SpeechToText:
    from salon.voice.stt.deepgram import DeepgramSTTProvider

    config = CallDeepgramConfig(
        option.secret_key or "",
        model=option.model_type or "nova-3",
        language="" if option.language in (None, "auto") else option.language or "",
        parameters=option.extra,
    )
    if option.endpoint:
        config.base_url = option.endpoint
    return DeepgramSTTProvider(config)


def _openai_ears(option: TranscriptionOption) -> SpeechToText:
    from salon.voice.stt.openai import OpenAISpeechToText

    return OpenAISpeechToText(
        option.endpoint or OPENAI_URL, option.secret_key, option.model_type or "whisper-1"
    )


class _OneVoice(TextToSpeech):
    """Speaks with the model it was made for, whatever speaker is named: `model` wins (G290)."""

    def __init__(self, engine: DeepgramTTSProvider) -> None:
        self.name = engine.name
        self._engine = engine

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        sound = self._engine.speak(text, replace(settings, voice=None))
        try:
            async for chunk in sound:
                yield chunk
        finally:
            await sound.aclose()


def _deepgram_voice(option: SynthesisOption) -> TextToSpeech:
    from salon.voice.tts.deepgram import (
        PACKED_RATES,
        RATES,
        DeepgramTTSConfig,
        DeepgramTTSProvider,
    )

    config = DeepgramTTSConfig(option.secret_key or "")
    if option.model:
        config.model = option.model
    config.encoding = _ENCODINGS.get(option.codec.lower(), "linear16")
    rates = RATES if config.encoding == "linear16" else PACKED_RATES
    if option.samplerate in rates:
        config.sample_rate = option.samplerate
    if option.endpoint:
        config.base_url = option.endpoint
    engine = DeepgramTTSProvider(config)
    return _OneVoice(engine) if option.model else engine


def _openai_voice(option: SynthesisOption) -> TextToSpeech:
    from salon.voice.tts.openai import OpenAITextToSpeech

    return OpenAITextToSpeech(
        option.endpoint or OPENAI_URL, option.secret_key, option.model or "tts-1"
    )


def _elevenlabs_voice(option: SynthesisOption) -> TextToSpeech:
    from salon.voice.tts.elevenlabs import ElevenLabsTTSProvider
    from salon.voice.tts.elevenlabs_config import BASE_URL, ElevenLabsConfig

    config = ElevenLabsConfig(
        option.secret_key or "",
        model_id=option.model or "eleven_multilingual_v2",
        base_url=option.endpoint or BASE_URL,
    )
    return ElevenLabsTTSProvider(config)


def _espeak_voice(_option: SynthesisOption) -> TextToSpeech:
    from salon.voice.tts.espeak import EspeakTextToSpeech

    return EspeakTextToSpeech(processes=1)


def _flite_voice(_option: SynthesisOption) -> TextToSpeech:
    from salon.voice.tts.flite import FliteTextToSpeech

    return FliteTextToSpeech(processes=1)


VOICES: Final[Mapping[str, Builtin[SynthesisOption, TextToSpeech]]] = {
    "deepgram": Builtin(_deepgram_voice, "DEEPGRAM_API_KEY"),
    "elevenlabs": Builtin(_elevenlabs_voice, "ELEVENLABS_API_KEY"),
    "openai": Builtin(_openai_voice, "OPENAI_API_KEY"),
    "espeak": Builtin(_espeak_voice),
    "flite": Builtin(_flite_voice),
}
RECOGNIZERS: Final[Mapping[str, Builtin[TranscriptionOption, SpeechToText]]] = {
    "deepgram": Builtin(_deepgram_ears, "DEEPGRAM_API_KEY"),
    "openai": Builtin(_openai_ears, "OPENAI_API_KEY"),
}
