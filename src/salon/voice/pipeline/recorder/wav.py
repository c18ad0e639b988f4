"""Recording into WAV files: 16 bit, readable at any time."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from salon.media.wav import WavWriter
from salon.voice.pipeline.recorder.files import FileRecorder
from salon.voice.pipeline.recorder.tracks import SoundFile


class WavFileRecorder(FileRecorder):
    """Writes WAV. The header is brought up to date every second: a crash costs no more."""

    formats: ClassVar[tuple[str, ...]] = ("wav",)
    suffix: ClassVar[str] = ".wav"

    def _open_sound(self, path: Path, rate: int, channels: int) -> SoundFile:
        return WavWriter(path, rate, channels)
