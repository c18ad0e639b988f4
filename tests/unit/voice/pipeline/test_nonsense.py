"""Stages that give something else than their kind gives lose no sound (V204)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.pipeline.logging_stages import (
    Canceller,
    Converter,
    Denoiser,
    Detector,
    Gain,
    Keys,
    PostProcessor,
    Speakers,
    frame,
    session,
)

from salon.media.frame import AudioFormat, AudioFrame
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.contract import AudioPipelineContract
from salon.voice.pipeline.engine import AudioPipeline


def _misaligned(given: AudioFrame) -> AudioFrame:
    wrong = AudioFrame(given.data, given.sample_rate)
    wrong.data = b"\0"
    return wrong


NONSENSE: dict[str, Callable[[AudioFrame], Any]] = {
    "nothing": lambda _: None,
    "bytes": lambda given: given.data,
    "another rate": lambda given: AudioFrame(given.data, 22_050),
    "two channels": lambda given: AudioFrame(given.data, given.sample_rate, 2),
    "half a sample": _misaligned,
    "floating point": lambda given: given.with_samples(given.samples.astype(np.float32)),
}


def giving(kind: type[Any], make: Callable[[AudioFrame], Any]) -> Any:
    """A stage of `kind` that gives what `make` makes."""

    class Odd(kind):  # type: ignore[misc]
        def process(self, frame: AudioFrame, stream: str) -> Any:
            return make(frame)

        def resample(self, frame: AudioFrame, *_: Any) -> Any:
            return make(frame)

    return Odd()


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("slot", ["aec", "agc", "denoiser"])
def test_V204_nonsense_of_an_inbound_stage_is_counted_and_the_frame_goes_on(
    slot: str, what: str
) -> None:
    kind = {"aec": Canceller, "agc": Gain, "denoiser": Denoiser}[slot]
    stages: dict[str, Any] = {slot: giving(kind, NONSENSE[what])}
    pipeline = AudioPipeline(AudioPipelineConfig(**stages))
    heard: list[AudioFrame] = []
    pipeline.on_processed_frame(lambda _, given: heard.append(given))
    pipeline.on_session_active(session())
    given = frame(7)
    pipeline.process_inbound(session(), given)
    assert heard == [given]
    assert pipeline.failures == {slot: 1}


@pytest.mark.parametrize("what", NONSENSE)
def test_V204_nonsense_of_an_outbound_stage_likewise(what: str) -> None:
    odd = giving(PostProcessor, NONSENSE[what])
    pipeline = AudioPipeline(AudioPipelineConfig(postprocessors=[odd, PostProcessor(adds=3)]))
    pipeline.on_session_active(session())
    out = pipeline.process_outbound(session(), frame(1))
    assert int(out.samples[0]) == 4
    assert pipeline.failures == {"postprocessor:postprocessor": 1}


@pytest.mark.parametrize("what", ["nothing", "bytes", "another rate", "half a sample"])
def test_V204_nonsense_of_a_resampler_likewise(what: str) -> None:
    wide = AudioFormat(16_000)
    contract = AudioPipelineContract(wide, wide, wide)
    odd = giving(Converter, NONSENSE[what])
    pipeline = AudioPipeline(AudioPipelineConfig(resampler=odd, contract=contract))
    pipeline.on_session_active(session())
    given = frame(5, 8_000)
    assert pipeline.process_inbound_stream("x", given).frame is given
    assert pipeline.process_outbound(session(), given) is given
    assert pipeline.failures == {"resampler": 2}


def test_V204_an_empty_frame_for_one_with_sound_loses_nothing() -> None:
    odd = giving(Denoiser, lambda given: given.with_samples(given.samples[:0]))
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=odd))
    given = frame(7)
    assert pipeline.process_inbound_stream("x", given).frame is given
    empty = given.with_samples(given.samples[:0])
    assert not pipeline.process_inbound_stream("x", empty).frame.data
    assert pipeline.failures == {"denoiser": 1}


@pytest.mark.parametrize("slot", ["vad", "dtmf", "diarization"])
def test_V204_a_detector_that_tells_nonsense_is_not_believed(slot: str) -> None:
    kind = {"vad": Detector, "dtmf": Keys, "diarization": Speakers}[slot]
    stages: dict[str, Any] = {slot: giving(kind, lambda _: "speech")}
    pipeline = AudioPipeline(AudioPipelineConfig(**stages))
    given = frame(7)
    result = pipeline.process_inbound_stream("x", given)
    assert result.frame is given
    assert (result.vad_event, result.dtmf, result.speaker) == (None, None, None)
    assert pipeline.failures == {slot: 1}


def test_V204_a_stage_that_raises_a_cancellation_has_failed() -> None:
    def cancel(_: AudioFrame) -> Any:
        raise asyncio.CancelledError

    config = AudioPipelineConfig(denoiser=giving(Denoiser, cancel), vad=giving(Detector, cancel))
    pipeline = AudioPipeline(config)
    pipeline.on_processed_frame(lambda *_: cancel(frame()))
    pipeline.process_inbound(session(), frame())
    assert pipeline.failures == {"denoiser": 1, "vad": 1, "on_processed_frame": 1}
