"""Voice engines that work, hang, raise, talk nonsense or take their time, as a die says.

For `soak_voice.py`. Every engine of a `Ward` asks its `Faults` once a call; what was injected is
counted by engine and fault, so that it can be compared with what was told of it.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from salon.channels.voice_modes import STUCK_S
from salon.core.ports.ai import AIContext, AIProvider, AIStreamPart, TextDelta
from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.models import HookResult
from salon.models.content import AudioContent
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.aec.base import AECProvider
from salon.voice.pipeline.backchannel.base import BackchannelDecision, BackchannelDetector
from salon.voice.pipeline.denoiser.base import DenoiserProvider
from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult
from salon.voice.pipeline.dtmf.base import DTMFDetector, DTMFEvent
from salon.voice.pipeline.recorder.base import (
    AudioRecorder,
    RecordingConfig,
    RecordingHandle,
    RecordingResult,
)
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult
from salon.voice.tts.provider import TTSProvider

Fault = Literal["hang", "raise", "cancelled", "garbage", "slow", "empty", "huge"]

ERRORS: frozenset[Fault] = frozenset({"hang", "raise", "cancelled", "garbage"})
"""Faults that somebody has to be told of; the others are odd but allowed."""
HUGE = 20_000
"""Characters of a text that is far too long."""
PROBE = "Verified"
"""An answer that begins so was made while nothing was broken; it is spoken with `TONE_HZ`."""
TONE_HZ = 1000.0
TONE_MS = 500
AUDIBLE = 300
"""Peak of what counts as sound."""


class SoakError(RuntimeError):
    """Raised on purpose."""


@dataclass
class Faults:
    """What goes wrong in the engines of one ward; nothing while `on` is False."""

    dice: random.Random
    rate: float = 0.35
    """Share of the calls that do not simply work."""
    on: bool = False
    injected: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    abandoned: Counter[str] = field(default_factory=Counter)
    """Hangs given up before anybody's patience was at its end: the caller had left."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set at the end of all: threads that hang go on."""

    def draw(self, engine: str, *choices: Fault, rate: float | None = None) -> Fault | None:
        """What is to become of a call; None: it works. It counts once it happens: `note`."""
        self.calls[engine] += 1
        if not self.on or self.dice.random() >= (self.rate if rate is None else rate):
            return None
        return self.dice.choice(choices)

    def note(self, engine: str, fault: Fault | None) -> None:
        """It happens now."""
        if fault is not None:
            self.injected[engine, fault] += 1

    async def suffer(
        self,
        engine: str,
        fault: Fault | None,
        patience: float,
        left: Callable[[], bool] = lambda: False,
    ) -> None:
        """Live through a fault. A hang is waited for `patience` s; what is slow takes less. With
        `left` it tells by itself whether its caller is gone, where patience may begin again."""
        self.note(engine, fault)
        match fault:
            case "slow":
                slow = max(0.6, min(patience - 0.5, 3.0))
                await asyncio.sleep(self.dice.uniform(0.5, slow))
            case "raise":
                raise self.error(engine)
            case "cancelled":
                raise asyncio.CancelledError
            case "hang":
                began = time.monotonic()
                try:
                    await asyncio.Event().wait()
                finally:
                    if left() or time.monotonic() - began < patience - 0.05:
                        self.abandoned[engine] += 1

    def error(self, engine: str) -> SoakError:
        """Something to raise."""
        return SoakError(f"the {engine} broke on purpose")

    def errors(self, engine: str) -> int:
        """How many faults of an engine somebody has to be told of."""
        return sum(
            n for (name, fault), n in self.injected.items() if name == engine and fault in ERRORS
        )


def loud_samples(data: bytes) -> int:
    """How much there is in it that could be speech."""
    samples = np.frombuffer(data[: len(data) // 2 * 2], dtype=np.int16)
    return int(np.count_nonzero(np.abs(samples.astype(np.int32)) > AUDIBLE))


class FaultySTT(STTProvider):
    """Hears that somebody speaks, not what: each utterance is one more question."""

    PATIENCE_S = 3.0

    def __init__(self, faults: Faults, name: str) -> None:
        self._faults = faults
        self._name = name
        self.questions = 0

    @property
    def name(self) -> str:
        return self._name

    def _text(self) -> str:
        self.questions += 1
        return f"question number {self.questions} please"

    def _draw(self) -> Fault | None:
        return self._faults.draw(
            "stt", "hang", "raise", "cancelled", "garbage", "slow", "empty", "huge"
        )

    def _result(self, fault: Fault | None) -> Any:
        match fault:
            case "garbage":
                nothing: Any = None
                return self._faults.dice.choice(
                    (None, 42, b"bytes", TranscriptionResult(nothing), ["a", "list"])
                )
            case "empty":
                return TranscriptionResult("")
            case "huge":
                return TranscriptionResult("word " * (HUGE // 5))
            case _:
                return TranscriptionResult(self._text(), confidence=0.9)

    async def transcribe(self, audio: Any, *, language: str | None = None) -> TranscriptionResult:
        if loud_samples(audio.data) < SAMPLE_RATE // 50:
            return TranscriptionResult("")
        fault = self._draw()
        await self._faults.suffer("stt", fault, self.PATIENCE_S)
        result: TranscriptionResult = self._result(fault)
        return result


class FaultyStreamingSTT(FaultySTT):
    """Gives interim words while it hears. With `turns` it finds the ends of turns by itself, after
    half a second of silence, for channels that recognise continuously."""

    QUIET_BYTES = SAMPLE_RATE

    def __init__(self, faults: Faults, name: str, *, turns: bool = False) -> None:
        super().__init__(faults, name)
        self._turns = turns
        self._patience = STUCK_S if turns else self.PATIENCE_S

    @property
    def supports_streaming(self) -> bool:
        return True

    @property
    def keeps_stream_across_turns(self) -> bool:
        return self._turns

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        speech = quiet = 0
        async for chunk in audio_stream:
            if loud_samples(chunk.data) * 40 > len(chunk.data):
                first, speech, quiet = not speech, speech + len(chunk.data), 0
                if first:
                    yield TranscriptionResult("question", is_final=False)
            elif speech:
                quiet += len(chunk.data)
            if self._turns and speech and quiet >= self.QUIET_BYTES:
                speech = quiet = 0
                yield await self._final()
        if speech:
            yield await self._final()

    async def _final(self) -> TranscriptionResult:
        fault = self._draw()
        await self._faults.suffer("stt", fault, self._patience)
        result: TranscriptionResult = self._result(fault)
        return result


class FaultyTTS(TTSProvider):
    """Replays one sound; an answer that was `PROBE` is a tone."""

    PATIENCE_S = 3.0
    CHUNK = SAMPLE_RATE // 5 * 2

    def __init__(self, faults: Faults, name: str, sound: Samples) -> None:
        self._faults = faults
        self._name = name
        self._sound = sound.tobytes()
        at = np.arange(TONE_MS * SAMPLE_RATE // 1000)
        self._tone = (8000 * np.sin(2 * np.pi * TONE_HZ / SAMPLE_RATE * at)).astype("<i2").tobytes()

    @property
    def name(self) -> str:
        return self._name

    @property
    def supports_streaming_input(self) -> bool:
        return True

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        raise NotImplementedError

    async def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: Any = None
    ) -> AsyncIterator[AudioChunk]:
        faults = self._faults
        fault = faults.draw("tts", "hang", "raise", "cancelled", "garbage", "slow", "empty")
        sound = self._tone if PROBE in text else self._sound
        middle = faults.dice.choice((0, 0, self.CHUNK)) if fault else 0
        if middle:
            yield AudioChunk(sound[:middle])
        await faults.suffer("tts", fault, self.PATIENCE_S)
        if fault == "empty":
            return
        if fault == "garbage":
            # odd bytes alone are mended by the reader, so they are no error
            nonsense: Any = faults.dice.choice(
                (None, "text", b"\x00\x01", AudioChunk(b"\x01\x00" * 50, sample_rate=-5), 3.5)
            )
            yield nonsense
            return
        for at in range(middle, len(sound), self.CHUNK):
            yield AudioChunk(sound[at : at + self.CHUNK])
        yield AudioChunk(b"", is_final=True)


class FaultyAgent(AIProvider):
    """Answers in two sentences, or does not."""

    PATIENCE_S = 3.0
    supports_streaming = False

    def __init__(self, faults: Faults, name: str) -> None:
        self._faults = faults
        self.name = self.model_name = name
        self.asked: Counter[str] = Counter()
        """Calls by room, for finding out how far a question came."""

    async def generate_structured_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        faults = self._faults
        self.asked[context.room_id] += 1
        clean = not faults.on
        fault = faults.draw(
            "agent", "hang", "raise", "cancelled", "garbage", "slow", "empty", "huge"
        )
        if fault == "empty":
            faults.note("agent", fault)
            return
        if fault is not None and faults.dice.random() < 0.5:
            yield TextDelta("So far so good. ")
        await faults.suffer("agent", fault, self.PATIENCE_S)
        if fault == "garbage":
            nonsense: Any = faults.dice.choice((None, 7, b"bytes", {"text": 1}, object()))
            yield nonsense
            return
        if fault == "huge":
            yield TextDelta("and so on " * (HUGE // 10))
            return
        if clean:
            yield TextDelta(f"{PROBE}.")
            return
        for words in ("This is ", "the answer. ", "And there ", "is more to say about it."):
            await asyncio.sleep(0.02)
            yield TextDelta(words)


class FaultyTurnDetector(TurnDetector):
    """Called on a thread, so that a hang is a thread's."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._running = 0
        self.twice_at_once = 0
        """Calls while another one was not over, which the contract rules out."""

    @property
    def name(self) -> str:
        return "faulty turn detector"

    def evaluate(self, context: TurnContext) -> TurnDecision:
        self._running += 1
        self.twice_at_once += self._running > 1
        try:
            return self._evaluate()
        finally:
            self._running -= 1

    def _evaluate(self) -> TurnDecision:
        faults = self._faults
        fault = faults.draw("turn", "hang", "raise", "cancelled", "garbage", "slow", "empty")
        faults.note("turn", fault)
        match fault:
            case "hang":
                faults.over.wait(4)  # twice what is waited for
            case "raise":
                raise faults.error("turn detector")
            case "cancelled":
                raise asyncio.CancelledError
            case "slow":
                time.sleep(faults.dice.uniform(0.5, 1.8))
            case "garbage":
                nonsense: Any = faults.dice.choice((None, "yes", 1, True))
                return nonsense  # type: ignore[no-any-return]
            case "empty":
                return TurnDecision(False, suggested_wait_ms=faults.dice.choice((None, 300.0)))
        return TurnDecision(True)


class FaultyBackchannels(BackchannelDetector):
    """Runs between two frames: it cannot hang."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    @property
    def name(self) -> str:
        return "faulty backchannel detector"

    def classify(self, context: Any) -> BackchannelDecision:
        fault = self._faults.draw("backchannel", "raise", "cancelled", "garbage", "empty")
        self._faults.note("backchannel", fault)
        match fault:
            case "raise":
                raise self._faults.error("backchannel detector")
            case "cancelled":
                raise asyncio.CancelledError
            case "garbage":
                nonsense: Any = self._faults.dice.choice((None, "no", 0))
                return nonsense  # type: ignore[no-any-return]
            case "empty":
                return BackchannelDecision(True, confidence=float("nan"))
        return BackchannelDecision(False)


STAGE_RATE = 0.004
"""Share of the frames that a stage fails at."""


def stage_fault(faults: Faults, slot: str) -> Any:
    """None where the stage is to work, else the nonsense it gives; raises what it is to raise."""
    fault = faults.draw(slot, "raise", "cancelled", "garbage", rate=STAGE_RATE)
    faults.note(slot, fault)
    if fault == "raise":
        raise faults.error(slot)
    if fault == "cancelled":
        raise asyncio.CancelledError
    if fault == "garbage":
        return faults.dice.choice(("nonsense", 42, b"\x00" * 7, float("nan")))
    return None


class FaultyDenoiser(DenoiserProvider):
    """Passes everything on."""

    name = "faulty denoiser"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        nonsense = stage_fault(self._faults, "denoiser")
        return frame if nonsense is None else nonsense


class FaultyAEC(AECProvider):
    """Cancels nothing."""

    name = "faulty canceller"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        nonsense = stage_fault(self._faults, "aec")
        return frame if nonsense is None else nonsense

    def feed_reference(self, frame: AudioFrame, stream: str) -> None:
        if stage_fault(self._faults, "aec_reference") is not None:
            raise self._faults.error("aec_reference")


class FaultyDTMF(DTMFDetector):
    """Hears no key."""

    name = "faulty keys"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def process(self, frame: AudioFrame, stream: str) -> DTMFEvent | None:
        event: DTMFEvent | None = stage_fault(self._faults, "dtmf")
        return event


class FaultyDiarization(DiarizationProvider):
    """Knows nobody."""

    name = "faulty speakers"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def process(self, frame: AudioFrame, stream: str) -> DiarizationResult | None:
        result: DiarizationResult | None = stage_fault(self._faults, "diarization")
        return result


class FaultyRecorder(AudioRecorder):
    """Records nothing."""

    PATIENCE_S = 10.0
    name = "faulty recorder"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._made = 0

    def start(self, session: VoiceSession, config: RecordingConfig) -> RecordingHandle:
        fault = self._faults.draw("recorder", "raise")
        self._faults.note("recorder", fault)
        if fault == "raise":
            raise self._faults.error("recorder")
        self._made += 1
        return RecordingHandle(f"recording {self._made}", session.id)

    def stop(self, handle: RecordingHandle) -> RecordingResult:
        handle.state = "stopped"
        return RecordingResult(handle.id)

    async def finish(self, handle: RecordingHandle) -> RecordingResult:
        fault = self._faults.draw("recorder", "hang", "raise", "cancelled", "garbage", "slow")
        await self._faults.suffer("recorder", fault, self.PATIENCE_S)
        if fault == "garbage":
            nonsense: Any = self._faults.dice.choice((None, 3, "done"))
            return nonsense  # type: ignore[no-any-return]
        return self.stop(handle)

    def tap_inbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        if stage_fault(self._faults, "recorder_tap") is not None:
            raise self._faults.error("recorder_tap")

    def tap_outbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        if stage_fault(self._faults, "recorder_tap") is not None:
            raise self._faults.error("recorder_tap")


def faulty_hook(faults: Faults, patience: float) -> Any:
    """A hook that mostly allows."""

    async def hook(payload: Any, context: Any) -> Any:
        fault = faults.draw("hook", "hang", "raise", "cancelled", "garbage", "slow")
        await faults.suffer("hook", fault, patience)
        if fault == "garbage":
            return faults.dice.choice((7, "yes", HookResult.modify(object())))
        return HookResult.allow()

    return hook
