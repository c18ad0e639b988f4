"""Speech recognition.

The engines load when they are first named: a worker process of this package must start quickly and
needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
    from salon.voice.stt.mock import HeardUtterance, MockSpeechToText
    from salon.voice.stt.openai import OpenAISpeechToText
    from salon.voice.stt.pocketsphinx import PocketSphinxSpeechToText
    from salon.voice.stt.sphinx_pool import PoolStatistics

_HOMES = {
    "HeardUtterance": "mock",
    "MockSpeechToText": "mock",
    "OnPartial": "base",
    "OpenAISpeechToText": "openai",
    "PocketSphinxSpeechToText": "pocketsphinx",
    "PoolStatistics": "sphinx_pool",
    "SpeechToText": "base",
    "Transcription": "base",
    "Utterance": "base",
}

__all__ = [
    "HeardUtterance",
    "MockSpeechToText",
    "OnPartial",
    "OpenAISpeechToText",
    "PocketSphinxSpeechToText",
    "PoolStatistics",
    "SpeechToText",
    "Transcription",
    "Utterance",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
