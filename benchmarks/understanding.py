"""How often the house agent understands what was said, through the real recogniser.

    python benchmarks/understanding.py [--corpus sayings.tsv] [--voices slt rms awb] [--snr 20]
        [--limit n] [--workers 2] [--misses] [--json]

The corpus has a line ``intent<TAB>utterance`` for each saying (``off_topic`` for what belongs to
none), or, as TOML, an array of sayings under the name of each intent. ``inform@time`` is said in a
booking that has just asked for the time (party, day, time, name, confirm); there, any reading that
fills in, corrects or refuses counts as its kin. The corpus that comes with it holds no sentence of
the agent's file. Voices are Flite's; eSpeak's
are written ``espeak:en-us``. White noise is added at `--snr` dB. Right means the saying's intent
was answered; of an off-topic saying, wrong means that any was. ``right as typed`` is the same
without the recogniser in between.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from salon.core.ports.ai import AIMessage
from salon.media import SAMPLE_RATE
from salon.models.speech import SpeechHints
from salon.providers.house import HouseAgent
from salon.testing.speech import speak
from salon.voice.stt import PocketSphinxSpeechToText, SpeechToText

OFF_TOPIC = "off_topic"
CORPUS = Path(__file__).with_suffix(".tsv")
_BOOKING = {"party": "4", "day": "Friday", "time": "19:00"}
_ASKED = {"party": 0, "day": 1, "time": 2, "name": 3, "confirm": 3}
_KIN = (
    {"inform", "book"},
    {"inform", "change"},
    {"deny", "change"},
    {"book", "change"},
)
"""Intents that do the same inside a booking."""
FRAME = SAMPLE_RATE // 50


@dataclass(frozen=True, slots=True)
class Trial:
    """One saying in one voice: what was wanted, heard and understood."""

    voice: str
    wanted: str
    said: str
    heard: str
    confidence: float | None
    intent: str
    understanding_ms: float

    @property
    def right(self) -> bool:
        """The wanted intent; for an off-topic saying, none."""
        wanted, _, asked = self.wanted.partition("@")
        return self.intent == wanted or (bool(asked) and {self.intent, wanted} in _KIN)


def read_corpus(path: Path) -> list[tuple[str, str]]:
    """Pairs of intent and saying."""
    if path.suffix == ".toml":
        tables: dict[str, list[str]] = tomllib.loads(path.read_text("utf-8"))
        return [(intent, said) for intent, sayings in tables.items() for said in sayings]
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.partition("\t") for line in lines if line and not line.startswith("#"))
    return [(intent.strip(), said.strip()) for intent, _, said in pairs]


def answered(agent: HouseAgent, wanted: str, text: str, confidence: float | None) -> str:
    """The intent answered, `OFF_TOPIC` for none; `wanted` says what had been asked, if anything."""
    asked = wanted.partition("@")[2]
    before: tuple[AIMessage, ...] = ()
    if asked:
        known = dict(list(_BOOKING.items())[: _ASKED[asked]])
        state = {"topic": "booking", "asked": asked, "booking": known}
        before = (AIMessage("assistant", "Yes?", metadata={"dialogue": state}),)
    metadata = {} if confidence is None else {"spoken": True, "confidence": confidence}
    reply = agent.answer((*before, AIMessage("user", text, metadata=metadata)))
    return (reply.intent if reply else None) or OFF_TOPIC


async def listen(
    engine: SpeechToText, hints: SpeechHints, voice: str, said: str, snr: float
) -> tuple[str, float | None]:
    """What the recogniser makes of `said`, and how sure it is."""
    kind, _, name = voice.rpartition(":")
    which: Literal["flite", "espeak"] = "espeak" if kind == "espeak" else "flite"
    sound = await asyncio.to_thread(speak, said, name, which, noise_db=snr)
    utterance = engine.recognize(hints)
    for start in range(0, len(sound), FRAME):
        utterance.push(sound[start : start + FRAME])
    result = await utterance.finish()
    return result.text, result.confidence


async def run(
    corpus: Sequence[tuple[str, str]], voices: Sequence[str], snr: float, workers: int
) -> list[Trial]:
    """Every saying in every voice."""
    agent = HouseAgent.load()
    hints = agent.speech_hints()
    engine = PocketSphinxSpeechToText(workers)
    await engine.start()
    places = asyncio.Semaphore(workers)

    async def trial(voice: str, wanted: str, said: str) -> Trial:
        async with places:
            heard, confidence = await listen(engine, hints, voice, said, snr)
        started = time.process_time()
        intent = answered(agent, wanted, heard, confidence)
        took = (time.process_time() - started) * 1000
        return Trial(voice, wanted, said, heard, confidence, intent, round(took, 2))

    try:
        await engine.prepare(hints)
        jobs = [trial(voice, *pair) for voice in voices for pair in corpus]
        return list(await asyncio.gather(*jobs))
    finally:
        await engine.close()


def share(trials: Iterable[Trial]) -> dict[str, Any]:
    """Right and wrong answers in percent, for what is ours and for what is not."""
    ours: list[Trial] = []
    others: list[Trial] = []
    for trial in trials:
        (others if trial.wanted == OFF_TOPIC else ours).append(trial)
    count = len(ours) or 1
    return {
        "sayings": len(ours),
        "right": round(100 * sum(t.right for t in ours) / count, 1),
        "wrong": round(100 * sum(not t.right and t.intent != OFF_TOPIC for t in ours) / count, 1),
        "off_topic": len(others),
        "off_topic_wrong": round(100 * sum(not t.right for t in others) / (len(others) or 1), 1),
    }


def report(corpus: Sequence[tuple[str, str]], trials: Sequence[Trial]) -> dict[str, Any]:
    """All figures."""
    agent = HouseAgent.load()
    typed = [Trial("", w, s, s, None, answered(agent, w, s, None), 0.0) for w, s in corpus]
    intents = Counter((t.wanted, t.right) for t in trials)
    times = [t.understanding_ms for t in trials]
    return {
        "all": share(trials),
        "voices": {v: share(t for t in trials if t.voice == v) for v in _once(trials, "voice")},
        "intents": {
            name: {"right": intents[name, True], "wrong": intents[name, False]}
            for name in sorted(_once(trials, "wanted"))
        },
        "typed": share(typed),
        "understanding_cpu_ms": {
            "p50": round(statistics.median(times), 2),
            "max": max(times),
        },
    }


def _once(trials: Iterable[Trial], name: str) -> list[str]:
    return list(dict.fromkeys(getattr(trial, name) for trial in trials))


def _print(figures: dict[str, Any], trials: Sequence[Trial], *, misses: bool) -> None:
    lines = {"all": figures["all"], **figures["voices"], "as typed": figures["typed"]}
    for name, f in lines.items():
        print(
            f"{name:18s} right {f['right']:5.1f} %  wrong intent {f['wrong']:5.1f} %  of"
            f" {f['sayings']:4d}; off-topic wrong {f['off_topic_wrong']:5.1f} % of {f['off_topic']}"
        )
    spent = figures["understanding_cpu_ms"]
    print(f"understanding, CPU: p50 {spent['p50']} ms, most {spent['max']} ms")
    for name, f in figures["intents"].items():
        print(f"  {name:18s} right {f['right']:4d}  not {f['wrong']:4d}")
    for t in trials if misses else ():
        if not t.right:
            print(f"{t.voice}  {t.wanted}: {t.said!r} -> {t.intent}: {t.heard!r} {t.confidence}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--voices", nargs="+", default=["slt", "rms", "awb", "kal16"])
    parser.add_argument("--snr", type=float, default=20.0, help="signal-to-noise ratio in dB")
    parser.add_argument("--limit", type=int, help="only this many sayings, spread over the corpus")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--misses", action="store_true", help="list what was not right")
    parser.add_argument("--json", action="store_true", help="figures and all trials as JSON")
    given = parser.parse_args(arguments)
    corpus = read_corpus(given.corpus)
    if given.limit and given.limit < len(corpus):
        corpus = [corpus[n * len(corpus) // given.limit] for n in range(given.limit)]
    trials = asyncio.run(run(corpus, given.voices, given.snr, given.workers))
    figures = report(corpus, trials)
    if given.json:
        figures["trials"] = [asdict(trial) for trial in trials]
        print(json.dumps(figures, indent=1))
    else:
        _print(figures, trials, misses=given.misses)
    return 0


if __name__ == "__main__":
    sys.exit(main())
