"""Speech synthesis: the contract, eSpeak NG, Flite, HTTP servers, a mock, and worker programs."""

from salon.voice.tts.adapt import AdaptedTextToSpeech, voice_of
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.cache import CachedTextToSpeech, CacheStatistics
from salon.voice.tts.context import (
    AssistantTurnRecorder,
    ConversationTurn,
    TTSContext,
    TTSContextConfig,
    TTSContextLevel,
    TTSContextStore,
)
from salon.voice.tts.espeak import EspeakTextToSpeech
from salon.voice.tts.fallback import FallbackTextToSpeech
from salon.voice.tts.filters import (
    StripBrackets,
    StripEmoji,
    StripInternalTags,
    StripTechnicalText,
    TTSFilterChain,
    TTSStreamFilter,
    filtered_stream,
)
from salon.voice.tts.flite import FliteTextToSpeech
from salon.voice.tts.mock import MockTextToSpeech, MockTTSProvider
from salon.voice.tts.openai import OpenAITextToSpeech
from salon.voice.tts.provider import TTSProvider
from salon.voice.tts.text import blank, is_speakable, remove_emoji, split_text, to_ascii
from salon.voice.tts.worker import WorkerTextToSpeech
from salon.voice.workers.pool import WorkerPool, WorkerPoolStatistics
from salon.voice.workers.process import WorkerHello, WorkerProcess, WorkerVoice

__all__ = [
    "DEFAULT_VOICE",
    "AdaptedTextToSpeech",
    "AssistantTurnRecorder",
    "CacheStatistics",
    "CachedTextToSpeech",
    "ConversationTurn",
    "EspeakTextToSpeech",
    "FallbackTextToSpeech",
    "FliteTextToSpeech",
    "MockTTSProvider",
    "MockTextToSpeech",
    "OpenAITextToSpeech",
    "SpeechChunk",
    "StripBrackets",
    "StripEmoji",
    "StripInternalTags",
    "StripTechnicalText",
    "TTSContext",
    "TTSContextConfig",
    "TTSContextLevel",
    "TTSContextStore",
    "TTSFilterChain",
    "TTSProvider",
    "TTSStreamFilter",
    "TextToSpeech",
    "VoiceSettings",
    "WorkerHello",
    "WorkerPool",
    "WorkerPoolStatistics",
    "WorkerProcess",
    "WorkerTextToSpeech",
    "WorkerVoice",
    "blank",
    "filtered_stream",
    "is_speakable",
    "remove_emoji",
    "split_text",
    "to_ascii",
    "voice_of",
]
