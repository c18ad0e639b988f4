"""Backchannel detectors: "go on, I am listening", or a wish to speak."""

from __future__ import annotations

from salon.voice.pipeline.backchannel.base import (
    BackchannelContext,
    BackchannelDecision,
    BackchannelDetector,
)
from salon.voice.pipeline.backchannel.mock import MockBackchannelDetector
from salon.voice.pipeline.backchannel.phrases import PhraseBackchannelDetector
from salon.voice.turns.backchannel import (
    ENGLISH_BACKCHANNELS,
    FRENCH_BACKCHANNELS,
    GERMAN_BACKCHANNELS,
    SPANISH_BACKCHANNELS,
)

__all__ = [
    "ENGLISH_BACKCHANNELS",
    "FRENCH_BACKCHANNELS",
    "GERMAN_BACKCHANNELS",
    "SPANISH_BACKCHANNELS",
    "BackchannelContext",
    "BackchannelDecision",
    "BackchannelDetector",
    "MockBackchannelDetector",
    "PhraseBackchannelDetector",
]
