"""Telephone keys heard in the sound."""

from salon.voice.pipeline.dtmf.base import (
    DTMFDetector,
    DTMFEvent,
    DTMFRedaction,
    DTMFRedactionError,
)
from salon.voice.pipeline.dtmf.goertzel import GoertzelDTMFDetector
from salon.voice.pipeline.dtmf.mock import MockDTMFDetector

__all__ = [
    "DTMFDetector",
    "DTMFEvent",
    "DTMFRedaction",
    "DTMFRedactionError",
    "GoertzelDTMFDetector",
    "MockDTMFDetector",
]
