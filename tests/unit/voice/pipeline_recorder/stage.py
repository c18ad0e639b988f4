"""What the tests of recorders share."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.testing import VirtualClock
from salon.testing.contracts.voice_recorder import FRAME, RATE, frames_of, make_session, tone
from salon.voice.pipeline.recorder import (
    FileRecorder,
    RecordingChannelMode,
    RecordingConfig,
    RecordingHandle,
    RecordingMode,
    RecordingTrigger,
    WavFileRecorder,
)
from salon.voice.pipeline.recorder.writer import RecordingThread

__all__ = ["FRAME", "RATE", "Stage", "frames_of", "make_session", "plain", "tone"]


def plain(**settings: Any) -> RecordingConfig:
    """A config whose storage encrypts."""
    return RecordingConfig(storage_encrypted_at_rest=True, **settings)


class Stage:
    """A WAV recorder under virtual time."""

    def __init__(self, place: Path, **settings: Any) -> None:
        self.place = place
        self.clock = VirtualClock()
        self.recorder: FileRecorder = WavFileRecorder(place, clock=self.clock, **settings)

    def start(self, **settings: Any) -> RecordingHandle:
        return self.recorder.start(make_session(), plain(**settings))

    def say(
        self,
        handle: RecordingHandle,
        seconds: float,
        user: int | None = 100,
        bot: int | None = None,
    ) -> None:
        """Both sides for a while in real time; None sends no frames."""
        for _ in range(round(seconds / 0.020)):
            for value, tap in (
                (user, self.recorder.tap_inbound),
                (bot, self.recorder.tap_outbound),
            ):
                if value is not None:
                    tap(handle, AudioFrame(np.full(FRAME, value, dtype=np.int16).tobytes()))
            self.clock.advance(0.020)


class HeldThread(RecordingThread):
    """A sound thread whose jobs wait until they may go."""

    def __init__(self) -> None:
        super().__init__("held")
        self.go = threading.Event()

    def _run(self) -> None:
        self.go.wait(10)
        super()._run()


def share(sound: Samples, value: int) -> float:
    """Seconds of a value in it."""
    return float(np.count_nonzero(sound == value)) / RATE


BOTH_APART = {"channels": RecordingChannelMode.STEREO, "mode": RecordingMode.BOTH}
SPEECH = {"trigger": RecordingTrigger.SPEECH_ONLY}
