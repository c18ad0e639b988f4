"""Turn detectors: whether the caller has said all they meant to."""

from __future__ import annotations

from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector, TurnEntry
from salon.voice.pipeline.turn.mock import MockTurnDetector
from salon.voice.pipeline.turn.silence import SilenceAdaptiveTurnDetector
from salon.voice.pipeline.turn.smart_turn import SmartTurnConfig, SmartTurnDetector

__all__ = [
    "MockTurnDetector",
    "SilenceAdaptiveTurnDetector",
    "SmartTurnConfig",
    "SmartTurnDetector",
    "TurnContext",
    "TurnDecision",
    "TurnDetector",
    "TurnEntry",
]
