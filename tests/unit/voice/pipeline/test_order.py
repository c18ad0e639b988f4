"""The order of stages, whichever of them there are (V48-V58)."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from tests.unit.voice.pipeline.logging_stages import (
    RECORDING,
    Canceller,
    Converter,
    Denoiser,
    Detector,
    Gain,
    Keys,
    PostProcessor,
    Recorder,
    Speakers,
    Stage,
    first_sample,
    frame,
    session,
)

from salon.media.frame import AudioFormat
from salon.voice.backends.base import VoiceCapability
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.contract import AudioPipelineContract
from salon.voice.pipeline.engine import AudioPipeline

INBOUND: dict[str, type[Stage]] = {
    "resampler": Converter,
    "recorder": Recorder,
    "dtmf": Keys,
    "aec": Canceller,
    "agc": Gain,
    "denoiser": Denoiser,
    "vad": Detector,
    "diarization": Speakers,
}
"""In the order of part 7."""
SUBSETS = [
    {slot for slot, there in zip(INBOUND, chosen, strict=True) if there}
    for chosen in product((False, True), repeat=len(INBOUND))
]


def configured(slots: set[str], log: list[Any], **more: Any) -> AudioPipelineConfig:
    stages: dict[str, Any] = {slot: INBOUND[slot](log) for slot in slots}
    if "recorder" in slots:
        more["recording_config"] = RECORDING
    return AudioPipelineConfig(**stages, **more)


def names(log: list[Any]) -> list[str]:
    return [entry[0] for entry in log]


def test_V48_V34_the_inbound_order_holds_for_every_subset() -> None:
    for slots in SUBSETS:
        log: list[Any] = []
        pipeline = AudioPipeline(configured(slots, log))
        pipeline.on_session_active(session())
        log.clear()
        pipeline.process_inbound(session(), frame(rate=8_000))
        assert names(log) == [slot for slot in INBOUND if slot in slots]


@pytest.mark.parametrize(
    ("capability", "skipped"),
    [
        (VoiceCapability.NATIVE_AEC, {"aec"}),
        (VoiceCapability.NATIVE_AGC, {"agc"}),
        (VoiceCapability.NATIVE_AEC | VoiceCapability.NATIVE_AGC, {"aec", "agc"}),
    ],
)
def test_V22_what_the_backend_does_itself_is_skipped(
    capability: VoiceCapability, skipped: set[str]
) -> None:
    for slots in SUBSETS:
        log: list[Any] = []
        pipeline = AudioPipeline(configured(slots, log), backend_capabilities=capability)
        pipeline.on_session_active(session())
        log.clear()
        pipeline.process_inbound(session(), frame(rate=8_000))
        assert names(log) == [slot for slot in INBOUND if slot in slots - skipped]
        pipeline.process_outbound(session(), frame())
        pipeline.feed_aec_reference(frame(), "s")
        assert ("reference" in names(log)) == ("aec" in slots - skipped)
        pipeline.close()


def test_V22_a_skipped_stage_is_closed_all_the_same() -> None:
    aec = Canceller()
    pipeline = AudioPipeline(
        AudioPipelineConfig(aec=aec), backend_capabilities=VoiceCapability.NATIVE_AEC
    )
    assert not pipeline.runs_aec
    pipeline.set_aec_active("s", True)
    pipeline.close()
    assert (aec.closed, aec.log, aec.switched) == (1, [], [])


def test_V57_the_outbound_order_holds_for_every_subset() -> None:
    contract = AudioPipelineContract(transport_outbound_format=AudioFormat(8_000))
    for posts, recorded, cancelled, resampled in product(range(3), *[(False, True)] * 3):
        log: list[Any] = []
        slots = {"recorder"} if recorded else set[str]()
        slots |= {"aec"} if cancelled else set()
        slots |= {"resampler"} if resampled else set()
        config = configured(
            slots,
            log,
            postprocessors=[PostProcessor(log, adds=1 + n) for n in range(posts)],
            contract=contract if resampled else None,
        )
        pipeline = AudioPipeline(config)
        pipeline.on_session_active(session())
        log.clear()
        played = pipeline.process_outbound(session(), frame(10))
        after = [10, 11, 13][posts]
        expected = [("postprocessor", 10, "s"), ("postprocessor", 11, "s")][:posts]
        expected += [("recorder", after, "s")] * recorded
        expected += [("reference", after, "s")] * cancelled
        expected += [("resampler", after, "s/outbound")] * resampled
        assert log == expected
        assert first_sample(played) == after
        assert played.sample_rate == (8_000 if resampled else 16_000)


def test_V52_V53_V54_each_stage_gets_what_the_one_before_it_made() -> None:
    log: list[Any] = []
    stages: dict[str, Any] = {
        slot: kind(log, adds=10**n) for n, (slot, kind) in enumerate(list(INBOUND.items())[3:6])
    }
    pipeline = AudioPipeline(
        AudioPipelineConfig(vad=Detector(log), diarization=Speakers(log), **stages)
    )
    result = pipeline.process_inbound_stream("x", frame(1))
    seen = {entry[0]: entry[1] for entry in log if len(entry) == 3}
    assert seen == {"aec": 1, "agc": 2, "denoiser": 12, "vad": 112, "diarization": 112}
    assert first_sample(result.frame) == 112


def test_V50_V51_recorder_and_keys_get_the_resampled_frame_and_change_nothing() -> None:
    log: list[Any] = []
    recorder, keys, aec = Recorder(log), Keys(log), Canceller(log)
    config = AudioPipelineConfig(
        resampler=Converter(log, adds=5),
        recorder=recorder,
        recording_config=RECORDING,
        dtmf=keys,
        aec=aec,
    )
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    log.clear()
    pipeline.process_inbound(session(), frame(1, 8_000))
    seen = [("resampler", 1, "s"), ("recorder", 6, "s"), ("dtmf", 6, "s"), ("aec", 6, "s")]
    assert log == seen
    assert recorder.inbound == [frame(6).data]


def test_V34_an_empty_pipeline_passes_the_frame_itself() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    given = frame()
    heard: list[Any] = []
    pipeline.on_processed_frame(lambda _, what: heard.append(what))
    pipeline.process_inbound(session(), given)
    pipeline.process_frame(session(), given)
    assert [what is given for what in heard] == [True, True]
    assert pipeline.process_outbound(session(), given) is given
    assert pipeline.process_inbound_stream("x", given).frame is given


def test_V69_a_key_is_silenced_for_later_stages_on_request() -> None:
    log: list[Any] = []
    keys, recorder = Keys(log), Recorder(log)
    pipeline = AudioPipeline(
        AudioPipelineConfig(
            dtmf=keys,
            suppress_dtmf=True,
            denoiser=Denoiser(log),
            recorder=recorder,
            recording_config=RECORDING,
        )
    )
    pipeline.on_session_active(session())
    log.clear()
    given = frame(7)
    for sounding in (False, True, False):
        keys.sounding = sounding
        pipeline.process_inbound(session(), given)
    assert [entry[1] for entry in log if entry[0] == "denoiser"] == [7, 0, 7]
    assert recorder.inbound == [given.data] * 3
    assert first_sample(given) == 7


def test_V69_a_detector_that_fails_to_say_silences_nothing() -> None:
    class Broken(Keys):
        def tone_active(self, stream: str) -> bool:
            raise RuntimeError("broken")

    pipeline = AudioPipeline(AudioPipelineConfig(dtmf=Broken(), suppress_dtmf=True))
    assert first_sample(pipeline.process_inbound_stream("x", frame(7)).frame) == 7
    assert pipeline.failures == {"dtmf": 1}
