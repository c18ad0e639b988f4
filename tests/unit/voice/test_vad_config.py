"""V239 and the published values of `VADConfig`."""

from __future__ import annotations

import pytest

from salon.base import ConfigurationError
from salon.voice.vad import SegmenterConfig, VADConfig, VADSettings


def test_V239_unset_fields_keep_the_detectors_own_values() -> None:
    assert VADConfig().silence_threshold_ms is None
    assert VADConfig().settings() == VADSettings(500, 300, 250, 0.5)


def test_V239_set_fields_replace_them() -> None:
    config = VADConfig(800, speech_pad_ms=0, extra={"voice_threshold": 0.6})
    assert config.settings() == VADSettings(800, 0, 250, 0.6)


def test_settings_become_segments() -> None:
    config = VADConfig(silence_threshold_ms=400, min_speech_duration_ms=200)
    assert config.settings().segments() == SegmenterConfig(200, 400, 0.5, None)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (VADConfig(extra={"sensitivity": 1}), "sensitivity"),
        (VADConfig(extra={"voice_threshold": 1.5}), "voice_threshold"),
        (VADConfig(silence_threshold_ms=-1), "silence_threshold_ms"),
        (VADConfig(speech_pad_ms=-1), "speech_pad_ms"),
    ],
)
def test_V239_what_cannot_be_applied_is_refused(config: VADConfig, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        config.settings()
