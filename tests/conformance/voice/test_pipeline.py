"""The audio pipeline from outside: mocks at every stage, frames in and out (parts 6 to 10)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioFormat, AudioFrame
from salon.media.wav import read_wav
from salon.voice.backends.base import VoiceCapability
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.aec.mock import MockAECProvider
from salon.voice.pipeline.agc.mock import MockAGCProvider
from salon.voice.pipeline.config import AudioPipelineConfig, AudioPipelineContract
from salon.voice.pipeline.debug_taps import PipelineDebugTaps
from salon.voice.pipeline.denoiser.mock import MockDenoiserProvider
from salon.voice.pipeline.diarization.base import DiarizationResult
from salon.voice.pipeline.diarization.mock import MockDiarizationProvider
from salon.voice.pipeline.dtmf.base import DTMFEvent
from salon.voice.pipeline.dtmf.mock import MockDTMFDetector
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.postprocessor.mock import MockAudioPostProcessor
from salon.voice.pipeline.recorder.base import RecordingConfig, RecordingMode
from salon.voice.pipeline.recorder.mock import MockAudioRecorder
from salon.voice.pipeline.resampler.mock import MockResamplerProvider
from salon.voice.pipeline.vad.base import VADEvent, VADEventType
from salon.voice.pipeline.vad.mock import MockVADProvider

RECORDED = RecordingConfig(storage_encrypted_at_rest=True)


def session(name: str = "s") -> VoiceSession:
    return VoiceSession(name, "room", "caller", "voice")


def frame(level: int = 1, rate: int = 16_000) -> AudioFrame:
    return AudioFrame.of(np.full(rate // 50, level, dtype=np.int16), rate)


class Stage:
    """The order in which stages are called, seen from the frames' notes."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log

    def __call__(self, method: Any) -> Any:
        def logged(*given: Any) -> Any:
            self._log.append(self._name)
            return method(*given)

        return logged


def logged(config: AudioPipelineConfig) -> list[str]:
    """Let every mock of `config` write down its name when it is called."""
    log: list[str] = []
    for slot in ("dtmf", "aec", "agc", "denoiser", "vad", "diarization"):
        stage = getattr(config, slot)
        if stage is not None:
            stage.process = Stage(slot, log)(stage.process)
    for number, post in enumerate(config.postprocessors):
        post.process = Stage(f"post {number}", log)(post.process)  # type: ignore[method-assign]
    recorder, resampler, aec = config.recorder, config.resampler, config.aec
    if recorder is not None:
        recorder.tap_inbound = Stage("recorder", log)(recorder.tap_inbound)  # type: ignore[method-assign]
        recorder.tap_outbound = Stage("recorder", log)(recorder.tap_outbound)  # type: ignore[method-assign]
    if resampler is not None:
        resampler.resample = Stage("resampler", log)(resampler.resample)  # type: ignore[method-assign]
    if aec is not None:
        aec.feed_reference = Stage("reference", log)(aec.feed_reference)  # type: ignore[method-assign]
    return log


def full(**more: Any) -> AudioPipelineConfig:
    stages: dict[str, Any] = {
        "resampler": MockResamplerProvider(),
        "recorder": MockAudioRecorder(),
        "recording_config": RECORDED,
        "dtmf": MockDTMFDetector(),
        "aec": MockAECProvider(),
        "agc": MockAGCProvider(),
        "denoiser": MockDenoiserProvider(),
        "vad": MockVADProvider(),
        "diarization": MockDiarizationProvider(),
        "postprocessors": [MockAudioPostProcessor(), MockAudioPostProcessor()],
        "contract": AudioPipelineContract(transport_outbound_format=AudioFormat(8_000)),
    }
    return AudioPipelineConfig(**{**stages, **more})


def test_V48_V49_V52_V53_V54_V55_the_inbound_order() -> None:
    config = full()
    log = logged(config)
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame(1, 8_000))
    assert log == [
        "resampler",
        "recorder",
        "dtmf",
        "aec",
        "agc",
        "denoiser",
        "vad",
        "diarization",
    ]


def test_V57_V58_V59_V61_the_outbound_order() -> None:
    config = full()
    log = logged(config)
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    pipeline.process_outbound(session(), frame())
    assert log == ["post 0", "post 1", "recorder", "reference", "resampler"]


def test_V22_native_echo_and_gain_control_skip_the_stages() -> None:
    aec, agc = MockAECProvider(), MockAGCProvider()
    pipeline = AudioPipeline(
        AudioPipelineConfig(aec=aec, agc=agc),
        backend_capabilities=VoiceCapability.NATIVE_AEC | VoiceCapability.NATIVE_AGC,
    )
    pipeline.process_inbound(session(), frame())
    pipeline.process_outbound(session(), frame())
    assert (aec.frames, aec.reference_frames, agc.frames) == ([], [], [])


def test_V34_without_stages_frames_pass() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    given = frame()
    assert pipeline.process_inbound_stream("s", given).frame is given
    assert pipeline.process_outbound(session(), given) is given


def test_V38_a_format_that_does_not_fit_is_refused_at_the_start() -> None:
    class Wide(MockVADProvider):
        required_format = AudioFormat(48_000)

    with pytest.raises(ConfigurationError):
        AudioPipeline(AudioPipelineConfig(vad=Wide(), contract=AudioPipelineContract()))
    with pytest.raises(ConfigurationError):
        AudioPipeline(AudioPipelineConfig(vad=Wide()), transport_format=AudioFormat(8_000))


def test_V37_V62_a_contract_without_a_resampler_makes_one() -> None:
    config = AudioPipelineConfig(contract=AudioPipelineContract())
    given = frame(1, 48_000)
    given.timestamp_ms = 20.0
    heard = AudioPipeline(config).process_inbound_stream("s", given).frame
    assert (heard.sample_rate, heard.duration_ms, heard.timestamp_ms) == (16_000, 20.0, 20.0)
    assert heard.metadata["original_sample_rate"] == 48_000
    assert heard.metadata["original_channels"] == 1


def test_V46_V47_every_stage_forgets_at_the_start_and_at_the_end() -> None:
    config = full()
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    stages: list[Any] = [config.dtmf, config.agc, config.denoiser, config.vad, config.diarization]
    stages += config.postprocessors
    assert [stage.reset_count for stage in stages] == [1] * 7
    pipeline.process_inbound(session(), frame())
    assert [stage.reset_count for stage in stages] == [1] * 7
    pipeline.on_session_ended(session())
    assert [stage.reset_count for stage in stages] == [2] * 7
    pipeline.close()
    assert all(stage.closed for stage in stages)


def test_V40_V43_two_streams_are_as_each_alone() -> None:
    events = [None, VADEvent(VADEventType.SPEECH_START), None, VADEvent(VADEventType.SILENCE)]

    def run(streams: str) -> list[Any]:
        pipeline = AudioPipeline(AudioPipelineConfig(vad=MockVADProvider(events)))
        results = [
            (stream, pipeline.process_inbound_stream(stream, frame(n)))
            for n in range(5)
            for stream in streams
        ]
        return [(r.frame.data, r.vad_event) for stream, r in results if stream == "a"]

    assert run("a") == run("ab") == run("bac")


def test_V51_the_key_detector_sees_what_the_recorder_sees() -> None:
    config = AudioPipelineConfig(
        recorder=MockAudioRecorder(),
        recording_config=RECORDED,
        dtmf=MockDTMFDetector([DTMFEvent("7", 80.0)]),
    )
    pipeline = AudioPipeline(config)
    keys: list[str] = []
    pipeline.on_dtmf(lambda _, event: keys.append(event.digit))
    pipeline.on_session_active(session())
    given = frame()
    pipeline.process_inbound(session(), given)
    assert isinstance(config.recorder, MockAudioRecorder)
    assert isinstance(config.dtmf, MockDTMFDetector)
    assert [heard for _, heard in config.recorder.inbound_frames] == config.dtmf.frames == [given]
    assert keys == ["7"]


def test_V60_a_transport_that_feeds_the_reference_is_left_to_it() -> None:
    aec = MockAECProvider()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec), backend_feeds_aec_reference=True)
    pipeline.process_outbound(session(), frame())
    assert aec.reference_streams == []
    pipeline.feed_aec_reference(frame(), "s")
    assert aec.reference_streams == ["s"]


def test_V64_the_reference_has_its_streams_key() -> None:
    aec = MockAECProvider()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec))
    for name in ("a", "b"):
        pipeline.process_outbound(session(name), frame())
        pipeline.process_inbound(session(name), frame())
    assert aec.streams == aec.reference_streams == ["a", "b"]


def test_V65_the_reference_has_the_captures_rate() -> None:
    aec = MockAECProvider()
    pipeline = AudioPipeline(AudioPipelineConfig(aec=aec, contract=AudioPipelineContract()))
    pipeline.process_outbound(session(), frame(1, 24_000))
    assert [heard.sample_rate for heard in aec.reference_frames] == [16_000]


def test_V61_V142_each_session_gets_its_transports_rate() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(contract=AudioPipelineContract()))
    pipeline.set_outbound_format("phone", AudioFormat(8_000))
    assert pipeline.process_outbound(session("phone"), frame()).sample_rate == 8_000
    assert pipeline.process_outbound(session("browser"), frame()).sample_rate == 16_000


def test_V72_V73_speech_is_told_with_its_segment() -> None:
    events = [
        VADEvent(VADEventType.SPEECH_START),
        VADEvent(VADEventType.SPEECH_END, audio_bytes=b"\1\0"),
    ]
    pipeline = AudioPipeline(AudioPipelineConfig(vad=MockVADProvider([*events])))
    told: list[Any] = []
    pipeline.on_vad_event(lambda _, event: told.append(event.type))
    pipeline.on_speech_end(lambda _, speech: told.append(speech))
    for _ in range(3):
        pipeline.process_inbound(session(), frame())
    assert told == [VADEventType.SPEECH_START, VADEventType.SPEECH_END, b"\1\0"]


def test_V77_V246_only_another_named_speaker_is_a_change() -> None:
    names = ["anna", "anna", "", "anna", "ben"]
    results = [DiarizationResult(name, 0.9, False) for name in names]
    pipeline = AudioPipeline(AudioPipelineConfig(diarization=MockDiarizationProvider([*results])))
    told: list[str | None] = []
    pipeline.on_speaker_change(lambda _, result: told.append(result.speaker_id))
    for _ in names:
        pipeline.process_inbound(session(), frame())
    assert told == ["anna", "ben"]


def test_V78_V79_V80_taps_write_files_of_known_names(tmp_path: Path) -> None:
    event = VADEvent(VADEventType.SPEECH_END, audio_bytes=b"\1\0" * 80)
    config = AudioPipelineConfig(
        vad=MockVADProvider([event, event]), debug_taps=PipelineDebugTaps(str(tmp_path / "taps"))
    )
    pipeline = AudioPipeline(config)
    for _ in range(2):
        pipeline.process_inbound(session(), frame())
        pipeline.process_outbound(session(), frame())
    pipeline.on_session_ended(session())
    sizes = {path.name: len(read_wav(path)[0]) for path in (tmp_path / "taps").iterdir()}
    assert sizes == {
        "s_01_raw.wav": 640,
        "s_02_post_aec.wav": 640,
        "s_03_post_agc.wav": 640,
        "s_04_post_denoiser.wav": 640,
        "s_05_post_vad_speech_001.wav": 80,
        "s_05_post_vad_speech_002.wav": 80,
        "s_06_outbound_raw.wav": 640,
        "s_07_outbound_final.wav": 640,
    }
    pipeline.close()


def test_V78_without_taps_nothing_is_written(tmp_path: Path) -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    pipeline.process_inbound(session(), frame())
    pipeline.debug_tap("s", "raw", frame())
    pipeline.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", RecordingMode)
def test_V81_V82_the_recorder_hears_the_directions_it_is_for(mode: RecordingMode) -> None:
    recorder = MockAudioRecorder()
    config = RecordingConfig(mode=mode, storage_encrypted_at_rest=True)
    pipeline = AudioPipeline(AudioPipelineConfig(recorder=recorder, recording_config=config))
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame(1))
    pipeline.process_outbound(session(), frame(2))
    assert len(recorder.inbound_frames) == mode.inbound
    assert len(recorder.outbound_frames) == mode.outbound


def test_V84_V85_nothing_is_captured_before_the_release() -> None:
    recorder = MockAudioRecorder()
    pipeline = AudioPipeline(AudioPipelineConfig(recorder=recorder, recording_config=RECORDED))
    told: list[str] = []
    pipeline.on_recording_started(lambda *_: told.append("started"))
    pipeline.on_recording_stopped(lambda *_: told.append("stopped"))
    pipeline.on_session_active(session(), hold_recording=True)
    pipeline.process_inbound(session(), frame(1))
    pipeline.process_outbound(session(), frame(1))
    assert (told, recorder.inbound_frames, recorder.outbound_frames) == (["started"], [], [])
    pipeline.release_recording(session())
    pipeline.process_inbound(session(), frame(2))
    pipeline.on_session_ended(session())
    assert [int(heard.samples[0]) for _, heard in recorder.inbound_frames] == [2]
    assert told == ["started", "stopped"]


def test_V128_levels_come_at_most_ten_times_per_second() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    levels: list[float] = []
    pipeline.on_input_level(lambda _, level_db: levels.append(level_db))
    for _ in range(100):
        pipeline.process_inbound(session(), frame(3277))
    assert len(levels) == 20
    assert levels[0] == pytest.approx(-20, abs=0.1)


def test_V204_a_stage_that_always_raises_costs_only_itself() -> None:
    class Broken(MockDenoiserProvider):
        def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
            raise RuntimeError("broken")

    vad = MockVADProvider()
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Broken(), vad=vad))
    given = frame()
    for _ in range(50):
        pipeline.process_inbound(session(), given)
    assert vad.frames == [given] * 50
    assert pipeline.failures == {"denoiser": 50}


def test_V210_stages_are_timed_when_somebody_asks() -> None:
    timed: list[str] = []
    pipeline = AudioPipeline(
        AudioPipelineConfig(vad=MockVADProvider()),
        stage_timer=lambda stage, latency_ms, stream: timed.append(stage),
    )
    for _ in range(51):
        pipeline.process_inbound(session(), frame())
    assert timed == ["vad", "vad"]
