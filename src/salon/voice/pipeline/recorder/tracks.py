"""The files of one recording. Everything here runs on the sound thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from salon.base.files import private_folder
from salon.media.frame import Samples
from salon.voice.pipeline.recorder.base import RecordingChannelMode, RecordingMode
from salon.voice.pipeline.recorder.encryption import create_private


class SoundFile(Protocol):
    """What writes one file: `WavWriter`, `OggOpusWriter`."""

    def write(self, samples: Samples) -> None:
        """Add ``int16[n]`` or ``int16[n, channels]``."""

    def close(self) -> None:
        """Complete the file."""


OpenSound = Callable[[Path, int, int], SoundFile]
"""Opens a file of a path, a rate in Hz and a number of channels."""


def layouts(channels: RecordingChannelMode, mode: RecordingMode) -> dict[str, str]:
    """What goes into which file: layout by the ending of the file's stem."""
    directions = [("inbound", mode.inbound), ("outbound", mode.outbound)]
    apart = {f"_{name}": name for name, wanted in directions if wanted}
    match channels:
        case RecordingChannelMode.MIXED:
            return {"": "mixed"}
        case RecordingChannelMode.STEREO:
            return {"": "stereo"}
        case RecordingChannelMode.SEPARATE:
            return apart
        case RecordingChannelMode.ALL:
            return {**apart, "_mixed": "mixed"}


def mix(left: Samples, right: Samples) -> Samples:
    """Both at once, clamped to int16."""
    total = left.astype(np.int32)
    total += right
    np.clip(total, -32768, 32767, out=total)
    return total.astype(np.int16)


class Tracks:
    """Writes blocks of both directions into the files of a recording.

    The files are made with the first block, when the rate is known. `OSError` from the file
    system, `MediaError` where a format ends (4 GiB of WAV).
    """

    def __init__(self, files: dict[Path, str], open_sound: OpenSound) -> None:
        self.files = files
        """Layout by path."""
        self._open_sound = open_sound
        self._open: list[tuple[str, SoundFile]] = []
        self._silence: Samples = np.zeros(0, dtype=np.int16)
        self.opened = False
        self.rate = 0
        self.written = 0
        """Samples per channel."""

    def open(self, rate: int) -> None:
        """Make the files."""
        self.opened, self.rate = True, rate
        for path, layout in self.files.items():
            private_folder(path.parent)
            create_private(path).close()
            channels = 2 if layout == "stereo" else 1
            self._open.append((layout, self._open_sound(path, rate, channels)))

    def write(self, size: int, left: Samples | None, right: Samples | None) -> None:
        """Add `size` samples; None is silence, of any length if it is both."""
        if left is None and right is None:
            second = self._zeros(self.rate)
            for _ in range(size // self.rate):
                self._write(second, None, None)
            size %= self.rate
        self._write(self._zeros(size), left, right)

    def close(self) -> None:
        """Complete every file, even if one fails; the first failure is raised."""
        failed: Exception | None = None
        for _, file in self._open:
            try:
                file.close()
            except (OSError, ValueError) as error:
                failed = failed or error
        self._open = []
        if failed is not None:
            raise failed

    def _zeros(self, size: int) -> Samples:
        if len(self._silence) < size:
            self._silence = np.zeros(size, dtype=np.int16)
        return self._silence[:size]

    def _write(self, silence: Samples, left: Samples | None, right: Samples | None) -> None:
        one = silence if left is None else left
        two = silence if right is None else right
        for layout, file in self._open:
            match layout:
                case "inbound":
                    file.write(one)
                case "outbound":
                    file.write(two)
                case "stereo":
                    file.write(np.stack((one, two), axis=1))
                case _:
                    file.write(two if left is None else one if right is None else mix(one, two))
        self.written += len(silence)
