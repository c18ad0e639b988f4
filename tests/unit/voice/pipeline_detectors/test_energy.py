"""`EnergyVADProvider`: the values and the manner its users know."""

from __future__ import annotations

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame, Samples
from salon.voice.pipeline.vad import EnergyVADProvider, VADConfig, VADEvent, VADEventType

START, END = VADEventType.SPEECH_START, VADEventType.SPEECH_END


def wave(level: float, frames: int, rate: int = 16_000) -> Samples:
    at = np.arange(frames * rate // 50)
    made: Samples = np.rint(level * np.sin(at * 0.3)).astype(np.int16)
    return made


def told(
    stage: EnergyVADProvider, *sounds: Samples, rate: int = 16_000
) -> list[tuple[int, VADEvent]]:
    sound = np.concatenate(sounds)
    size = rate // 50
    events = []
    for at in range(len(sound) // size):
        frame = AudioFrame.of(sound[at * size : (at + 1) * size], rate)
        event = stage.process(frame, "a")
        if event is not None:
            events.append((at, event))
    return events


def test_speech_starts_with_its_first_frame_and_ends_after_half_a_second() -> None:
    events = told(EnergyVADProvider(), wave(0, 50), wave(5_000, 50), wave(0, 60))
    assert [(at, event.type) for at, event in events] == [(50, START), (124, END)]
    (_, start), (_, end) = events
    assert start.confidence == 1.0
    assert len(start.audio_bytes or b"") == 16 * 640  # 300 ms and the frame
    assert end.duration_ms == 1_500
    assert len(end.audio_bytes or b"") == (15 + 75) * 640
    assert not EnergyVADProvider().is_speaking("a")


def test_short_noises_end_without_a_segment() -> None:
    stage = EnergyVADProvider(silence_threshold_ms=60)
    events = told(stage, wave(0, 20), wave(5_000, 5), wave(0, 20))
    assert [(event.type, event.audio_bytes is None) for _, event in events] == [
        (START, False),
        (END, True),
    ]


def test_long_speech_is_cut() -> None:
    stage = EnergyVADProvider(max_speech_duration_ms=1_000)
    events = told(stage, wave(5_000, 120))
    assert [(at, event.type) for at, event in events] == [
        (0, START),
        (49, END),
        (50, START),
        (99, END),
        (100, START),
    ]
    assert events[1][1].duration_ms == 1_000
    assert stage.is_speaking("a")


def test_V73_silence_and_levels_where_they_are_wanted() -> None:
    stage = EnergyVADProvider(levels_per_second=5, tell_silence=True)
    kinds = [(at, str(event.type)) for at, event in told(stage, wave(0, 50))]
    assert (24, "silence") in kinds
    assert sum(kind == "audio_level" for _, kind in kinds) == 5


def test_a_noise_floor_is_followed() -> None:
    noise = (np.random.default_rng(1).standard_normal(16_000 * 20) * 600).astype(np.int16)
    fixed, adaptive = EnergyVADProvider(), EnergyVADProvider(noise_margin_db=10)
    assert told(fixed, noise)[0][1].type is START
    assert fixed.is_speaking("a")
    told(adaptive, noise)
    assert not adaptive.is_speaking("a")
    assert told(adaptive, wave(8_000, 20))[0][1].type is START  # speech above it still counts
    events = told(adaptive, noise[:32_000], noise[:32_000])
    assert events[-1][1].type is END


def test_V239_configuration() -> None:
    stage = EnergyVADProvider()
    stage.configure(
        VADConfig(
            silence_threshold_ms=100,
            extra={"energy_threshold": 2_000, "max_speech_duration_ms": 500, "noise_margin_db": 6},
        )
    )
    assert told(stage, wave(2_000, 20)) == []
    assert [at for at, _ in told(stage, wave(5_000, 26))] == [0, 24, 25]
    with pytest.raises(ConfigurationError, match="EnergyVADProvider"):
        stage.configure(VADConfig(extra={"voice_threshold": 0.5}))
    with pytest.raises(ConfigurationError, match="not a number"):
        stage.configure(VADConfig(extra={"energy_threshold": "loud"}))


@pytest.mark.parametrize(
    "name", ["energy_threshold", "silence_threshold_ms", "speech_pad_ms", "levels_per_second"]
)
def test_negative_settings_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        EnergyVADProvider(**{name: -1.0})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="levels_per_second"):
        EnergyVADProvider(levels_per_second=20)


def test_V38_other_widths_are_read() -> None:
    stage = EnergyVADProvider()
    loud = (wave(5_000, 1).astype(np.int32) << 16).astype("<i4").tobytes()
    event = stage.process(AudioFrame(loud, sample_width=4), "a")
    assert event is not None
    assert event.audio_bytes == loud
    assert stage.process(AudioFrame(b"\x80" * 320, sample_width=1), "b") is None
