"""Voice activity detection as a pipeline stage."""

from salon.voice.pipeline.vad.base import VADConfig, VADEvent, VADEventType, VADProvider
from salon.voice.pipeline.vad.energy import EnergyVADProvider
from salon.voice.pipeline.vad.mock import MockVADProvider
from salon.voice.pipeline.vad.silero import SileroVADProvider

__all__ = [
    "EnergyVADProvider",
    "MockVADProvider",
    "SileroVADProvider",
    "VADConfig",
    "VADEvent",
    "VADEventType",
    "VADProvider",
]
