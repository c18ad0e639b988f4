"""Speech recognition.

The engines load when they are first named: a worker process of this package must start quickly and
needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.voice.stt.adapt import AdaptedSpeechToText, recognizer_of
    from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
    from salon.voice.stt.fallback import FallbackSpeechToText
    from salon.voice.stt.mock import HeardUtterance, MockSpeechToText, MockSTTProvider
    from salon.voice.stt.openai import OpenAISpeechToText
    from salon.voice.stt.pocketsphinx import PocketSphinxSpeechToText
    from salon.voice.stt.provider import STTProvider
    from salon.voice.stt.result import SpeakerSegment, TranscriptionResult, speaker_label
    from salon.voice.stt.sphinx_pool import PoolStatistics

_HOMES = {
    "AdaptedSpeechToText": "adapt",
    "FallbackSpeechToText": "fallback",
    "HeardUtterance": "mock",
    "MockSTTProvider": "mock",
    "MockSpeechToText": "mock",
    "OnPartial": "base",
    "OpenAISpeechToText": "openai",
    "PocketSphinxSpeechToText": "pocketsphinx",
    "PoolStatistics": "sphinx_pool",
    "STTProvider": "provider",
    "SpeakerSegment": "result",
    "SpeechToText": "base",
    "Transcription": "base",
    "TranscriptionResult": "result",
    "Utterance": "base",
    "recognizer_of": "adapt",
    "speaker_label": "result",
}

__all__ = [
    "AdaptedSpeechToText",
    "FallbackSpeechToText",
    "HeardUtterance",
    "MockSTTProvider",
    "MockSpeechToText",
    "OnPartial",
    "OpenAISpeechToText",
    "PocketSphinxSpeechToText",
    "PoolStatistics",
    "STTProvider",
    "SpeakerSegment",
    "SpeechToText",
    "Transcription",
    "TranscriptionResult",
    "Utterance",
    "recognizer_of",
    "speaker_label",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
