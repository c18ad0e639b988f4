"""V38-V47, V51, V68-V77, V207, V233, V239: detectors and postprocessors keep their contracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from salon.testing.contracts.voice_diarization import DiarizationContract
from salon.testing.contracts.voice_dtmf import DTMFContract
from salon.testing.contracts.voice_postprocessor import PostProcessorContract
from salon.testing.contracts.voice_vad import VADContract
from salon.voice.pipeline.diarization import (
    DiarizationProvider,
    DiarizationResult,
    MockDiarizationProvider,
    SingleSpeakerDiarizationProvider,
)
from salon.voice.pipeline.dtmf import (
    DTMFDetector,
    DTMFEvent,
    DTMFRedaction,
    GoertzelDTMFDetector,
    MockDTMFDetector,
)
from salon.voice.pipeline.postprocessor import (
    AudioPostProcessor,
    CallablePostProcessor,
    GainPostProcessor,
    LoudnessPostProcessor,
    MockAudioPostProcessor,
)
from salon.voice.pipeline.vad import (
    EnergyVADProvider,
    MockVADProvider,
    SileroVADProvider,
    VADEvent,
    VADEventType,
    VADProvider,
)
from salon.voice.vad import BatchedVad, SileroModel

MODEL = SileroModel.load()


class _TickedVAD(SileroVADProvider):
    """Streams in the process-wide detector, which runs after each frame."""

    def __init__(self) -> None:
        self.shared = BatchedVad(MODEL)
        super().__init__(batched=self.shared)

    def process(self, frame: Any, stream: str) -> VADEvent | None:
        event = super().process(frame, stream)
        self.shared.run()
        return event


class TestSileroVAD(VADContract):
    @pytest.fixture
    def make(self) -> Callable[[], VADProvider]:
        return lambda: SileroVADProvider(model=MODEL)


class TestBatchedSileroVAD(VADContract):
    @pytest.fixture
    def make(self) -> Callable[[], VADProvider]:
        return _TickedVAD


class TestEnergyVAD(VADContract):
    @pytest.fixture
    def make(self) -> Callable[[], VADProvider]:
        return lambda: EnergyVADProvider(levels_per_second=10, tell_silence=True)


class TestMockVAD(VADContract):
    hears = False

    @pytest.fixture
    def make(self) -> Callable[[], VADProvider]:
        events = [None, VADEvent(VADEventType.SPEECH_START), VADEvent(VADEventType.SPEECH_END)]
        return lambda: MockVADProvider(events)


class TestGoertzelDTMF(DTMFContract):
    RATES = (8_000, 11_025, 16_000, 24_000, 44_100, 48_000)

    @pytest.fixture
    def make(self) -> Callable[[], DTMFDetector]:
        return GoertzelDTMFDetector


class TestMockDTMF(DTMFContract):
    hears = False

    @pytest.fixture
    def make(self) -> Callable[[], DTMFDetector]:
        return lambda: MockDTMFDetector([DTMFEvent("1", 100.0), None])


class TestSingleSpeakerDiarization(DiarizationContract):
    @pytest.fixture
    def make(self) -> Callable[[], DiarizationProvider]:
        return SingleSpeakerDiarizationProvider


class TestMockDiarization(DiarizationContract):
    hears = False

    @pytest.fixture
    def make(self) -> Callable[[], DiarizationProvider]:
        return lambda: MockDiarizationProvider([DiarizationResult("speaker_0", 0.9, True)])


class TestGain(PostProcessorContract):
    counts = False

    @pytest.fixture
    def make(self) -> Callable[[int], AudioPostProcessor]:
        return lambda _rate: GainPostProcessor()


class TestLoudness(PostProcessorContract):
    @pytest.fixture
    def make(self) -> Callable[[int], AudioPostProcessor]:
        return lambda _rate: LoudnessPostProcessor()


class TestCallable(PostProcessorContract):
    counts = False
    refuses = False

    @pytest.fixture
    def make(self) -> Callable[[int], AudioPostProcessor]:
        return lambda _rate: CallablePostProcessor(lambda frame: frame)


class TestMockPostProcessor(PostProcessorContract):
    counts = False
    refuses = False

    @pytest.fixture
    def make(self) -> Callable[[int], AudioPostProcessor]:
        return lambda _rate: MockAudioPostProcessor()


@pytest.mark.parametrize(
    ("redaction", "shown"),
    [
        (DTMFRedaction(), "****************"),
        (DTMFRedaction(keep_first=4, keep_last=4), "4111********1111"),
        (DTMFRedaction(keep_last=4, mask_char="#"), "############1111"),
        (DTMFRedaction(enabled=False), "4111111111111111"),
    ],
)
def test_V207_digits_are_masked(redaction: DTMFRedaction, shown: str) -> None:
    assert redaction.mask("4111111111111111") == shown
