"""Formats are checked when a pipeline is built (V37-V39, V49, V62, V239)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.unit.voice.pipeline.logging_stages import (
    RECORDING,
    Canceller,
    Converter,
    Denoiser,
    Detector,
    Gain,
    frame,
    session,
)

from salon.base import ConfigurationError
from salon.media.frame import AudioFormat
from salon.voice.backends.base import VoiceCapability
from salon.voice.pipeline.agc.base import AGCConfig
from salon.voice.pipeline.agc.mock import MockAGCProvider
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.contract import AudioPipelineContract
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.vad.base import VADConfig

WIDE = AudioFormat(48_000)


def needing(stage: Any, form: AudioFormat) -> Any:
    stage.required_format = form
    return stage


def test_V37_a_contract_has_three_formats() -> None:
    contract = AudioPipelineContract(AudioFormat(8_000), AudioFormat(24_000))
    assert contract.input_format == AudioFormat(8_000)
    assert contract.output_format == AudioFormat(24_000)
    assert contract.internal_format == AudioFormat(16_000, 1, 2, "pcm_s16le")


def test_V38_a_stage_that_cannot_take_the_internal_format_is_refused() -> None:
    config = AudioPipelineConfig(
        denoiser=needing(Denoiser(), WIDE), contract=AudioPipelineContract()
    )
    with pytest.raises(ConfigurationError, match="denoiser needs 48000 Hz, 1 ch, 16 bit"):
        AudioPipeline(config)


def test_V38_so_is_one_that_cannot_take_the_transports_where_nothing_converts() -> None:
    config = AudioPipelineConfig(vad=needing(Detector(), AudioFormat(16_000)))
    with pytest.raises(ConfigurationError, match="vad needs 16000 Hz"):
        AudioPipeline(config, transport_format=AudioFormat(8_000))
    AudioPipeline(config, transport_format=AudioFormat(16_000, codec="opus"))


def test_V38_stages_that_need_different_formats_are_refused_whatever_comes_in() -> None:
    config = AudioPipelineConfig(
        denoiser=needing(Denoiser(), WIDE), vad=needing(Detector(), AudioFormat(16_000))
    )
    with pytest.raises(ConfigurationError, match="no format suits both"):
        AudioPipeline(config)


def test_V38_a_stage_that_is_skipped_needs_nothing() -> None:
    config = AudioPipelineConfig(
        aec=needing(Canceller(), WIDE), vad=needing(Detector(), AudioFormat(16_000))
    )
    AudioPipeline(config, backend_capabilities=VoiceCapability.NATIVE_AEC)


def test_V38_a_resampler_is_set_to_what_the_stages_need() -> None:
    config = AudioPipelineConfig(resampler=Converter(), denoiser=needing(Denoiser(), WIDE))
    pipeline = AudioPipeline(config, transport_format=AudioFormat(8_000))
    assert pipeline.process_inbound_stream("x", frame(1, 8_000)).frame.sample_rate == 48_000
    assert pipeline.inbound_sample_rate(8_000) == 48_000


def test_V49_a_resampler_without_a_contract_makes_the_usual_format() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(resampler=Converter()))
    assert pipeline.process_inbound_stream("x", frame(1, 8_000)).frame.sample_rate == 16_000
    assert pipeline.inbound_sample_rate(8_000) == 16_000
    assert pipeline.process_outbound(session(), frame(1, 24_000)).sample_rate == 24_000


def test_V62_with_a_contract_and_no_resampler_one_is_made() -> None:
    contract = AudioPipelineContract(transport_inbound_format=AudioFormat(8_000))
    pipeline = AudioPipeline(AudioPipelineConfig(contract=contract))
    result = [pipeline.process_inbound_stream("x", frame(1, 8_000)).frame for _ in range(5)]
    assert {(made.sample_rate, made.duration_ms) for made in result} == {(16_000, 20.0)}
    assert result[0].metadata["original_sample_rate"] == 8_000


def test_V39_without_a_resampler_stages_take_what_comes(caplog: pytest.LogCaptureFixture) -> None:
    log: list[Any] = []
    expecting = needing(Detector(log), AudioFormat(16_000))
    pipeline = AudioPipeline(AudioPipelineConfig(vad=expecting))
    assert pipeline.inbound_sample_rate(8_000) == 8_000
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            pipeline.process_inbound_stream("x", frame(1, 8_000))
        pipeline.process_inbound_stream("y", frame(1, 8_000))
    assert [entry[0] for entry in log].count("vad") == 4
    assert len(caplog.records) == 1
    assert "vad expects 16000 Hz, 1 ch, 16 bit" in caplog.text


def test_V39_a_preference_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    denoiser = Denoiser()
    denoiser.preferred_format = WIDE
    with caplog.at_level(logging.WARNING):
        AudioPipeline(AudioPipelineConfig(denoiser=denoiser, contract=AudioPipelineContract()))
    assert "denoiser prefers 48000 Hz" in caplog.text
    caplog.clear()
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=denoiser))
    with caplog.at_level(logging.WARNING):
        pipeline.process_inbound_stream("x", frame())
        pipeline.process_inbound_stream("y", frame(1, 48_000))
    assert len(caplog.records) == 1


def test_V239_the_settings_reach_vad_and_agc() -> None:
    class Configurable(Detector):
        given: VADConfig | None = None

        def configure(self, config: VADConfig) -> None:
            self.given = config

    vad, agc = Configurable(), Gain()
    settings, gain = VADConfig(silence_threshold_ms=700), AGCConfig(max_gain_db=12.0)
    AudioPipeline(AudioPipelineConfig(vad=vad, vad_config=settings, agc=agc, agc_config=gain))
    assert (vad.given, agc.configured) == (settings, gain)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"vad_config": VADConfig(silence_threshold_ms=100)}, "vad_config without a vad"),
        ({"agc_config": AGCConfig()}, "agc_config without an agc"),
        (
            {"agc_config": AGCConfig(), "agc": MockAGCProvider()},
            "agc_config without an agc that takes one",
        ),
        ({"recording_config": RECORDING}, "recording_config without a recorder"),
        ({"suppress_dtmf": True}, "suppress_dtmf without a dtmf detector"),
    ],
)
def test_V214_settings_that_nothing_takes_are_told_of(
    settings: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        AudioPipeline(AudioPipelineConfig(**settings))
    (record,) = caplog.records
    assert told in record.getMessage()
