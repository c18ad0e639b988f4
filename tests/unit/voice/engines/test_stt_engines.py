"""The contract of recognition, by every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.unit.voice.test_stt_openai import TranscriptionServer
from tests.unit.voice.test_stt_pocketsphinx import HAS_FLITE, speak

from salon.media.frame import Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.testing.contracts.voice_stt import (
    FaultySTTProvider,
    SpeechToTextContract,
    SpeechToTextFaultContract,
)
from salon.voice.stt import (
    AdaptedSpeechToText,
    FallbackSpeechToText,
    MockSpeechToText,
    MockSTTProvider,
    OnPartial,
    OpenAISpeechToText,
    PocketSphinxSpeechToText,
    SpeechToText,
    STTProvider,
    Utterance,
    recognizer_of,
)

PHRASE = "what are your opening hours"


class Contract(SpeechToTextContract):
    heard = PHRASE

    @pytest.fixture
    def sound(self) -> Samples:
        return np.ones(16_000, dtype=np.int16)


class TestMock(Contract):
    @pytest.fixture
    def engine(self) -> SpeechToText:
        return MockSpeechToText([PHRASE] * 9)


class TestAdaptedStreaming(Contract):
    @pytest.fixture
    def engine(self) -> SpeechToText:
        return recognizer_of(MockSTTProvider([PHRASE], streaming=True))


class TestAdaptedWhole(Contract):
    @pytest.fixture
    def engine(self) -> SpeechToText:
        return recognizer_of(MockSTTProvider([PHRASE]))


class TestOpenAI(Contract):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[SpeechToText]:
        async with TranscriptionServer() as server:
            server.reply = {"text": PHRASE, "language": "english"}
            yield OpenAISpeechToText(server.url, "key", "whisper-1")


class KnowsWhatComes(PocketSphinxSpeechToText):
    """Free speech takes it seconds and is often misheard; a phrase it expects is neither."""

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        if hints is NO_HINTS:
            hints = SpeechHints((PHRASE, "repeat that please"))
        return super().recognize(hints, on_partial=on_partial, language=language)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_FLITE, reason="flite is not installed")
class TestPocketSphinx(Contract):
    @pytest.fixture
    def engine(self) -> SpeechToText:
        pytest.importorskip("pocketsphinx")
        return KnowsWhatComes(1)

    @pytest.fixture
    def sound(self) -> Samples:
        return np.array(speak(PHRASE))


class TestFallbackFirst(Contract):
    @pytest.fixture
    def engine(self) -> SpeechToText:
        return FallbackSpeechToText([MockSpeechToText([PHRASE] * 9), MockSTTProvider(["wrong"])])


class TestFallbackSecond(Contract):
    @pytest.fixture
    def engine(self) -> SpeechToText:
        broken = FaultySTTProvider("crash")
        return FallbackSpeechToText([broken, MockSTTProvider([PHRASE], streaming=True)])


class TestAdaptedFaults(SpeechToTextFaultContract):
    def make(self, provider: STTProvider) -> SpeechToText:
        return AdaptedSpeechToText(provider, answer_timeout=0.05)


class TestFallbackFaults(SpeechToTextFaultContract):
    def make(self, provider: STTProvider) -> SpeechToText:
        return FallbackSpeechToText([provider], attempt_timeout=0.05)
