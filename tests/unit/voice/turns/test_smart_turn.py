"""The detector over smart-turn models, with small models made here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.base import ConfigurationError, MissingExtraError
from salon.testing.contracts.voice_turn import TurnDetectorContract
from salon.voice.pipeline.turn import (
    SmartTurnConfig,
    SmartTurnDetector,
    TurnContext,
    TurnDetector,
)
from salon.voice.pipeline.turn.mel import _filters, log_mel, normalised
from salon.voice.pipeline.turn.smart_turn import features_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RATE = 16_000


def model(path: Path, nodes: list[Any], *, name: str = "input_features", bands: int = 80) -> Path:
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, floats, ["batch", bands, 800])],
        [helper.make_tensor_value_info("probability", floats, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, str(path))
    return path


def node(kind: str, put: str, out: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, [put], [out], **attributes)


def mean_of_the_end(name: str = "input_features") -> list[Any]:
    """A "model": the sigmoid of the mean of all features."""
    return [
        node("ReduceMean", name, "mean", axes=[1, 2], keepdims=0),
        node("Sigmoid", "mean", "probability"),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model(tmp_path / "tiny.onnx", mean_of_the_end())


def sound(seconds: float, rate: int = RATE, hertz: float = 440.0) -> bytes:
    t = np.arange(int(seconds * rate)) / rate
    samples: np.ndarray[Any, Any] = (8000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)
    return samples.tobytes()


def context(audio: bytes | None, rate: int = RATE) -> TurnContext:
    return TurnContext(transcript="hello", audio_bytes=audio, audio_sample_rate=rate)


class TestSmartTurn(TurnDetectorContract):
    sessions = 5

    @pytest.fixture(autouse=True)
    def _path(self, path: Path) -> None:
        self.path = path

    def make(self) -> TurnDetector:
        return SmartTurnDetector(self.path)

    def context(self, text: str, session_id: str = "s") -> TurnContext:
        question = super().context(text, session_id)
        question.audio_bytes = b"\x10\x00" * 800
        return question


def test_the_threshold_decides_and_the_confidence_is_that_of_the_decision(path: Path) -> None:
    audio = sound(2.0)
    expected = 1 / (1 + np.exp(-float(features_of(audio, RATE).mean())))
    low = SmartTurnDetector(SmartTurnConfig(str(path), threshold=0.01)).evaluate(context(audio))
    high = SmartTurnDetector(SmartTurnConfig(str(path), threshold=0.99)).evaluate(context(audio))
    assert (low.is_complete, high.is_complete) == (True, False)
    assert low.confidence == pytest.approx(expected, abs=1e-4)
    assert high.confidence == pytest.approx(1 - expected, abs=1e-4)


def test_only_the_last_8_seconds_count_and_less_is_padded_in_front() -> None:
    tail = sound(8.0, hertz=700)
    assert np.array_equal(features_of(sound(5.0) + tail, RATE), features_of(tail, RATE))
    short = features_of(sound(1.0), RATE)[0]
    assert short.shape == (80, 800)
    assert short[:, :690].max() < short[:, 710:].max()


def test_other_rates_are_converted() -> None:
    wide, narrow = features_of(sound(8.0), RATE)[0], features_of(sound(8.0, 8000), 8000)[0]
    assert np.abs(wide - narrow)[:20, 10:-10].mean() < 0.1


def test_sound_that_is_no_sound(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="3 bytes"):
        SmartTurnDetector(path).evaluate(context(b"abc"))


@pytest.mark.parametrize("fallback", [True, False])
def test_without_sound_the_fallback_decides(path: Path, fallback: bool) -> None:
    config = SmartTurnConfig(str(path), fallback_on_no_audio=fallback)
    decision = SmartTurnDetector(config).evaluate(context(None))
    assert (decision.is_complete, decision.confidence) == (fallback, 0.0)


def test_a_model_that_fails_is_given_up(tmp_path: Path) -> None:
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [1], [7])
    broken = [
        node("Constant", "", "shape", value=shape),
        onnx.helper.make_node("Reshape", ["input_features", "shape"], ["probability"]),
    ]
    broken[0].ClearField("input")
    detector = SmartTurnDetector(
        SmartTurnConfig(str(model(tmp_path / "broken.onnx", broken)), max_consecutive_failures=2)
    )
    reasons = [detector.evaluate(context(sound(0.5))).reason for _ in range(4)]
    assert reasons == ["model failed"] * 2 + ["model unavailable"] * 2
    assert detector.failures == 2
    detector.reset()
    assert detector.evaluate(context(sound(0.5))).reason == "model failed"


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        SmartTurnDetector(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ConfigurationError, match="no ONNX model"):
        SmartTurnDetector(str(tmp_path / "text.onnx"))
    other = model(tmp_path / "other.onnx", mean_of_the_end("audio"), name="audio")
    with pytest.raises(ConfigurationError, match="smart-turn v3"):
        SmartTurnDetector(other)
    bands = model(tmp_path / "bands.onnx", mean_of_the_end(), bands=128)
    with pytest.raises(ConfigurationError, match="smart-turn v3"):
        SmartTurnDetector(bands)


@pytest.mark.parametrize("wrong", [{"threshold": 1.0}, {"num_threads": 0}, {"provider": "abacus"}])
def test_a_config_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        SmartTurnConfig("model.onnx", **wrong)


def test_without_the_runtime_the_extra_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="smart-turn"):
        SmartTurnDetector(path)


# Features.


def test_a_tone_lights_up_its_band() -> None:
    for hertz in (200.0, 1000.0, 3000.0):
        t = np.arange(RATE) / RATE
        levels = log_mel(np.sin(2 * np.pi * hertz * t)).mean(axis=1)
        bins = np.linspace(0, RATE / 2, 201)
        centre = bins[_filters()[:, int(levels.argmax())].argmax()]
        assert abs(centre - hertz) <= 80


def test_the_features_span_two_from_their_loudest() -> None:
    levels = log_mel(np.random.default_rng(1).normal(size=RATE))
    assert levels.shape == (80, 100)
    assert levels.dtype == np.float32
    assert levels.max() - levels.min() <= 2.0
    assert np.all(log_mel(np.zeros(RATE)) == -1.5)


def test_the_filters_have_equal_area_and_cover_the_band() -> None:
    filters = _filters()
    assert filters.shape == (201, 80)
    areas = filters[:, 40:].sum(axis=0) * 40.0
    assert np.allclose(areas, 1.0, atol=0.15)
    assert np.all(filters[1:200].sum(axis=1) > 0)


@pytest.mark.parametrize(
    ("band", "bin_", "value"),
    [(0, 1, 0.02486259), (1, 2, 0.02287177), (40, 43, 0.01473557), (79, 192, 0.00316471)],
)
def test_the_filters_are_those_of_whisper(band: int, bin_: int, value: float) -> None:
    assert _filters()[bin_, band] == pytest.approx(value, abs=1e-7)


def test_normalised_sound() -> None:
    result = normalised(np.array([1.0, 2.0, 3.0, 4.0]))
    assert result.mean() == pytest.approx(0)
    assert result.var() == pytest.approx(1, abs=1e-6)
