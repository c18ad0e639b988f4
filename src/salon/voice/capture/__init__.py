"""Sound captured once for several listeners: `AudioCaptureSource` (V251).

A wake word and a voice session can share a microphone; the session may begin with what was said
just before it.
"""

from salon.voice.capture.base import (
    DEFAULT_BACKLOG_SECONDS,
    AudioCaptureSource,
    CaptureFrameCallback,
    CaptureMark,
    CaptureSubscription,
)
from salon.voice.capture.local import LocalMicSource
from salon.voice.capture.mock import MockCaptureSource

__all__ = [
    "DEFAULT_BACKLOG_SECONDS",
    "AudioCaptureSource",
    "CaptureFrameCallback",
    "CaptureMark",
    "CaptureSubscription",
    "LocalMicSource",
    "MockCaptureSource",
]
