"""What adds up voices for a bridge."""

from salon.voice.pipeline.mixer.base import MixerProvider
from salon.voice.pipeline.mixer.numpy import NumpyMixerProvider
from salon.voice.pipeline.mixer.python import PythonMixerProvider

__all__ = ["MixerProvider", "NumpyMixerProvider", "PythonMixerProvider"]
