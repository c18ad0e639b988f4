"""Voice activity detection: the network, its batching over all calls, and the segments."""

from salon.voice.vad.batch import BatchedVad, VadStatistics, VadStream
from salon.voice.vad.config import VADConfig, VADSettings
from salon.voice.vad.model import SileroModel
from salon.voice.vad.segmenter import (
    Segmenter,
    SegmenterConfig,
    SegmentEvent,
    SilenceLasted,
    SpeechEnded,
    SpeechStarted,
)

__all__ = [
    "BatchedVad",
    "SegmentEvent",
    "Segmenter",
    "SegmenterConfig",
    "SilenceLasted",
    "SileroModel",
    "SpeechEnded",
    "SpeechStarted",
    "VADConfig",
    "VADSettings",
    "VadStatistics",
    "VadStream",
]
