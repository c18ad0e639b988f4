"""Recording into Ogg Opus files: a tenth of the size of WAV."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from salon.media.ogg_opus import OggOpusWriter
from salon.media.opus import MAX_BITRATE, MIN_BITRATE, RATES
from salon.media.opus_library import load_opus
from salon.voice.pipeline.recorder.base import RecordingConfigurationError
from salon.voice.pipeline.recorder.files import FileRecorder
from salon.voice.pipeline.recorder.tracks import SoundFile


class OggOpusFileRecorder(FileRecorder):
    """Writes Ogg Opus with `bitrate` bit/s per channel; a page per second, whole after a crash.

    The rate is one of Opus's, the next one up from that of the first frame. `MissingExtraError`
    without libopus.
    """

    formats: ClassVar[tuple[str, ...]] = ("ogg", "opus")
    suffix: ClassVar[str] = ".ogg"

    def __init__(
        self, directory: str | Path | None = None, *, bitrate: int = 24_000, **settings: Any
    ) -> None:
        if not MIN_BITRATE <= bitrate <= MAX_BITRATE:
            raise RecordingConfigurationError(
                f"bitrate {bitrate} is not within {MIN_BITRATE}..{MAX_BITRATE}"
            )
        super().__init__(directory, **settings)
        self._bitrate = bitrate
        load_opus()

    def _check_rate(self, rate: int | None) -> None:
        if rate is not None and rate not in RATES:
            raise RecordingConfigurationError(f"Opus runs at {RATES} Hz, not {rate}")

    def _rate_for(self, first: int) -> int:
        return self._sample_rate or next((rate for rate in RATES if rate >= first), RATES[-1])

    def _open_sound(self, path: Path, rate: int, channels: int) -> SoundFile:
        return OggOpusWriter(path, rate, channels, bitrate=self._bitrate)
