"""Which recogniser a call listens with."""

from __future__ import annotations

import numpy as np
import pytest

from salon.gateway import Gateway
from salon.gateway.buffered import MOST_SAMPLES, BufferedRecognizer
from salon.gateway.ears import Ears
from salon.gateway.lent import LentRecognizer
from salon.gateway.options import TranscriptionOption
from salon.gateway.providers import Providers
from salon.media.frame import Samples
from salon.testing import CallPair, silence, tone
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.stt.base import Transcription, Utterance
from salon.voice.stt.mock import MockSpeechToText


def option(provider: str | None = None, **fields: str) -> TranscriptionOption:
    return TranscriptionOption.model_validate({"provider": provider, **fields})


def test_without_a_name_the_house_listens(engine: VoiceEngine) -> None:
    house = engine.recognizers[""]
    for ears in (Ears(engine), Ears(engine, Providers(environ=dict))):
        for wanted in (None, option(), option("mock"), option("mock", apiKey="k")):
            assert ears.recognizer(wanted) is house


def test_G64_unknown_providers_get_the_default(engine: VoiceEngine) -> None:
    for ears in (Ears(engine), Ears(engine, Providers(environ=dict))):
        assert ears.recognizer(option("tencent")) is engine.recognizers[""]
        assert not ears.knows("tencent")
        assert ears.knows("mock")
    assert not Ears(engine).knows("deepgram")
    assert Ears(engine, Providers(environ=dict)).knows("deepgram")


def test_G64_known_providers_are_used(engine: VoiceEngine) -> None:
    providers = Providers(environ=dict)
    ears = Ears(engine, providers)
    found = ears.recognizer(option("deepgram", apiKey="k", model="nova-2"))
    assert isinstance(found, LentRecognizer)
    assert found.name == "deepgram"
    with pytest.raises(SpeechError, match="no key"):
        ears.recognizer(option("deepgram"))
    providers.register_recognizer("mock", lambda _: MockSpeechToText())
    assert isinstance(ears.recognizer(option("mock")), LentRecognizer)


def test_the_house_keeps_its_name_unless_keys_are_brought(engine: VoiceEngine) -> None:
    house = MockSpeechToText()
    engine.recognizers = {**engine.recognizers, "openai": house}
    ears = Ears(engine, Providers(environ=dict))
    assert ears.recognizer(option("openai")) is house
    assert isinstance(ears.recognizer(option("openai", apiKey="k")), LentRecognizer)


class Parts(MockSpeechToText):
    """Keeps what it is given, part by part."""

    def __init__(self) -> None:
        super().__init__(["as it was"])
        self.parts: list[Samples] = []
        self.cancelled = 0

    def recognize(self, *hints: object, **others: object) -> Utterance:
        del hints, others
        return _Kept(self)


class _Kept(Utterance):
    decoder_wait_ms = 7.0

    def __init__(self, owner: Parts) -> None:
        self._owner = owner

    def push(self, samples: Samples) -> None:
        self._owner.parts.append(samples)

    async def finish(self) -> Transcription:
        return Transcription("as it was", is_final=True)

    def cancel(self) -> None:
        self._owner.cancelled += 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (6400, [3200, 3200, 600]),
        (640, [320] * 21 + [280]),
        (1_000_000, [7000]),
        (3, [1] * 7000),
    ],
)
async def test_G64_buffer_size_is_what_the_recogniser_gets_at_once(
    size: int, expected: list[int]
) -> None:
    engine = Parts()
    utterance = BufferedRecognizer(engine, size).recognize()
    sound = np.arange(7000, dtype=np.int16)
    for start in range(0, 7000, 320):
        utterance.push(sound[start : start + 320])
    assert (await utterance.finish()).text == "as it was"
    assert utterance.decoder_wait_ms == 7.0
    assert [len(part) for part in engine.parts] == expected
    assert np.array_equal(np.concatenate(engine.parts), sound)


async def test_G64_words_wait_no_longer_than_a_second_for_a_part() -> None:
    engine = Parts()
    utterance = BufferedRecognizer(engine, 2**32 - 1).recognize()
    utterance.push(silence(1500))
    assert [len(part) for part in engine.parts] == [MOST_SAMPLES]
    utterance.cancel()
    assert engine.cancelled == 1


@pytest.mark.parametrize(("given", "sizes"), [({}, {320}), ({"bufferSize": 3200}, {1600})])
async def test_G64_a_call_says_how_much_its_recogniser_gets_at_once(
    gateway: Gateway, engine: VoiceEngine, given: dict[str, int], sizes: set[int]
) -> None:
    parts = Parts()
    engine.recognizers = {"": parts}
    call = CallPair.connect(gateway.acceptor)
    await call.invite(asr=given)
    await call.send_audio(np.concatenate((silence(300), tone(800), silence(1000))))
    assert (await call.expect("asrFinal"))["text"] == "as it was"
    assert sizes <= {len(part) for part in parts.parts[1:]}
    assert len({len(part) for part in parts.parts[1:-1]} - sizes) == 0


def test_G64_zero_is_no_buffer(engine: VoiceEngine) -> None:
    wanted = TranscriptionOption.model_validate({"bufferSize": 0})
    assert Ears(engine).recognizer(wanted) is engine.recognizers[""]
