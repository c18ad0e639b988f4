"""Flite: American English from the system's packages, five voices, word and phoneme times."""

from __future__ import annotations

import sys
from typing import Final

from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.voice.errors import SpeechError
from salon.voice.tts.text import blank, is_speakable, to_ascii
from salon.voice.tts.worker import WorkerTextToSpeech
from salon.voice.workers.pool import WorkerPool

FIRST_CHARS: Final = 80
PART_CHARS: Final = 160
"""Flite's first sound comes after about 0.3 ms per character of the part."""


class FliteTextToSpeech(WorkerTextToSpeech):
    """Flite in `processes` worker processes (default: two, or one on a single processor).

    Voices: slt (default), rms, awb, kal16, kal. Accents are dropped; a text that has letters but
    none of the Latin alphabet is a `SpeechError`. `start` raises `ConfigurationError` naming the
    system package if Flite is not installed.
    """

    has_word_times = True
    has_phoneme_times = True

    def __init__(self, *, processes: int | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        command = (sys.executable, "-P", "-m", "salon.voice.workers.flite")
        pool = WorkerPool("flite", command, processes=processes, clock=clock)
        super().__init__(pool, part_chars=PART_CHARS, first_chars=FIRST_CHARS)

    def prepare(self, text: str) -> str:
        """ASCII, one character for each. `SpeechError` if that leaves nothing of what was there."""
        visible = blank(text)
        plain = to_ascii(visible)
        if is_speakable(visible) and not is_speakable(plain):
            raise SpeechError(self.name, "this text is not in the Latin alphabet")
        return plain
