"""Diarization, postprocessors, mocks, events and configurations."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame, Samples
from salon.media.level import rms_dbfs
from salon.media.noise import low_noise
from salon.voice.backends.dtmf import DTMFEvent as SignalledEvent
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
    MockDTMFDetector,
)
from salon.voice.pipeline.postprocessor import (
    AudioPostProcessor,
    CallablePostProcessor,
    GainPostProcessor,
    LoudnessConfig,
    LoudnessPostProcessor,
    MockAudioPostProcessor,
)
from salon.voice.pipeline.vad import (
    MockVADProvider,
    VADConfig,
    VADEvent,
    VADEventType,
    VADProvider,
)
from salon.voice.vad.config import VADConfig as OneConfig

FRAME = AudioFrame(bytes(640))


def tone(level: float, count: int = 320) -> Samples:
    made: Samples = np.rint(level * np.sin(np.arange(count) * 0.3)).astype(np.int16)
    return made


# -- voice activity ---------------------------------------------------------------------------


class Plain(VADProvider):
    """As little as a detector of a user's own has."""

    name = "Plain"

    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        del frame, stream
        return None


def test_V239_a_detector_that_cannot_be_configured_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Plain()
    with caplog.at_level(logging.WARNING, logger="salon.voice"):
        stage.configure(VADConfig())
        assert not caplog.records
        stage.configure(VADConfig(silence_threshold_ms=300))
        stage.configure(VADConfig(extra={"a": 1}))
    assert [record.getMessage() for record in caplog.records] == [
        "Plain takes no VADConfig: vad_config is ignored"
    ]
    stage.reset("a")
    stage.close()
    assert stage.required_format is None
    assert stage.stream_count == 0


def test_V239_there_is_one_configuration_and_detectors_of_others_can_read_it() -> None:
    assert VADConfig is OneConfig
    config = VADConfig(300, extra={"threshold": 0.4})
    found = config.settings("Plain", ["threshold"])
    assert found == {"silence_threshold_ms": 300, "threshold": 0.4}
    with pytest.raises(ValueError, match=r"Plain.*threshold"):
        config.settings("Plain", [])


def test_V72_the_names_of_events() -> None:
    assert [str(kind) for kind in VADEventType] == [
        "speech_start",
        "speech_end",
        "silence",
        "audio_level",
    ]
    event = VADEvent(VADEventType.SPEECH_END)
    assert (event.audio_bytes, event.confidence, event.duration_ms, event.level_db) == (None,) * 4


def test_mocks_play_their_script_for_each_stream() -> None:
    start = VADEvent(VADEventType.SPEECH_START)
    mock = MockVADProvider([start, None])
    assert [mock.process(FRAME, stream) for stream in "aba"] == [start, start, None]
    mock.reset("a")
    assert mock.process(FRAME, "a") is start
    mock.configure(VADConfig(1))
    mock.close()
    assert (len(mock.frames), mock.reset_count, mock.closed) == (4, 1, True)
    assert mock.configured == [VADConfig(1)]
    assert MockVADProvider().process(FRAME, "a") is None


# -- keys -------------------------------------------------------------------------------------


def test_V68_there_is_one_event() -> None:
    assert SignalledEvent is DTMFEvent
    assert DTMFEvent("5") == DTMFEvent("5", 0.0, 1.0)


@pytest.mark.parametrize(
    ("redaction", "digits", "shown"),
    [
        (DTMFRedaction(), "", ""),
        (DTMFRedaction(keep_last=4), "1234", "****"),
        (DTMFRedaction(keep_last=4), "12345", "*2345"),
        (DTMFRedaction(keep_first=4, keep_last=4), "12345678", "********"),
        (DTMFRedaction(keep_first=2), "123", "12*"),
        (DTMFRedaction(enabled=False, keep_last=4), "1234", "1234"),
    ],
)
def test_V207_a_number_too_short_to_hide_anything_is_hidden_whole(
    redaction: DTMFRedaction, digits: str, shown: str
) -> None:
    assert redaction.mask(digits) == shown


@pytest.mark.parametrize("wrong", [{"keep_first": -1}, {"keep_last": -1}, {"mask_char": "xx"}])
def test_V207_senseless_redaction_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        DTMFRedaction(**wrong)  # type: ignore[arg-type]
    assert isinstance(refused.value, ValueError)


def test_the_mock_of_keys() -> None:
    mock = MockDTMFDetector([DTMFEvent("1", 100.0), None])
    assert [mock.process(FRAME, "a"), mock.process(FRAME, "a")] == [DTMFEvent("1", 100.0), None]
    mock.sounding.add("a")
    assert mock.tone_active("a")
    mock.reset("a")
    assert not mock.tone_active("a")
    mock.close()
    assert (len(mock.frames), mock.reset_count, mock.closed) == (2, 1, True)


def test_V69_a_detector_of_ones_own_need_not_know_tones() -> None:
    class Own(DTMFDetector):
        name = "Own"

        def process(self, frame: AudioFrame, stream: str) -> DTMFEvent | None:
            return None

    own = Own()
    own.reset("a")
    own.close()
    assert not own.tone_active("a")
    assert own.stream_count == 0


# -- speakers ---------------------------------------------------------------------------------


def test_V55_V76_one_speaker_from_the_first_speech_on() -> None:
    stage = SingleSpeakerDiarizationProvider()
    speech = AudioFrame(bytes(640), metadata={"vad_is_speech": True})
    assert stage.process(FRAME, "a") is None
    assert stage.process(speech, "a") == DiarizationResult("speaker_0", None, True)
    assert stage.process(speech, "a") == DiarizationResult("speaker_0", None, False)
    assert stage.process(FRAME, "a") is None
    assert stage.process(speech, "b") == DiarizationResult("speaker_0", None, True)


def test_V35_without_a_detector_before_it_the_level_decides() -> None:
    stage = SingleSpeakerDiarizationProvider(speaker_id="caller", level_dbfs=-40)
    assert stage.process(FRAME, "a") is None
    found = stage.process(AudioFrame.of(tone(3_000)), "a")
    assert found == DiarizationResult("caller", None, True)
    with pytest.raises(ValueError, match="speaker_id"):
        SingleSpeakerDiarizationProvider(speaker_id="")


def test_the_mock_of_speakers() -> None:
    one = DiarizationResult("x", 0.5, True)
    mock = MockDiarizationProvider([one])
    assert [mock.process(FRAME, "a"), mock.process(FRAME, "a")] == [one, None]
    mock.clear_speakers()
    mock.reset("a")
    mock.close()
    assert (mock.cleared_count, mock.reset_count, mock.closed) == (1, 1, True)


def test_a_provider_of_ones_own_needs_little() -> None:
    class Own(DiarizationProvider):
        name = "Own"

        def process(self, frame: AudioFrame, stream: str) -> DiarizationResult | None:
            return None

    own = Own()
    own.clear_speakers()
    own.reset("a")
    own.close()
    assert own.stream_count == 0


# -- on the way out ---------------------------------------------------------------------------


def test_V57_gain() -> None:
    out = GainPostProcessor(6.0206).process(AudioFrame.of(tone(1_000)), "a").samples
    assert np.abs(out - 2 * tone(1_000).astype(int)).max() <= 1
    loud = GainPostProcessor(40).process(AudioFrame.of(tone(20_000)), "a").samples
    assert 32_000 < int(loud.max()) <= 32_767
    for wrong in (61, -61, float("nan")):
        with pytest.raises(ConfigurationError, match="gain_db"):
            GainPostProcessor(wrong)


@pytest.mark.parametrize("level", [600, 3_000, 12_000])
def test_V57_loudness_comes_to_its_target(level: float) -> None:
    stage = LoudnessPostProcessor(config=LoudnessConfig(max_gain_db=30))
    sound = tone(level, 32_000)
    out = [
        stage.process(AudioFrame.of(sound[at : at + 1_000]), "a").samples
        for at in range(0, len(sound), 1_000)
    ]
    assert rms_dbfs(np.concatenate(out[2:])) == pytest.approx(-20, abs=0.5)


def test_V57_loudness_leaves_pauses_alone_and_moves_without_steps() -> None:
    stage = LoudnessPostProcessor(-26)
    noise = low_noise(16_000, -60)
    quiet = stage.process(AudioFrame.of(noise), "a").samples
    assert np.array_equal(quiet, noise)
    stage.process(AudioFrame.of(tone(1_000, 16_000)), "a")
    jump = stage.process(AudioFrame.of(tone(10_000, 16_000)), "a").samples
    pieces = jump.reshape(-1, 320).astype(np.float64)
    levels = 10 * np.log10(np.mean(pieces**2, axis=1))
    assert np.abs(np.diff(levels)).max() < 0.5
    assert levels[-1] < levels[0] - 6


def test_V57_loudness_has_its_limits() -> None:
    stage = LoudnessPostProcessor(config=LoudnessConfig(max_gain_db=6))
    out = stage.process(AudioFrame.of(tone(300, 3_200)), "a").samples
    assert rms_dbfs(out[640:]) == pytest.approx(rms_dbfs(tone(300, 3_200)) + 6, abs=0.3)
    with pytest.raises(ValueError, match="8000"):
        stage.process(AudioFrame(bytes(320), 8_000), "a")
    for wrong in ({"target_dbfs": 0.0}, {"window_ms": 0.0}, {"max_gain_db": float("nan")}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            LoudnessConfig(**wrong)
    with pytest.raises(ConfigurationError, match="not both"):
        LoudnessPostProcessor(-20, config=LoudnessConfig())


def test_V57_a_function_is_a_stage() -> None:
    def half(frame: AudioFrame) -> AudioFrame:
        return frame.with_samples(frame.samples // 2)

    stage = CallablePostProcessor(half)
    assert stage.name == "half"
    assert CallablePostProcessor(half, name="quieter").name == "quieter"
    assert np.array_equal(stage.process(AudioFrame.of(tone(1_000)), "a").samples, tone(1_000) // 2)
    wrong = CallablePostProcessor(lambda frame: frame.data)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="bytes"):
        wrong.process(FRAME, "a")


def test_the_mock_of_postprocessors() -> None:
    mock = MockAudioPostProcessor()
    assert mock.process(FRAME, "a") is FRAME
    mock.reset("a")
    mock.close()
    assert (mock.frames, mock.reset_count, mock.closed) == ([FRAME], 1, True)
    assert mock.name == "MockAudioPostProcessor"


def test_a_postprocessor_of_ones_own_needs_little() -> None:
    class Own(AudioPostProcessor):
        name = "Own"

        def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
            return frame

    own = Own()
    own.reset("a")
    own.close()
    assert own.stream_count == 0
