"""eSpeak NG: robotic, quick, a hundred languages, word and phoneme times."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.base.errors import MissingExtraError
from salon.voice.tts.worker import WorkerTextToSpeech
from salon.voice.workers.pool import WorkerPool


class EspeakTextToSpeech(WorkerTextToSpeech):
    """eSpeak NG in `processes` worker processes (default: two, or one on a single processor).

    Voices are language names (``de``, ``en-gb``), with a variant if wanted (``en-us+f3``).
    """

    has_word_times = True
    has_phoneme_times = True

    def __init__(self, *, processes: int | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        command = (sys.executable, "-P", "-m", "salon.voice.workers.espeak")
        super().__init__(WorkerPool("espeak", command, processes=processes, clock=clock))

    async def start(self) -> None:
        """`MissingExtraError` if espeakng-loader is not installed."""
        if find_spec("espeakng_loader") is None:
            raise MissingExtraError("espeak", "eSpeak NG speech synthesis")
        await super().start()
