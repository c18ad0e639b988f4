"""Stages on the way to the listener."""

from salon.voice.pipeline.postprocessor.base import AudioPostProcessor
from salon.voice.pipeline.postprocessor.call import CallablePostProcessor
from salon.voice.pipeline.postprocessor.gain import GainPostProcessor
from salon.voice.pipeline.postprocessor.loudness import LoudnessConfig, LoudnessPostProcessor
from salon.voice.pipeline.postprocessor.mock import MockAudioPostProcessor

__all__ = [
    "AudioPostProcessor",
    "CallablePostProcessor",
    "GainPostProcessor",
    "LoudnessConfig",
    "LoudnessPostProcessor",
    "MockAudioPostProcessor",
]
