"""How well the house agent understands speech that its grammar was not written for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pytest
from tests.integration.understanding_sayings import OFF_TOPIC, ON_TOPIC, Saying

from salon.core.ports.ai import AIMessage
from salon.media import SAMPLE_RATE
from salon.models.speech import SpeechHints
from salon.providers.house import HouseAgent
from salon.providers.house.definition import House, load
from salon.testing.speech import speak
from salon.voice.stt import PocketSphinxSpeechToText

SNR_DB: Final = 20.0
WORKERS: Final = 2
FRAME: Final = SAMPLE_RATE // 50
REJECTED: Final = "off_topic"
RETRIEVAL: Final = "(looked up)"

Voice = tuple[Literal["flite", "espeak"], str]
SLT: Final[Voice] = ("flite", "slt")
RMS: Final[Voice] = ("flite", "rms")
KAL: Final[Voice] = ("flite", "kal")
BRITISH: Final[Voice] = ("espeak", "en+f2")
AMERICAN: Final[Voice] = ("espeak", "en-us+m3")
PAIRS: Final = ((KAL, SLT), (BRITISH, RMS), (AMERICAN, SLT), (KAL, RMS), (BRITISH, AMERICAN))
"""Each saying is spoken by one pair in turn. `SLT` and `RMS` are known to those who wrote the
grammar, the others are not; each pair has one of these."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One saying in one voice, what was heard and which intent answered."""

    said: Saying
    voice: Voice
    heard: str
    confidence: float | None
    intent: str

    @property
    def right(self) -> bool:
        return self.intent in (self.said.intents or {REJECTED})


def answered(agent: HouseAgent, house: House, said: Saying, heard: str, sure: float | None) -> str:
    """The intent of the answer; `REJECTED` only if it says that nothing was understood."""
    before: tuple[AIMessage, ...] = ()
    if said.dialogue:
        before = (AIMessage("assistant", "Yes?", metadata={"dialogue": dict(said.dialogue)}),)
    metadata = {"spoken": True} | ({} if sure is None else {"confidence": sure})
    reply = agent.answer((*before, AIMessage("user", heard, metadata=metadata)))
    if reply is None:
        return REJECTED
    if reply.intent is None and not said.dialogue and reply.text not in house.unclear:
        return RETRIEVAL
    return reply.intent or REJECTED


async def listen(
    engine: PocketSphinxSpeechToText, hints: SpeechHints, voice: Voice, text: str
) -> tuple[str, float | None]:
    kind, name = voice
    sound = await asyncio.to_thread(speak, text, name, kind, noise_db=SNR_DB)
    assert sound.any(), f"{name} is silent"
    utterance = engine.recognize(hints)
    for start in range(0, len(sound), FRAME):
        utterance.push(sound[start : start + FRAME])
    result = await utterance.finish()
    return result.text, result.confidence


async def spoken(sayings: Sequence[Saying]) -> list[Trial]:
    """Every saying in the two voices whose turn it is."""
    house = load()
    agent = HouseAgent(house)
    hints = agent.speech_hints()
    engine = PocketSphinxSpeechToText(WORKERS)
    places = asyncio.Semaphore(WORKERS)

    async def trial(said: Saying, voice: Voice) -> Trial:
        async with places:
            heard, sure = await listen(engine, hints, voice, said.text)
        return Trial(said, voice, heard, sure, answered(agent, house, said, heard, sure))

    await engine.start()
    try:
        await engine.prepare(hints)
        jobs = [trial(s, v) for n, s in enumerate(sayings) for v in PAIRS[n % len(PAIRS)]]
        return list(await asyncio.gather(*jobs))
    finally:
        await engine.close()


def table(trials: Sequence[Trial]) -> str:
    """The figures by voice and intent, then the misses."""
    ours = [t for t in trials if t.said.intents]
    others = [t for t in trials if not t.said.intents]
    lines = [_share("on topic", ours), _share("off topic", others)]
    lines += _grouped("on topic, ", ours, lambda t: t.voice[1])
    lines += _grouped("off topic, ", others, lambda t: t.voice[1])
    lines += _grouped("", ours, lambda t: _wanted(t.said))
    for t in trials:
        if not t.right:
            sure = "-" if t.confidence is None else f"{t.confidence:.2f}"
            wanted = _wanted(t.said)
            lines.append(f"{wanted:24} {t.voice[1]:10} {t.intent:16} {sure:5} {t.heard!r}")
    return "\n".join(lines)


def _wanted(said: Saying) -> str:
    names = "|".join(sorted(said.intents)) or REJECTED
    return f"{names}@{said.dialogue['asked']}" if said.dialogue else names


def _share(name: str, trials: Sequence[Trial]) -> str:
    right = sum(t.right for t in trials)
    return f"{name:32} {right:3} of {len(trials):3} right, {100 * right / len(trials):5.1f} %"


def _grouped(lead: str, trials: Iterable[Trial], key: Callable[[Trial], str]) -> list[str]:
    groups: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[key(trial)].append(trial)
    return [_share(lead + name, groups[name]) for name in sorted(groups)]


def test_the_set_is_broad_and_names_intents_that_exist() -> None:
    wanted = {name for said in ON_TOPIC for name in said.intents}
    assert wanted <= set(load().intents)
    assert len(wanted) >= 12
    assert len({said.text for said in ON_TOPIC}) == len(ON_TOPIC) >= 48
    assert len({said.text for said in OFF_TOPIC}) == len(OFF_TOPIC) >= 24
    assert all(2 <= len(said.text.split()) <= 12 for said in (*ON_TOPIC, *OFF_TOPIC))
    assert not any(said.intents for said in OFF_TOPIC)


@pytest.mark.slow
async def test_speech_is_understood_and_what_is_not_ours_is_left_alone() -> None:
    trials = await spoken((*ON_TOPIC, *OFF_TOPIC))
    figures = table(trials)
    print(f"\n{figures}")
    ours = [t.right for t in trials if t.said.intents]
    others = [t.right for t in trials if not t.said.intents]
    assert sum(ours) >= 0.8 * len(ours), figures
    assert others.count(False) <= 0.1 * len(others), figures
