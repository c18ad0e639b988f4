"""Who speaks within one stream."""

from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult
from salon.voice.pipeline.diarization.mock import MockDiarizationProvider
from salon.voice.pipeline.diarization.single import SingleSpeakerDiarizationProvider

__all__ = [
    "DiarizationProvider",
    "DiarizationResult",
    "MockDiarizationProvider",
    "SingleSpeakerDiarizationProvider",
]
