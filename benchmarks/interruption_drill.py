"""People talk over the agent, 200 times per strategy, in virtual time on the real detector.

    python benchmarks/interruption_drill.py [--count 200] [--noise-minutes 30] [--seed 1 2 3]
                                            [--strategy semantic ...] [--recognised 200] [--check]

A call with the built-in detector plays the agent's voice; sayings by five voices begin at random
moments. All that is random comes from the seed. Counted from the sample at which a saying begins:

- how long until the decision to cut, and from there until the last frame was sent;
- which ones were missed; whether recognition got every sample of each, as it was sent; how many it
  got in more than one turn, because the speaker paused (`split`, reported, not judged);
- of how many the built-in recogniser makes other words when it gets them as in a call, 20 ms at a
  time, than when it gets the same stretch of what was sent at once (`unlike`: our doing); and
  other words than of the saying in digital silence (`misheard`: what the room's noise around it
  does to this recogniser; reported, not judged);
- cuts while only noise, or only backchannels ("mm-hmm", "okay"), come in.

Every case that goes wrong is a line of its own: the saying, where it began, what recognition got.

--check fails where a limit is not kept: 60 ms from decision to silence, decision within 350 ms
(immediate) or `min_speech_ms` + 200 (confirmed), none missed, all whole, none unlike, none false.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field

import numpy as np

from salon.media import SAMPLE_RATE, Samples, make_codec
from salon.media.frame import FRAME_SAMPLES
from salon.models.speech import NO_HINTS, SpeechHints
from salon.testing import VirtualTimeLoop, scripted_engine
from salon.testing.speech import speak
from salon.voice.events import BargeIn, Final
from salon.voice.hearing import HearingConfig
from salon.voice.leg import SocketLeg
from salon.voice.playback import Playback, SoundTrack
from salon.voice.session import MediaSession
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.stt.pocketsphinx import PocketSphinxSpeechToText
from salon.voice.turns import InterruptionStrategy, TurnConfig
from salon.voice.vad.model import SileroModel

SAYINGS = (
    "wait a moment please",
    "no that is not what I meant",
    "stop",
    "I would like to speak to somebody else",
    "what are your opening hours",
    "can you repeat that",
    "hold on",
    "how much does it cost",
)
BACKCHANNELS = ("okay", "uh huh", "yeah", "right", "I see", "mm")
VOICES = (
    ("slt", "flite"),
    ("rms", "flite"),
    ("awb", "flite"),
    ("en-us", "espeak"),
    ("en-us+f3", "espeak"),
)
AGENT = (
    "Thank you for calling. Our shop is open from nine in the morning until six in the evening on "
    "every day but Sunday, and you can order by telephone, by letter or on our pages at any time."
)
SILENT_DB = 40.0
STRATEGIES = tuple(InterruptionStrategy)


@dataclass(slots=True)
class Saying:
    """What is said, from its first audible sample to its last."""

    text: str
    sound: Samples
    voice: str = ""

    @property
    def ms(self) -> int:
        return len(self.sound) // 16


@dataclass(slots=True)
class Heard:
    """What recognition got of one utterance, as a stretch of what was sent."""

    start: int
    end: int
    sound: Samples
    words: str


@dataclass(slots=True)
class Figures:
    """One strategy."""

    strategy: str
    seed: int
    count: int = 0
    missed: int = 0
    decision_ms: list[float] = field(default_factory=list)
    stop_ms: list[float] = field(default_factory=list)
    incomplete: int = 0
    split: int = 0
    unlike: int = 0
    misheard: int = 0
    noise_minutes: float = 0.0
    noise_cuts: int = 0
    backchannels: int = 0
    backchannel_cuts: int = 0
    backchannel_cuts_allowed: int = 0
    """Those that lasted `min_speech_ms`, where that is the rule."""
    cases: list[dict[str, object]] = field(default_factory=list)
    """What went wrong, one by one."""

    def note(self, fault: str, saying: Saying, case: Case) -> None:
        onset, heard = case.onset, case.heard
        self.cases.append(
            {
                "fault": fault,
                "case": case.number,
                "saying": saying.text,
                "voice": saying.voice,
                "saying_ms": saying.ms,
                "onset_ms": round(onset / 16, 1),
                "got": [
                    {
                        "from_ms": round((one.start - onset) / 16, 1),
                        "to_ms": round((one.end - onset) / 16, 1),
                        "words": one.words,
                    }
                    for one in heard
                ],
            }
        )


@dataclass(slots=True)
class Case:
    """One saying over the agent: the sample at which it began, and what recognition got."""

    number: int
    onset: int
    heard: list[Heard]


def trimmed(sound: Samples) -> Samples:
    """Without the silence around it."""
    loud = np.abs(sound.astype(np.int32)) > np.abs(sound).max() * 10 ** (-SILENT_DB / 20)
    where = np.flatnonzero(loud)
    return sound[where[0] : where[-1] + 1]


class Ears(SpeechToText):
    """Gives the words of what is being said as they are heard, and keeps the sound."""

    name = "drill"
    supports_partials = True

    def __init__(self) -> None:
        self.saying: Saying | None = None
        self.sent = 0
        """Samples of the caller so far."""
        self.heard: list[Heard] = []

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        return _Ear(self, on_partial)


class _Ear(Utterance):
    """Words come 100 ms after their end, spread evenly over the saying."""

    def __init__(self, ears: Ears, on_partial: OnPartial | None) -> None:
        self._ears = ears
        self._on_partial = on_partial
        self._chunks: list[Samples] = []
        self._told = 0
        self._end = 0

    def push(self, samples: Samples) -> None:
        self._chunks.append(samples.copy())
        self._end = self._ears.sent
        saying = self._ears.saying
        if saying is None or self._on_partial is None:
            return
        words = saying.text.split()
        passed = sum(len(chunk) for chunk in self._chunks) // 16 - 200 - 100
        known = min(len(words), int(passed / max(saying.ms, 1) * len(words)))
        if known > self._told:
            self._told = known
            self._on_partial(Transcription(" ".join(words[:known]), False))

    async def finish(self) -> Transcription:
        sound = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)
        saying = self._ears.saying
        words = saying.text if saying is not None else ""
        self._ears.heard.append(Heard(self._end - len(sound), self._end, sound, words))
        return Transcription(words, True, 1.0)

    def cancel(self) -> None:
        self._chunks.clear()


class Call:
    """A caller at a session that plays the agent's voice."""

    def __init__(self, engine, ears: Ears, config: TurnConfig, agent: Samples) -> None:
        self.ears = ears
        self.clock = engine.clock
        self.agent = agent
        self.last_frame = -1.0
        self.frames = 0
        self.cuts: list[float] = []
        self.finals: list[str] = []
        self.leg = SocketLeg(make_codec("pcm"), self._sent)
        self.session = MediaSession("drill", engine, leg=self.leg)
        self.session.listen(HearingConfig(turns=config, recognizer=ears))
        self.reader = asyncio.ensure_future(self._read())
        self.record: list[Samples] = []

    def _sent(self, _packet: bytes) -> None:
        self.last_frame = self.clock.monotonic()
        self.frames += 1

    async def _read(self) -> None:
        async for event in self.session.events:
            if isinstance(event, BargeIn):
                self.cuts.append(self.clock.monotonic())
            elif isinstance(event, Final):
                self.finals.append(event.text)

    def play(self) -> None:
        self.session.play(Playback(SoundTrack(self.agent), "agent"))

    async def say(self, sound: Samples) -> None:
        """Send sound in real (virtual) time, whole frames."""
        for at in range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            frame = sound[at : at + FRAME_SAMPLES]
            self.record.append(frame)
            self.ears.sent += FRAME_SAMPLES
            self.leg.receive(frame.tobytes())
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.session.close()
        await self.reader


def background(samples: int, rng: random.Random) -> Samples:
    """A quiet room, about -66 dBFS."""
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 16, samples)
    return noise.astype(np.int16)


def frames(ms: int) -> int:
    return ms * 16 // FRAME_SAMPLES * FRAME_SAMPLES


async def barge_in(call: Call, saying: Saying, rng: random.Random, figures: Figures) -> Case:
    """One saying over the agent."""
    call.play()
    call.ears.saying = saying
    call.cuts.clear()
    call.ears.heard.clear()
    before = frames(rng.randrange(400, 2400))
    shift = rng.randrange(FRAME_SAMPLES)
    total = before + shift + len(saying.sound) + frames(1200)
    total += -total % FRAME_SAMPLES
    sound = background(total, rng)
    onset = before + shift
    sound[onset : onset + len(saying.sound)] = saying.sound
    began = call.clock.monotonic() + onset / SAMPLE_RATE
    base = call.ears.sent
    await call.say(sound)
    figures.count += 1
    cut = next((at for at in call.cuts if at >= began - 0.001), None)
    if call.session.player.current is not None:
        call.session.interrupt()
    await call.say(background(frames(rng.randrange(300, 900)), rng))
    case = Case(figures.count, base + onset, list(call.ears.heard))
    if cut is None:
        figures.missed += 1
        figures.note("missed", saying, case)
    else:
        figures.decision_ms.append((cut - began) * 1000)
        figures.stop_ms.append(max(0.0, (call.last_frame + 0.02 - cut) * 1000))
    return case


def whole(call: Call, saying: Saying, case: Case) -> bool:
    """Whether recognition got every sample of the saying, as it was sent."""
    sent = np.concatenate(call.record)
    first = call.ears.sent - len(sent)
    reached = case.onset
    for one in sorted(case.heard, key=lambda one: one.start):
        if not np.array_equal(sent[one.start - first : one.end - first], one.sound):
            return False
        if one.start <= reached:
            reached = max(reached, one.end)
    return reached >= case.onset + len(saying.sound)


async def drill(
    strategy: InterruptionStrategy, seed: int, args: argparse.Namespace, model: SileroModel
) -> tuple[Figures, list[tuple[Saying, Case]]]:
    rng = random.Random(f"{seed}{strategy}")
    figures = Figures(str(strategy), seed)
    agent = speak(AGENT, "kal16")
    sayings = [
        Saying(text, trimmed(speak(text, voice, engine)), voice)
        for text in SAYINGS
        for voice, engine in VOICES
    ]
    ears = Ears()
    kept: list[tuple[Saying, Case]] = []
    config = TurnConfig(strategy=strategy)
    async with scripted_engine(recognizer=ears, vad=model) as engine:
        call = Call(engine, ears, config, agent)
        await call.say(background(frames(1000), rng))
        for _ in range(args.count):
            saying = rng.choice(sayings)
            case = await barge_in(call, saying, rng, figures)
            if not whole(call, saying, case):
                figures.incomplete += 1
                figures.note("incomplete", saying, case)
            elif len(case.heard) > 1:
                figures.split += 1
                figures.note("split", saying, case)
            else:
                kept.append((saying, case))
            call.record = call.record[-400:]
        if strategy is not InterruptionStrategy.DISABLED:
            await backchannels(call, rng, figures, config)
        await noise(call, rng, figures, args.noise_minutes)
        await call.close()
    return figures, kept


async def backchannels(
    call: Call, rng: random.Random, figures: Figures, config: TurnConfig
) -> None:
    """Each backchannel by each voice, over the agent."""
    for text in BACKCHANNELS:
        for voice, engine in VOICES:
            said = Saying(text, trimmed(speak(text, voice, engine)), voice)
            counted = Figures("backchannel", figures.seed)
            case = await barge_in(call, said, rng, counted)
            figures.backchannels += 1
            if counted.missed:
                continue
            figures.backchannel_cuts += 1
            if config.strategy is InterruptionStrategy.IMMEDIATE or (
                config.strategy is InterruptionStrategy.CONFIRMED
                and said.ms + 150 >= config.min_speech_ms
            ):
                figures.backchannel_cuts_allowed += 1
            else:
                figures.note("cut by a backchannel", said, case)


async def noise(call: Call, rng: random.Random, figures: Figures, minutes: float) -> None:
    """White, pink and brown noise from -50 to -14 dBFS, and clicks, while the agent speaks."""
    call.ears.saying = None
    seconds = 0.0
    kinds = ("white", "pink", "brown", "clicks")
    while seconds < minutes * 60:
        kind = rng.choice(kinds)
        level = rng.uniform(-50, -14)
        sound = noisy(kind, level, rng)
        if call.session.player.current is None:
            call.play()
        call.cuts.clear()
        await call.say(sound)
        figures.noise_cuts += len(call.cuts)
        seconds += len(sound) / SAMPLE_RATE
    figures.noise_minutes = round(seconds / 60, 1)
    call.session.interrupt()


def noisy(kind: str, level_db: float, rng: random.Random) -> Samples:
    """Five seconds of noise."""
    count = frames(5000)
    state = np.random.default_rng(rng.randrange(1 << 30))
    if kind == "clicks":
        sound = state.normal(0, 16, count)
        for _ in range(30):
            at = state.integers(0, count - 400)
            sound[at : at + 300] += state.normal(0, 1, 300) * np.exp(-np.arange(300) / 60) * 12000
        return np.clip(sound, -32768, 32767).astype(np.int16)
    exponent = {"white": 0.0, "pink": 1.0, "brown": 2.0}[kind]
    return colored(count, exponent, level_db, state)


def colored(count: int, exponent: float, level_db: float, state: np.random.Generator) -> Samples:
    """Noise whose power falls with the frequency to this exponent."""
    spectrum = np.fft.rfft(state.normal(size=count))
    hertz = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 20)
    sound = np.fft.irfft(spectrum / hertz ** (exponent / 2), count)
    sound *= 32768 * 10 ** (level_db / 20) / np.sqrt(np.mean(sound**2))
    return np.clip(sound, -32768, 32767).astype(np.int16)


async def recognise(kept: list[tuple[Saying, Case]], figures: Figures) -> None:
    """What the built-in recogniser makes of what it got: as in a call, of the same sound at once,
    and of the saying in digital silence."""
    if not kept:
        return
    engine = PocketSphinxSpeechToText()
    await engine.start()
    hints = SpeechHints(phrases=SAYINGS)
    await engine.prepare(hints)
    alone: dict[int, str] = {}
    pad = np.zeros(3200, np.int16)
    try:
        for saying, case in kept:
            if id(saying) not in alone:
                quiet = np.concatenate((pad, saying.sound, pad))
                alone[id(saying)] = await text_of(engine, hints, quiet)
            (one,) = case.heard
            at_once = await text_of(engine, hints, one.sound)
            one.words = await text_of(engine, hints, one.sound, FRAME_SAMPLES)
            if one.words != at_once:
                figures.unlike += 1
                figures.note(f"unlike {at_once!r}", saying, case)
            if one.words != alone[id(saying)]:
                figures.misheard += 1
                figures.note(f"misheard, alone {alone[id(saying)]!r}", saying, case)
    finally:
        await engine.close()


async def text_of(
    engine: SpeechToText, hints: SpeechHints, sound: Samples, piece: int = 1 << 30
) -> str:
    utterance = engine.recognize(hints)
    for at in range(0, len(sound), piece):
        utterance.push(sound[at : at + piece])
        if piece < len(sound):
            await asyncio.sleep(0)
    return (await utterance.finish()).text


def percentile(values: list[float], part: float) -> float:
    return round(float(np.percentile(values, part)), 1) if values else 0.0


def faults(figures: Figures, config: TurnConfig) -> list[str]:
    """The limits that were not kept."""
    found = []
    disabled = figures.strategy == InterruptionStrategy.DISABLED
    if disabled and figures.missed != figures.count:
        found.append("the agent was cut though nobody may")
    if not disabled and figures.missed:
        found.append(f"{figures.missed} missed")
    limit = {
        InterruptionStrategy.IMMEDIATE: 350,
        InterruptionStrategy.CONFIRMED: config.min_speech_ms + 200,
    }.get(InterruptionStrategy(figures.strategy))
    if limit is not None and figures.decision_ms and max(figures.decision_ms) > limit:
        found.append(f"decision after {max(figures.decision_ms):.0f} ms, limit {limit}")
    if figures.stop_ms and max(figures.stop_ms) > 60:
        found.append(f"silent {max(figures.stop_ms):.0f} ms after the decision")
    if figures.incomplete:
        found.append(f"{figures.incomplete} incomplete")
    if figures.unlike:
        found.append(f"{figures.unlike} recognised otherwise than the same sound at once")
    if figures.noise_cuts:
        found.append(f"{figures.noise_cuts} cuts by noise")
    if figures.backchannel_cuts > figures.backchannel_cuts_allowed:
        found.append(f"{figures.backchannel_cuts} cuts by backchannels")
    return found


def run(
    strategy: InterruptionStrategy, seed: int, args: argparse.Namespace, model: SileroModel
) -> bool:
    """Print what went wrong, then the figures. Returns whether a limit was not kept."""
    began = time.process_time()
    loop = VirtualTimeLoop()
    try:
        figures, kept = loop.run_until_complete(drill(strategy, seed, args, model))
    finally:
        loop.close()
    asyncio.run(recognise(kept[: args.recognised], figures))
    row = asdict(figures)
    missing = "missed" if strategy is InterruptionStrategy.DISABLED else ""
    for case in row.pop("cases"):
        if case["fault"] != missing:  # there all are, as they should be
            print(json.dumps({"strategy": strategy, "seed": seed, **case}), flush=True)
    for name in ("decision_ms", "stop_ms"):
        values = row.pop(name)
        row |= {f"{name}_{p}": percentile(values, p) for p in (50, 95, 100)}
    row["cpu_s"] = round(time.process_time() - began, 1)
    row["faults"] = wrong = faults(figures, TurnConfig(strategy=strategy))
    print(json.dumps(row), flush=True)
    return bool(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--noise-minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--strategy", nargs="+", choices=[*map(str, STRATEGIES)])
    parser.add_argument("--recognised", type=int, help="of how many the words are compared")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    model = SileroModel.load()
    failed = False
    for strategy in map(InterruptionStrategy, args.strategy or STRATEGIES):
        for seed in args.seed:
            failed = run(strategy, seed, args, model) or failed
    return 1 if failed and args.check else 0


if __name__ == "__main__":
    sys.exit(main())
