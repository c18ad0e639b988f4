"""Both recorders of files hold the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.media.frame import Samples
from salon.testing import VirtualClock
from salon.testing.contracts.voice_recorder import AudioRecorderContract
from salon.voice.pipeline.recorder import (
    AudioRecorder,
    OggOpusFileRecorder,
    RecordingChannelMode,
    RecordingConfig,
    RecordingMode,
    WavFileRecorder,
)

from .reading import read_any, read_wav


class TestWavFileRecorder(AudioRecorderContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = tmp_path

    def make(self, clock: VirtualClock) -> AudioRecorder:
        return WavFileRecorder(self.place, clock=clock)

    def config(
        self,
        mode: RecordingMode = RecordingMode.BOTH,
        channels: RecordingChannelMode = RecordingChannelMode.MIXED,
    ) -> RecordingConfig:
        return RecordingConfig(mode=mode, channels=channels, storage_encrypted_at_rest=True)

    def read(self, url: str) -> tuple[Samples, int]:
        sound, rate = read_wav(url)
        other, other_rate = read_any(url)
        assert rate == other_rate
        assert len(sound) == len(other)
        return sound, rate


class TestOggOpusFileRecorder(TestWavFileRecorder):
    exact = False

    def make(self, clock: VirtualClock) -> AudioRecorder:
        return OggOpusFileRecorder(self.place, clock=clock)

    def config(
        self,
        mode: RecordingMode = RecordingMode.BOTH,
        channels: RecordingChannelMode = RecordingChannelMode.MIXED,
    ) -> RecordingConfig:
        return RecordingConfig(
            mode=mode, channels=channels, format="ogg", storage_encrypted_at_rest=True
        )

    def read(self, url: str) -> tuple[Samples, int]:
        return read_any(url)
