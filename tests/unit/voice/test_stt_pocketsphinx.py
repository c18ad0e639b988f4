"""Recognition with PocketSphinx: what is understood, and what happens when workers fail."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from salon.base import ConfigurationError, MissingExtraError
from salon.base.clock import SystemClock
from salon.media import SAMPLE_RATE, Samples, add_noise_at_snr, read_wav, resample
from salon.models.speech import SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.stt import PocketSphinxSpeechToText

HAS_FLITE = shutil.which("flite") is not None


@functools.cache
def speak(text: str, voice: str = "slt") -> Samples:
    """`text` with 0.2 s of quiet around it, ``int16[n]`` 16 kHz."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", path], check=True, timeout=30)
        samples, rate = read_wav(path)
    if rate != SAMPLE_RATE:
        samples = resample(samples, rate, SAMPLE_RATE)
    quiet = np.zeros(SAMPLE_RATE // 5, dtype=np.int16)
    whole = np.concatenate((quiet, samples, quiet))
    return add_noise_at_snr(whole, 20, np.random.default_rng(1))


def word_errors(expected: str, heard: str) -> int:
    """The edit distance in words."""
    row = list(range(len(heard.split()) + 1))
    for i, want in enumerate(expected.split(), 1):
        before, row[0] = row[:], i
        for j, got in enumerate(heard.split(), 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (want != got))
    return row[-1]


needs_engine = pytest.mark.skipif(
    not HAS_FLITE or importlib.util.find_spec("pocketsphinx") is None,
    reason="flite or pocketsphinx is not installed",
)
SENTENCES = (
    "what are your opening hours",
    "book a table for four on friday at seven",
    "how do i build an agent",
    "repeat that please",
)
OFF_TOPIC = (
    "the weather in norway is cold in winter",
    "my grandmother has two grey cats",
    "the baby was crying all night long",
)
HINTS = SpeechHints(SENTENCES)
QUIET = np.zeros(1600, dtype=np.int16)
LIMIT = 20.0


class HastyClock(SystemClock):
    """Sleeps are noted, not slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest_asyncio.fixture
async def engine(clock: HastyClock) -> AsyncIterator[PocketSphinxSpeechToText]:
    made = PocketSphinxSpeechToText(1, clock=clock, wait_seconds=5, finish_seconds=10)
    await made.start()
    yield made
    await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0)


async def hear(
    engine: PocketSphinxSpeechToText, text: str, voice: str = "slt"
) -> tuple[str, float, list[str]]:
    partials: list[str] = []
    utterance = engine.recognize(HINTS, on_partial=lambda result: partials.append(result.text))
    sound = speak(text, voice)
    for at in range(0, len(sound), 1600):
        utterance.push(sound[at : at + 1600])
    async with asyncio.timeout(LIMIT):
        result = await utterance.finish()
    assert result.confidence is not None
    return result.text, result.confidence, partials


def test_word_errors_count_edits() -> None:
    assert word_errors("a b c", "a x c d") == 2
    assert word_errors("a b", "") == 2


@needs_engine
async def test_phrases_of_the_hints_are_understood(engine: PocketSphinxSpeechToText) -> None:
    errors = words = 0
    for voice in ("slt", "rms"):
        for text in SENTENCES:
            heard, _, _ = await hear(engine, text, voice)
            errors += word_errors(text, heard)
            words += len(text.split())
    assert errors / words <= 0.2


@needs_engine
async def test_off_topic_speech_is_not_forced_into_a_phrase(
    engine: PocketSphinxSpeechToText,
) -> None:
    for text in OFF_TOPIC:
        heard, confidence, _ = await hear(engine, text)
        best = min(word_errors(phrase, heard) / len(phrase.split()) for phrase in SENTENCES)
        assert best > 0.5, (text, heard)
        assert confidence < 0.7


@needs_engine
async def test_partials_come_while_the_person_speaks(engine: PocketSphinxSpeechToText) -> None:
    await engine.prepare(HINTS)
    arrived = asyncio.Event()
    utterance = engine.recognize(HINTS, on_partial=lambda _: arrived.set())
    sound = speak(SENTENCES[1])
    for at in range(0, len(sound), 3200):
        utterance.push(sound[at : at + 3200])
        await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        await arrived.wait()
    utterance.cancel()


@needs_engine
async def test_equal_sound_gives_equal_text(engine: PocketSphinxSpeechToText) -> None:
    first = await hear(engine, SENTENCES[0])
    await hear(engine, OFF_TOPIC[0], "kal")
    assert (await hear(engine, SENTENCES[0]))[:2] == first[:2]


@needs_engine
async def test_without_phrases_the_carried_model_is_used(
    engine: PocketSphinxSpeechToText,
) -> None:
    utterance = engine.recognize()
    utterance.push(speak(SENTENCES[0]))
    async with asyncio.timeout(LIMIT):
        assert (await utterance.finish()).text


@needs_engine
async def test_cancel_frees_the_worker_for_who_waits(engine: PocketSphinxSpeechToText) -> None:
    first = engine.recognize(HINTS)
    second = engine.recognize(HINTS)
    for _ in range(50):
        first.push(np.zeros(16_000, dtype=np.int16))
    second.push(speak(SENTENCES[3]))
    await until(lambda: engine.statistics().waiting == 1)
    async with asyncio.timeout(LIMIT):
        first.cancel()
        assert (await second.finish()).text == SENTENCES[3]
    assert second.decoder_wait_ms > 0
    assert (engine.statistics().borrowed, engine.statistics().waiting) == (0, 0)


@needs_engine
async def test_cancelling_the_wait_for_the_text_cancels_the_utterance(
    engine: PocketSphinxSpeechToText,
) -> None:
    utterance = engine.recognize(HINTS)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await utterance.finish()
    with pytest.raises(SpeechError, match="given up"):
        await utterance.finish()
    assert engine.statistics().borrowed == 0


@needs_engine
async def test_waiting_for_a_decoder_is_bounded_in_time(clock: HastyClock) -> None:
    engine = PocketSphinxSpeechToText(1, clock=clock, wait_seconds=0.05)
    await engine.start()
    first = engine.recognize(HINTS)
    first.push(QUIET)
    with pytest.raises(SpeechError, match=r"no decoder was free within 0.05 s"):
        await engine.recognize(HINTS).finish()
    assert engine.statistics().timeouts == 1
    assert engine.statistics().waiting == 0
    first.cancel()
    await engine.close()


@needs_engine
@pytest.mark.parametrize("busy", [True, False])
async def test_a_worker_that_dies_is_replaced_after_a_pause(
    engine: PocketSphinxSpeechToText, clock: HastyClock, busy: bool
) -> None:
    await engine.prepare(HINTS)
    (pid,) = engine.pool.pids
    if busy:
        utterance = engine.recognize(HINTS)
        utterance.push(QUIET)
        await until(lambda: engine.statistics().borrowed == 1)
    os.kill(pid, signal.SIGKILL)
    if busy:
        async with asyncio.timeout(LIMIT):
            with pytest.raises(SpeechError, match="ended with -9"):
                await utterance.finish()
    else:
        await until(lambda: pid not in engine.pool.pids)
    assert (await hear(engine, SENTENCES[3]))[0] == SENTENCES[3]
    assert clock.slept == [0.1]
    assert engine.statistics().restarts == 1
    assert pid not in engine.pool.pids


@needs_engine
async def test_a_worker_that_hangs_is_ended(clock: HastyClock) -> None:
    engine = PocketSphinxSpeechToText(1, clock=clock, finish_seconds=0.1)
    await engine.start()
    (pid,) = engine.pool.pids
    os.kill(pid, signal.SIGSTOP)
    utterance = engine.recognize(HINTS)
    utterance.push(QUIET)
    with pytest.raises(SpeechError, match="does not answer"):
        await utterance.finish()
    await engine.close()


@needs_engine
@pytest.mark.parametrize("module", ["this", "salon.no_such_module"])
async def test_a_worker_that_never_works_is_tried_again_ever_later(
    clock: HastyClock, module: str
) -> None:
    engine = PocketSphinxSpeechToText(1, clock=clock, wait_seconds=5, worker_module=module)
    await engine.start()
    await until(lambda: len(clock.slept) >= 4)
    await engine.close()
    assert clock.slept[:4] == [0.1, 0.5, 2.0, 5.0]


@needs_engine
async def test_a_key_from_outside_never_becomes_a_path(engine: PocketSphinxSpeechToText) -> None:
    hints = SpeechHints(SENTENCES, key="../../../etc/hostile")
    await engine.prepare(hints)
    name = await engine.pool.model(hints)
    assert name.isalnum()


@needs_engine
async def test_phrases_without_words_fail_no_other_utterance(
    engine: PocketSphinxSpeechToText,
) -> None:
    await engine.prepare(SpeechHints(("42",)))
    assert (await hear(engine, SENTENCES[3]))[0] == SENTENCES[3]


@needs_engine
async def test_close_leaves_neither_process_nor_file(clock: HastyClock) -> None:
    engine = PocketSphinxSpeechToText(2, clock=clock)
    await engine.start()
    await engine.prepare(HINTS)
    pids, directory = engine.pool.pids, engine.pool.directory
    assert len(pids) == 2
    assert directory is not None
    assert sorted(path.suffix for path in directory.iterdir()) == [
        ".dict",
        ".json",
        ".json",
        ".lm",
    ]
    await engine.close()
    assert not directory.exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@needs_engine
@pytest.mark.parametrize("language", ["en", "en-US", "en_GB", "auto", None])
async def test_english_is_taken(engine: PocketSphinxSpeechToText, language: str | None) -> None:
    engine.recognize(HINTS, language=language).cancel()


@needs_engine
async def test_other_languages_are_refused(engine: PocketSphinxSpeechToText) -> None:
    with pytest.raises(ConfigurationError, match="'de'"):
        engine.recognize(HINTS, language="de")
    with pytest.raises(ConfigurationError, match="'fr'"):
        await engine.prepare(SpeechHints(("bonjour",), language="fr"))


async def test_missing_pocketsphinx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        await PocketSphinxSpeechToText().start()
    assert caught.value.extra == "recognition"


def test_at_least_one_worker_is_demanded() -> None:
    with pytest.raises(ConfigurationError, match="workers is 0"):
        PocketSphinxSpeechToText(0)
