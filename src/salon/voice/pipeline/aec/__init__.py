"""Echo cancelling, the first stage after the recorder's tap (V52, V59, V64-V66)."""

from salon.voice.pipeline.aec.base import AECProvider
from salon.voice.pipeline.aec.mock import MockAECProvider
from salon.voice.pipeline.aec.speex import SpeexAECProvider
from salon.voice.pipeline.aec.webrtc import WebRTCAECProvider

__all__ = ["AECProvider", "MockAECProvider", "SpeexAECProvider", "WebRTCAECProvider"]
