"""A `VoiceEngine` of scripted parts: no model, no worker, no real time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from salon.base import Clock
from salon.models.speech import NO_HINTS, SpeechHints
from salon.testing.clock import VirtualClock
from salon.testing.vad import EnergyVad
from salon.transport.ticker import Ticker
from salon.voice.engine import VoiceEngine
from salon.voice.stt.base import SpeechToText
from salon.voice.stt.mock import MockSpeechToText, Scripted
from salon.voice.tts.base import TextToSpeech
from salon.voice.tts.mock import MockTextToSpeech
from salon.voice.vad.batch import BatchedVad
from salon.voice.vad.model import SileroModel


@asynccontextmanager
async def scripted_engine(
    heard: Iterable[Scripted] = (),
    *,
    recognizer: SpeechToText | None = None,
    synthesizer: TextToSpeech | None = None,
    recognition: bool = True,
    synthesis: bool = True,
    vad: SileroModel | None = None,
    missing: Mapping[str, str] | None = None,
    hints: Callable[[], SpeechHints] = lambda: NO_HINTS,
    clock: Clock | None = None,
) -> AsyncIterator[VoiceEngine]:
    """A running engine, closed at the end of the block.

    `heard` is what the recogniser understands, one entry per turn (see `MockSpeechToText`);
    `recognizer` and `synthesizer` take the places of the mocks, `recognition` and `synthesis` False
    leave them out. Speech is told from silence by level (`EnergyVad`) unless `vad` is given. The
    clock is virtual and belongs in a `VirtualTimeLoop`.
    """
    clock = clock or VirtualClock()
    ears = (recognizer or MockSpeechToText(heard)) if recognition else None
    voice = (synthesizer or MockTextToSpeech(clock=clock)) if synthesis else None
    engine = VoiceEngine(
        vad=BatchedVad(vad or EnergyVad(), clock=clock),
        ticker=Ticker(),
        recognizers={} if ears is None else {"": ears, ears.name: ears},
        synthesizers={} if voice is None else {"": voice, voice.name: voice},
        missing=missing or {},
        clock=clock,
        hints=hints,
    )
    parts = [part for part in (ears, voice) if part is not None]
    for part in parts:
        await part.start()
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
        for part in reversed(parts):
            await part.close()
