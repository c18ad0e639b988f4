"""What is particular to eSpeak NG, Flite and the mock."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.test_tts_contract import Spoken, speak

from salon.base import Clock, ConfigurationError, MissingExtraError
from salon.voice.errors import SpeechError
from salon.voice.tts import (
    EspeakTextToSpeech,
    FliteTextToSpeech,
    MockTextToSpeech,
    TextToSpeech,
    VoiceSettings,
    WorkerPool,
    WorkerTextToSpeech,
)
from salon.voice.tts.worker import MAX_TEXT
from salon.voice.workers import flite as flite_worker
from salon.voice.workers import serving


@pytest.fixture
async def espeak():
    engine = EspeakTextToSpeech(processes=1)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
async def flite():
    engine = FliteTextToSpeech(processes=1)
    await engine.start()
    yield engine
    await engine.close()


def sounds(spoken: Spoken) -> str:
    return "".join(phoneme.ipa for phoneme in spoken.phonemes)


async def test_espeak_says_who_it_is(espeak: EspeakTextToSpeech) -> None:
    hello = espeak._pool.hello
    assert hello is not None
    assert hello.engine == "espeak-ng"
    assert hello.version.startswith("1.")
    assert hello.licence.startswith("GPL-3")
    assert hello.sample_rate == 22050
    assert {"en-us", "en-gb", "de", "fr-fr"} <= set(espeak.voices())


async def test_espeak_speaks_the_language_asked_for(espeak: EspeakTextToSpeech) -> None:
    text = "Guten Tag"
    german = sounds(await speak(espeak, text, VoiceSettings(voice="de")))
    assert sounds(await speak(espeak, text, VoiceSettings(language="de-AT"))) == german
    assert sounds(await speak(espeak, text, VoiceSettings(language="DE_de"))) == german
    english = sounds(await speak(espeak, text))
    assert english != german
    assert sounds(await speak(espeak, text, VoiceSettings(language="en"))) == english
    assert sounds(await speak(espeak, text, VoiceSettings(language="tlh-x"))) == english


async def test_espeak_variants_differ_and_unknown_voices_are_refused(
    espeak: EspeakTextToSpeech,
) -> None:
    assert (await speak(espeak, "Hello", VoiceSettings(voice="en-us+f3"))).ms > 200
    for voice in ("klingon", "", "../../etc/passwd", "en-us+../../x", "en-us+"):
        with pytest.raises(SpeechError, match="no voice"):
            await speak(espeak, "Hello", VoiceSettings(voice=voice))
    assert (await speak(espeak, "Hello")).ms > 200


@pytest.mark.parametrize(
    ("text", "voice"), [("你好世界", "cmn"), ("Привет", "ru"), ("こんにちは", "ja"), ("नमस्ते", "hi")]
)
async def test_espeak_speaks_other_scripts(
    espeak: EspeakTextToSpeech, text: str, voice: str
) -> None:
    spoken = await speak(espeak, text, VoiceSettings(voice=voice))
    assert spoken.ms > 200
    assert spoken.phonemes


async def test_espeak_finds_the_nearest_voice(espeak: EspeakTextToSpeech) -> None:
    for language, voice in (("fr-CA", "fr-fr"), ("zh-TW", "cmn"), ("en-GB", "en-gb")):
        near = sounds(await speak(espeak, "table 7", VoiceSettings(language=language)))
        assert near == sounds(await speak(espeak, "table 7", VoiceSettings(voice=voice)))


async def test_espeak_pauses_after_a_sentence_only(espeak: EspeakTextToSpeech) -> None:
    def tail_ms(spoken: Spoken) -> float:
        return (len(spoken.samples) - np.flatnonzero(np.abs(spoken.samples) > 60)[-1]) / 16

    assert tail_ms(await speak(espeak, 'He said "no."')) > 200
    assert tail_ms(await speak(espeak, "He said no,")) < 50


async def test_espeak_number_is_one_word(espeak: EspeakTextToSpeech) -> None:
    spoken = await speak(espeak, "It costs 1,234.5 at 10:30.")
    assert [word.text for word in spoken.words] == ["It", "costs", "1,234.5", "at", "10:30"]


async def test_killed_engine_speaks_again(espeak: EspeakTextToSpeech) -> None:
    chunks = espeak.speak("One, two, three. " * 2500)
    await anext(chunks)
    os.kill(espeak._pool.pids[0], signal.SIGKILL)
    with pytest.raises(SpeechError):
        async for _ in chunks:
            pass
    assert (await speak(espeak, "Hello")).ms > 200
    assert espeak.statistics().crashes == 1


async def test_too_long_a_text_is_refused(espeak: EspeakTextToSpeech) -> None:
    with pytest.raises(SpeechError, match="over the"):
        await speak(espeak, "a" * (MAX_TEXT + 1))


async def test_sound_is_continuous_over_parts(espeak: EspeakTextToSpeech) -> None:
    text = "A rather long sentence goes on and on. " * 30
    whole = await speak(espeak, text)
    starts = [word.start_ms for word in whole.words]
    assert starts == sorted(starts)
    assert len(starts) == len(text.split())
    assert all(len(chunk.samples) <= 33_000 for chunk in whole.chunks)


async def test_missing_espeak_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.voice.tts.espeak.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"salon\[espeak\]"):
        await EspeakTextToSpeech().start()


async def test_missing_flite_names_the_system_package() -> None:
    # The worker as it is, but on a machine where no library is called libflite.
    code = (
        "import ctypes, sys; import salon.voice.workers.flite as f\n"
        "def cdll(name, **_): raise OSError(f'{name}: cannot open')\n"
        "f.ctypes.CDLL = cdll\n"
        "sys.exit(f.serve(f.Flite))"
    )
    engine = WorkerTextToSpeech(WorkerPool("flite", (sys.executable, "-P", "-c", code)))
    with pytest.raises(ConfigurationError, match="apt-get install libflite1"):
        await engine.start()


@pytest.mark.parametrize("voice", list(flite_worker.VOICES))
async def test_flite_voices_have_the_right_pitch(flite: FliteTextToSpeech, voice: str) -> None:
    spoken = await speak(flite, "Hello there.", VoiceSettings(voice=voice))
    # A wrong rate would make the voice twice as fast or slow, and its times end elsewhere.
    assert spoken.words[-1].end_ms == pytest.approx(spoken.ms, abs=400)
    assert 400 < spoken.ms < 2000


async def test_flite_refuses_what_it_cannot_say(flite: FliteTextToSpeech) -> None:
    with pytest.raises(SpeechError, match="Latin"):
        await speak(flite, "Привет")
    with pytest.raises(SpeechError, match="no voice"):
        await speak(flite, "Hello", VoiceSettings(voice="../slt"))
    assert (await speak(flite, "café 日本")).ms > 200


async def test_flite_phonemes_are_ipa(flite: FliteTextToSpeech) -> None:
    assert sounds(await speak(flite, "cheese")) == "tʃiːz"


class Recorder:
    """Takes what an engine makes; `limit` chunks, then it is cancelled."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self.pcm = b""
        self.chunks = 0
        self.words: list[tuple[int, ...]] = []
        self.ipa = ""
        self._limit = limit

    def audio(self, pcm: bytes) -> bool:
        self.chunks += 1
        self.pcm += pcm
        return self.chunks < self._limit

    def word(self, *times: int) -> None:
        self.words.append(times)

    def phoneme(self, ipa: str, start_ms: int, end_ms: int) -> None:
        self.ipa += ipa


def request(text: str, **fields: Any) -> serving.Request:
    return serving.parse_request({"id": "1", "text": text, **fields})


def test_flite_worker_in_this_process() -> None:
    engine = flite_worker.Flite()
    assert engine.hello()["version"].startswith("2.")
    recorder = Recorder()
    engine.speak(request("Hello you."), recorder)
    assert recorder.words[0][2:] == (0, 5)
    assert np.abs(np.frombuffer(recorder.pcm, dtype=np.int16)).max() > 1000
    stopped = Recorder(limit=1)
    engine.speak(request("Hello you."), stopped)
    assert stopped.chunks == 1
    empty = Recorder()
    engine.speak(request("..."), empty)
    assert not empty.pcm
    with pytest.raises(serving.RequestRefusedError, match="ASCII"):
        engine.speak(request("é"), recorder)
    with pytest.raises(serving.RequestRefusedError, match="no voice"):
        engine.speak(request("a", voice="x"), recorder)


def test_flite_worker_passes_on_what_its_sink_raises() -> None:
    class Broken(Recorder):
        def audio(self, pcm: bytes) -> bool:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        flite_worker.Flite().speak(request("Hello."), Broken())


class FakeClock(Clock):
    def __init__(self) -> None:
        self.slept: list[float] = []

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_mock_keeps_to_its_script() -> None:
    clock = FakeClock()
    engine: TextToSpeech = MockTextToSpeech(
        delay_s=0.3, chunk_delay_s=0.1, failures={"bad text": "scripted"}, fail_after=1, clock=clock
    )
    assert isinstance(engine, MockTextToSpeech)
    await engine.start()
    spoken = await speak(engine, "Hello you")
    assert spoken.ms == engine.duration_ms("Hello you") == 540
    assert [(word.text, word.start_ms, word.end_ms) for word in spoken.words] == [
        ("Hello", 0, 300),
        ("you", 360, 540),
    ]
    assert clock.slept == [0.3, 0.1, 0.1, 0.1, 0.1, 0.1]
    chunks = engine.speak("bad text")
    await anext(chunks)
    with pytest.raises(SpeechError, match="scripted"):
        await anext(chunks)
    assert [text for text, _ in engine.spoken] == ["Hello you", "bad text"]
    assert list(engine.cancelled) == ["bad text"]


def test_mock_refuses_a_useless_script() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        MockTextToSpeech(char_ms=0)
