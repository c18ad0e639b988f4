"""What all calls share."""

from __future__ import annotations

import pytest

from salon.base import ConfigurationError
from salon.testing import scripted_engine, virtual_time


@virtual_time
async def test_an_engine_is_found_by_name_or_by_default() -> None:
    async with scripted_engine() as engine:
        assert engine.recognizer() is engine.recognizer("mock") is engine.recognizer("unknown")
        assert engine.synthesizer() is engine.synthesizer("mock")
        with pytest.raises(ConfigurationError, match="TTS type not found: unknown"):
            engine.synthesizer("unknown")


@pytest.mark.parametrize("missing", [{}, {"recognition": "no ears", "synthesis": "no voice"}])
@virtual_time
async def test_a_missing_engine_is_named(missing: dict[str, str]) -> None:
    async with scripted_engine(recognition=False, synthesis=False, missing=missing) as engine:
        with pytest.raises(ConfigurationError, match="no ears" if missing else r"salon\[recog"):
            engine.recognizer()
        with pytest.raises(ConfigurationError, match="no voice" if missing else r"salon\[espeak"):
            engine.synthesizer()


@virtual_time
async def test_the_detector_runs_while_the_engine_does() -> None:
    async with scripted_engine() as engine:
        engine.start()
        assert engine.ticker.statistics().callbacks == 1
        engine.stop()
        engine.stop()
        assert engine.ticker.statistics().callbacks == 0
