"""What the caller's sound passes: `denoise` and `agc` (G63, G130, G140, G271)."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from salon.base import MissingExtraError
from salon.gateway import Gateway
from salon.gateway.cleaning import Cleaner, Cleaning, best_denoiser
from salon.gateway.gain import AdaptiveGain
from salon.gateway.options import AGCOption
from salon.media.frame import AudioFrame, Samples
from salon.media.level import peak_dbfs
from salon.testing import CallPair, scripted_gateway, silence, tone
from salon.voice.engine import VoiceEngine
from salon.voice.pipeline.denoiser import (
    DenoiserProvider,
    MockDenoiserProvider,
    SpectralDenoiserProvider,
    WebRTCNoiseSuppressorProvider,
)


class Halving(MockDenoiserProvider):
    """Makes what it is given half as loud; raises once it has had `good` frames."""

    def __init__(self, good: int = 10**9) -> None:
        super().__init__()
        self.good = good
        self.over = False

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        self.good -= 1
        if self.good < 0:
            raise RuntimeError("out of order")
        return frame.with_samples(frame.samples // 2)

    def close(self) -> None:
        self.over = True


def cleaned(gateway: Gateway) -> list[Samples]:
    """What is listened to from now on."""
    session = gateway.get("a")
    assert session is not None
    heard: list[Samples] = []
    session.media.taps.append(lambda samples: heard.append(samples.copy()))
    return heard


async def calling(gateway: Gateway, **option: Any) -> CallPair:
    call = CallPair.connect(gateway.acceptor, "/ws?id=a")
    await call.invite(**option)
    return call


# -- noise ----------------------------------------------------------------------------------------


async def test_G130_what_is_listened_to_is_denoised(engine: VoiceEngine) -> None:
    denoiser = Halving()
    async with scripted_gateway(
        engine, companions=lambda _s: (Cleaning(lambda: denoiser),)
    ) as gateway:
        call = await calling(gateway, denoise=True)
        heard = cleaned(gateway)
        await call.send_audio(tone(200))
        assert np.array_equal(np.concatenate(heard), tone(200) // 2)
        assert not call.of("error")
        call.send({"command": "hangup"})
        await call.closed()
        assert denoiser.over


@pytest.mark.parametrize("denoiser", [best_denoiser, SpectralDenoiserProvider])
async def test_G140_as_much_comes_out_as_goes_in_and_with_less_noise(
    engine: VoiceEngine, denoiser: Callable[[], DenoiserProvider]
) -> None:
    noise = np.random.default_rng(1).normal(0, 800, 32_000).astype(np.int16)
    async with scripted_gateway(engine, companions=lambda _s: (Cleaning(denoiser),)) as gateway:
        call = await calling(gateway, denoise=True)
        heard = cleaned(gateway)
        await call.send_audio(noise)
        out = np.concatenate(heard)
        assert len(out) == len(noise)
        assert np.abs(out[16_000:].astype(int)).mean() < 0.5 * np.abs(noise.astype(int)).mean()


async def test_a_denoiser_that_fails_is_left_out_and_told_once(engine: VoiceEngine) -> None:
    async with scripted_gateway(
        engine, companions=lambda _s: (Cleaning(lambda: Halving(good=5)),)
    ) as gateway:
        call = await calling(gateway, denoise=True)
        heard = cleaned(gateway)
        await call.send_audio(tone(200))
        assert np.array_equal(np.concatenate(heard)[1600:], tone(200)[1600:])
        (error,) = call.of("error")
        assert (error["sender"], error["code"]) == ("denoise", 500)


async def test_no_denoiser_is_told_and_the_gain_works_all_the_same(engine: VoiceEngine) -> None:
    def none() -> DenoiserProvider:
        raise MissingExtraError("denoise", "noise suppression")

    async with scripted_gateway(engine, companions=lambda _s: (Cleaning(none),)) as gateway:
        call = await calling(gateway, denoise=True, agc={"initialGainDb": 6.0206}, vad={})
        heard = cleaned(gateway)
        await call.send_audio(tone(100, level=0.1))
        (error,) = call.of("error")
        assert error["sender"] == "denoise"
        first = np.concatenate(heard)[:320].astype(int)
        assert np.abs(first - 2 * tone(100, level=0.1)[:320].astype(int)).max() <= 4


def test_the_built_in_denoiser_takes_the_place_of_one_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(best_denoiser(), WebRTCNoiseSuppressorProvider)

    def nothing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", nothing)
    assert isinstance(best_denoiser(), SpectralDenoiserProvider)


def test_a_stage_that_fails_costs_nothing_else() -> None:
    def fail(_samples: Samples) -> Samples:
        raise ValueError

    cleaner = Cleaner({"a": fail, "b": lambda samples: samples * 2})
    for _ in range(2):
        assert np.array_equal(cleaner(tone(20, level=0.1)), tone(20, level=0.1) * 2)


async def test_without_the_options_nothing_is_between(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Cleaning(),)) as gateway:
        await calling(gateway)
        session = gateway.get("a")
        assert session is not None
        assert session.media.clean is None
        unbegun = CallPair.connect(gateway.acceptor)
        unbegun.send({"command": "hangup"})
        await unbegun.closed()


# -- gain -----------------------------------------------------------------------------------------


async def test_G271_without_vad_the_gain_is_refused(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Cleaning(),)) as gateway:
        call = await calling(gateway, agc={})
        (error,) = call.of("error")
        assert error["sender"] == "agc"
        assert "needs vad" in error["error"]


@pytest.mark.parametrize("more", [{}, {"asr": {}}])
async def test_G63_a_soft_caller_becomes_louder(
    engine: VoiceEngine, more: dict[str, object]
) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Cleaning(),)) as gateway:
        call = await calling(
            gateway, agc={"initialGainDb": 0.0, "maxGainChangeDbPerSecond": 20.0}, vad={}, **more
        )
        heard = cleaned(gateway)
        await call.send_audio(silence(200))
        await call.send_audio(tone(3000, level=0.05))
        out = np.concatenate(heard)
        assert peak_dbfs(out[-3200:]) == pytest.approx(-5.0, abs=0.5)
        assert call.of("speaking")
        await call.send_audio(silence(500))
        await call.send_audio(tone(200, level=0.01))  # too short to be speech: the gain is held
        out = np.concatenate(heard)
        assert peak_dbfs(out[-1600:]) == pytest.approx(
            -5.0 + peak_dbfs(tone(20, level=0.01)) - peak_dbfs(tone(20, level=0.05)), abs=1.0
        )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"headroomDb": -1}, "agc.headroomDb is -1"),
        ({"maxGainDb": 200}, "agc.maxGainDb is 200"),
        ({"initialGainDb": -5}, "agc.initialGainDb"),
        ({"maxGainChangeDbPerSecond": -5}, "agc.maxGainChangeDbPerSecond"),
        ({"maxOutputNoiseLevelDbfs": 5}, "agc.maxOutputNoiseLevelDbfs is 5"),
    ],
)
async def test_G63_settings_that_make_no_sense_are_told(
    engine: VoiceEngine, option: dict[str, float], told: str
) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Cleaning(),)) as gateway:
        call = await calling(gateway, agc=option, vad={})
        (error,) = call.of("error")
        assert error["error"].startswith(told)
        await call.send_audio(tone(400))
        await call.expect("speaking")


def run(gain: AdaptiveGain, samples: Samples, size: int = 320) -> Samples:
    pieces = [gain.process(samples[at : at + size]) for at in range(0, len(samples), size)]
    return np.concatenate(pieces)


def gain_of(speech: bool = True, **option: float) -> AdaptiveGain:
    return AdaptiveGain(AGCOption.model_validate(option), lambda: speech)


def test_G63_the_gain_changes_by_at_most_its_speed() -> None:
    gain = gain_of(initialGainDb=0.0)
    run(gain, tone(1120, level=0.01))
    assert gain.gain_db == pytest.approx(6.0 * 1.0, abs=0.3)
    run(gain, tone(20_000, level=0.01))
    assert gain.gain_db == pytest.approx(-5.0 - peak_dbfs(tone(20, level=0.01)), abs=0.1)


def test_G63_it_falls_no_faster() -> None:
    gain = gain_of(initialGainDb=15.0)
    run(gain, tone(500, level=0.9))
    assert gain.gain_db == pytest.approx(12.0, abs=0.1)


def test_G63_it_waits_for_adjacent_speech() -> None:
    steps = iter(range(10_000))
    gain = AdaptiveGain(
        AGCOption(initial_gain_db=0.0, max_output_noise_level_dbfs=-0.0),
        lambda: next(steps) % 12 != 11,  # never twelve in a row
    )
    run(gain, tone(2000, level=0.01))
    assert gain.gain_db == 0.0


def test_G63_it_is_never_more_than_the_most() -> None:
    assert gain_of(initialGainDb=15, maxGainDb=10).gain_db == 10
    gain = gain_of(maxGainDb=20)
    run(gain, tone(20_000, level=0.001))
    assert gain.gain_db == pytest.approx(20)


def test_G63_noise_is_not_raised_above_its_limit() -> None:
    gain = gain_of(speech=False)
    noise = np.random.default_rng(1).normal(0, 60, 16_000 * 5).astype(np.int16)  # -55 dBFS
    run(gain, noise)
    assert gain.gain_db == pytest.approx(5, abs=1)


def test_G63_the_beginning_of_speech_is_not_taken_for_noise() -> None:
    steps = iter(range(10_000))
    gain = AdaptiveGain(AGCOption(initial_gain_db=0.0), lambda: next(steps) >= 30)
    run(gain, silence(100))
    run(gain, tone(6000, level=0.05))
    assert gain.gain_db == pytest.approx(-5.0 - peak_dbfs(tone(20, level=0.05)), abs=0.1)


def test_G63_it_is_not_taken_for_noise_after_the_speech_either() -> None:
    steps = iter(range(10_000))
    gain = AdaptiveGain(
        AGCOption(initial_gain_db=10.0, max_output_noise_level_dbfs=-40.0),
        lambda: 30 <= next(steps) < 100,
    )
    run(gain, tone(1000, level=0.05))
    reached = gain.gain_db
    run(gain, tone(1000, level=0.0005))
    assert gain.gain_db == reached > 10.0


def test_G63_silence_says_nothing_of_the_noise() -> None:
    gain = gain_of(speech=False)
    run(gain, silence(1000))
    assert gain.gain_db == 15


def test_G63_too_loud_a_caller_is_brought_back_and_never_made_softer() -> None:
    gain = gain_of(initialGainDb=15, maxGainChangeDbPerSecond=60)
    run(gain, tone(1000, level=0.9))
    assert gain.gain_db == 0.0
    assert np.array_equal(run(gain, tone(100, level=0.9)), tone(100, level=0.9))


@pytest.mark.parametrize("limiter", [True, False])
def test_G63_peaks_are_bent_or_clip(limiter: bool) -> None:
    option = AGCOption(initial_gain_db=6.0, enable_limiter=limiter)
    out = run(AdaptiveGain(option, lambda: False), tone(20, level=0.6))
    assert (int((out == 32_767).sum()) > 10) is not limiter
    assert 31_000 < int(out.max()) <= 32_767


@pytest.mark.parametrize("size", [100, 160, 333, 480])
def test_G63_pieces_may_have_any_size(size: int) -> None:
    assert len(run(gain_of(), tone(1000), size)) == 16_000


async def test_a_gain_that_fails_late_is_not_told_after_the_end(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, companions=lambda _s: (Cleaning(),)) as gateway:
        call = await calling(gateway, agc={}, vad={})
        session = gateway.get("a")
        assert session is not None
        clean = session.media.clean
        assert clean is not None
        session.hangup("enough")
        clean(None)  # type: ignore[arg-type]
        await call.closed()
        assert not call.of("error")
        await asyncio.sleep(0)
        assert session.media.clean is None
