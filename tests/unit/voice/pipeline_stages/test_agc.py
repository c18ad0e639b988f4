"""The gain control: settings, floor, voicing, limiter."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from salon.media.frame import AudioFrame, Samples
from salon.voice.pipeline.agc import AGCConfig, AGCProvider, MockAGCProvider, SimpleAGCProvider
from salon.voice.pipeline.agc.gain import Floor, GainControl
from salon.voice.pipeline.agc.voicing import Voicing


def vowel(seconds: float, level: float, rate: int = 16_000, pitch: float = 120.0) -> Samples:
    """A sawtooth-like sound with a pitch, and pauses every 300 ms."""
    time = np.arange(int(rate * seconds)) / rate
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
    spoken = np.asarray(wave) / np.abs(wave).max() * (time % 0.4 < 0.3)
    sound: Samples = np.rint(spoken * level).astype(np.int16)
    return sound


def gains(provider: AGCProvider, sound: Samples, rate: int = 16_000) -> list[float]:
    size = rate // 50
    frames = [AudioFrame.of(sound[at : at + size], rate) for at in range(0, len(sound), size)]
    return [provider.process(one, "a").metadata["gain_applied_db"] for one in frames]


@pytest.mark.parametrize(
    "config",
    [
        AGCConfig(target_level_dbfs=1.0),
        AGCConfig(target_level_dbfs=-70.0),
        AGCConfig(max_gain_db=-1.0),
        AGCConfig(attack_ms=-1.0),
        AGCConfig(release_ms=-1.0),
        AGCConfig(metadata={"min_gain_db": "low"}),
        AGCConfig(metadata={"silence_threshold_dbfs": True}),
    ],
)
def test_senseless_settings_are_refused_at_once(config: AGCConfig) -> None:
    with pytest.raises(ValueError, match=r"target_level|max_gain|attack|release|metadata"):
        SimpleAGCProvider(config)


def test_the_target_and_the_limits_are_those_of_the_settings() -> None:
    quiet, loud = vowel(4.0, 1_000), vowel(4.0, 30_000)
    assert 24.0 < gains(SimpleAGCProvider(), quiet)[-1] < 29.0
    assert gains(SimpleAGCProvider(AGCConfig(max_gain_db=12.0)), quiet)[-1] == pytest.approx(12.0)
    low = AGCConfig(target_level_dbfs=-20.0)
    assert -20.5 < gains(SimpleAGCProvider(low), loud)[-1] < -17.0
    least = AGCConfig(target_level_dbfs=-40.0, metadata={"min_gain_db": -6})
    assert gains(SimpleAGCProvider(least), loud)[-1] == pytest.approx(-6.0, abs=0.1)


def test_other_settings_count_for_the_streams_to_come() -> None:
    provider = SimpleAGCProvider()
    assert gains(provider, vowel(4.0, 1_000))[-1] > 20.0
    provider.configure(AGCConfig(max_gain_db=6.0))
    assert gains(provider, vowel(0.1, 1_000))[-1] > 20.0
    provider.reset("a")
    assert gains(provider, vowel(4.0, 1_000))[-1] == pytest.approx(6.0)


def test_what_lies_below_the_threshold_of_silence_is_no_speech() -> None:
    config = AGCConfig(metadata={"silence_threshold_dbfs": -30.0})
    assert max(gains(SimpleAGCProvider(config), vowel(2.0, 500))) == 0.0


def test_the_gain_falls_faster_than_it_rises() -> None:
    provider = SimpleAGCProvider()
    gains(provider, vowel(4.0, 1_000))
    click = np.where(np.random.default_rng(5).random(320) < 0.5, -20_000, 20_000)
    down = gains(provider, click.astype(np.int16))
    assert down[0] < 8.0
    up = gains(provider, np.zeros(3_200, dtype=np.int16))
    assert up[0] < up[-1]


def test_without_attack_and_release_the_gain_moves_at_once() -> None:
    config = AGCConfig(attack_ms=0.0, release_ms=0.0)
    seen = gains(SimpleAGCProvider(config), vowel(2.0, 1_000))
    assert any(b - a > 20.0 for a, b in pairwise(seen))


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_other_rates_work(rate: int) -> None:
    assert 20.0 < gains(SimpleAGCProvider(), vowel(4.0, 1_000, rate), rate)[-1] < 29.0


def test_both_channels_get_the_same_gain() -> None:
    left = vowel(4.0, 1_000)
    stereo = np.stack([left, left // 2], axis=1).reshape(-1)
    provider = SimpleAGCProvider()
    frame = AudioFrame(stereo.tobytes(), 16_000, 2)
    out = provider.process(frame, "a")
    assert out.channels == 2
    pair = out.samples.reshape(-1, 2)[50_000:].astype(np.int32)
    assert out.metadata["gain_applied_db"] > 15.0
    over = np.abs(pair[:, 0]) < 15_000
    assert np.abs(pair[over, 0] - 2 * pair[over, 1]).max() < 60


def test_a_stream_whose_format_changes_starts_anew() -> None:
    provider = SimpleAGCProvider()
    assert gains(provider, vowel(4.0, 1_000))[-1] > 20.0
    assert gains(provider, vowel(0.02, 1_000, 8_000), 8_000) == [0.0]
    assert provider.stream_count == 1


def test_a_gain_of_nothing_gives_the_frame_itself() -> None:
    frame = AudioFrame.of(np.zeros(320, dtype=np.int16))
    assert SimpleAGCProvider().process(frame, "a") is frame


def test_the_floor_is_the_lowest_of_two_seconds() -> None:
    floor = Floor()
    assert [floor.add(-50.0, 20.0), floor.add(-20.0, 20.0)] == [-50.0, -50.0]
    for _ in range(140):
        lowest = floor.add(-20.0, 20.0)
    assert lowest == -20.0


def test_voicing_hears_pitch_but_not_noise_hum_or_silence() -> None:
    random = np.random.default_rng(1)
    time = np.arange(512) / 16_000
    for sound, expected in (
        (vowel(0.032, 5_000).astype(np.float64), True),
        (vowel(0.032, 5_000, pitch=250).astype(np.float64), True),
        (random.standard_normal(512) * 5_000, False),
        (5_000 * np.sin(2 * np.pi * 30 * time), False),
        (np.zeros(512), False),
    ):
        voicing = Voicing(16_000)
        assert not voicing.voiced()
        voicing.push(sound[:1])
        voicing.push(sound)
        assert voicing.voiced() is expected


def test_a_long_frame_is_taken_in_pieces() -> None:
    sound = vowel(4.0, 1_000)
    control = GainControl(AGCConfig(), 16_000)
    assert len(control.process(sound, 1)) == len(sound)
    assert control.gain_db == pytest.approx(gains(SimpleAGCProvider(), sound)[-1])


def test_the_mock_remembers() -> None:
    mock = MockAGCProvider()
    frame = AudioFrame.of(np.zeros(320, dtype=np.int16))
    assert mock.process(frame, "a") is frame
    assert mock.name == "MockAGCProvider"
    mock.reset("a")
    mock.close()
    assert (mock.frames, mock.reset_count, mock.closed) == ([frame], 1, True)
