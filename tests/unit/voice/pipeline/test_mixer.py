"""The mixers a bridge can be given (V139)."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.voice.pipeline.logging_stages import frame

from salon.media.frame import AudioFrame
from salon.voice.pipeline.mixer import MixerProvider, NumpyMixerProvider, PythonMixerProvider


@pytest.fixture(params=[PythonMixerProvider, NumpyMixerProvider])
def mixer(request: pytest.FixtureRequest) -> MixerProvider:
    made: MixerProvider = request.param()
    return made


def test_V139_samples_are_added(mixer: MixerProvider) -> None:
    first = frame(1000)
    first.timestamp_ms = 40.0
    mixed = mixer.mix([first, frame(-300), frame(7)])
    assert mixed.samples.tolist() == [707] * 320
    assert (mixed.timestamp_ms, mixed.sample_rate, mixer.name) == (
        40.0,
        16_000,
        {"PythonMixerProvider": "python"}.get(type(mixer).__name__, "numpy"),
    )


def test_V139_sums_are_limited_and_never_wrap(mixer: MixerProvider) -> None:
    mixed = mixer.mix([frame(30_000)] * 8).samples
    assert mixed.min() > 30_000


def test_one_frame_passes_and_the_shortest_counts(mixer: MixerProvider) -> None:
    one = frame(5)
    assert mixer.mix([one]) is one
    assert len(mixer.mix([one, frame(5, length=100)]).samples) == 100


def test_nothing_and_unlike_frames_are_refused(mixer: MixerProvider) -> None:
    with pytest.raises(ValueError, match="nothing to mix"):
        mixer.mix([])
    with pytest.raises(ValueError, match="can't mix 8000 Hz"):
        mixer.mix([frame(1), frame(1, 8_000)])
    stereo = AudioFrame(np.zeros(640, np.int16).tobytes(), channels=2)
    with pytest.raises(ValueError, match="2 ch"):
        mixer.mix([frame(1), stereo])
