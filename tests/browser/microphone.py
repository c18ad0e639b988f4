"""What Chromium's fake microphone hears: a WAV of silences and spoken sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from salon.media import write_wav
from salon.testing.speech import silence, speak

RATE = 48_000
LEAD_MS = 3_000
"""Silence before the first word: the file starts with the microphone, before the call is up."""


def microphone_wav(path: Path, *parts: str | int, lead_ms: int = LEAD_MS) -> Path:
    """Write `parts` one after the other: sentences, and pauses in ms. Silence follows the file."""
    sounds = [silence(lead_ms, rate=RATE)]
    for part in parts:
        if isinstance(part, str):
            sounds.append(speak(part, rate=RATE))
        else:
            sounds.append(silence(part, rate=RATE))
    sounds.append(silence(1_000, rate=RATE))
    write_wav(path, np.concatenate(sounds), RATE)
    return path
