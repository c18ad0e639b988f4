"""The recorder's place, modes and consent (V50, V58, V82, V84, V85)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.unit.voice.pipeline.logging_stages import (
    RECORDING,
    Converter,
    Detector,
    PostProcessor,
    Recorder,
    frame,
    session,
)

from salon.base import ConfigurationError
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.recorder.base import RecordingConfig, RecordingMode
from salon.voice.pipeline.vad.base import VADEvent, VADEventType


def recording(recorder: Recorder, **more: Any) -> AudioPipeline:
    return AudioPipeline(
        AudioPipelineConfig(recorder=recorder, **{"recording_config": RECORDING, **more})
    )


def test_V50_V58_the_recorder_hears_what_comes_in_and_what_the_listener_gets() -> None:
    recorder = Recorder()
    pipeline = recording(
        recorder, resampler=Converter(adds=1), postprocessors=[PostProcessor(adds=2)]
    )
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame(10, 8_000))
    pipeline.process_outbound(session(), frame(20))
    assert recorder.inbound == [frame(11).data]
    assert recorder.outbound == [frame(22).data]


@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        (RecordingMode.BOTH, (1, 1)),
        (RecordingMode.INBOUND_ONLY, (1, 0)),
        (RecordingMode.OUTBOUND_ONLY, (0, 1)),
    ],
)
def test_V82_the_mode_is_honoured(mode: RecordingMode, counts: tuple[int, int]) -> None:
    recorder = Recorder()
    config = RecordingConfig(mode=mode, storage_encrypted_at_rest=True)
    pipeline = recording(recorder, recording_config=config)
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    pipeline.process_outbound(session(), frame())
    assert (len(recorder.inbound), len(recorder.outbound)) == counts


def test_V85_nothing_is_captured_before_the_release() -> None:
    recorder = Recorder()
    pipeline = recording(recorder)
    started: list[str] = []
    pipeline.on_recording_started(lambda _, handle: started.append(handle.id))
    who = session()
    pipeline.release_recording(who)
    pipeline.on_session_active(who, hold_recording=True)
    assert started == ["of s"]
    for level in (1, 2):
        pipeline.process_inbound(who, frame(level))
        pipeline.process_outbound(who, frame(level))
    assert (recorder.inbound, recorder.outbound) == ([], [])
    pipeline.release_recording(who)
    pipeline.release_recording(who)
    pipeline.process_inbound(who, frame(3))
    pipeline.process_outbound(who, frame(4))
    pipeline.hold_recording(who)
    pipeline.process_inbound(who, frame(5))
    assert (recorder.inbound, recorder.outbound) == ([frame(3).data], [frame(4).data])
    assert [entry for entry in recorder.log if isinstance(entry, str)] == [
        "hold",
        "release",
        "hold",
    ]


def test_V85_callbacks_have_returned_before_the_first_frame_is_captured() -> None:
    recorder = Recorder()
    pipeline = recording(recorder)
    who = session()
    pipeline.on_recording_started(lambda *_: pipeline.process_inbound(who, frame(1)))
    pipeline.on_session_active(who)
    assert recorder.inbound == []
    pipeline.process_inbound(who, frame(2))
    assert recorder.inbound == [frame(2).data]


def test_V84_a_second_start_is_no_second_recording() -> None:
    recorder = Recorder()
    pipeline = recording(recorder)
    pipeline.on_session_active(session())
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    pipeline.on_session_ended(session())
    pipeline.on_session_ended(session())
    assert [entry[0] for entry in recorder.log] == ["start", "recorder", "stop"]


def test_the_recorder_is_told_of_speech() -> None:
    recorder = Recorder()
    events = [VADEvent(kind) for kind in (VADEventType.SPEECH_START, VADEventType.SILENCE)]
    events.append(VADEvent(VADEventType.SPEECH_END))
    pipeline = recording(recorder, vad=Detector(events=events))
    pipeline.on_session_active(session())
    for _ in events:
        pipeline.process_inbound(session(), frame())
    assert [entry for entry in recorder.log if entry[0] == "speech"] == [
        ("speech", True),
        ("speech", False),
    ]


def test_nothing_is_recorded_without_a_recording_config(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    with caplog.at_level(logging.WARNING):
        pipeline = recording(recorder, recording_config=None)
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    pipeline.on_session_ended(session())
    assert recorder.log == []
    assert "records nothing" in caplog.text


def test_V83_a_refused_configuration_rises() -> None:
    recorder = Recorder()
    recorder.error = ConfigurationError("no such storage")
    with pytest.raises(ConfigurationError, match="no such storage"):
        recording(recorder).on_session_active(session())


def test_V204_a_recorder_that_cannot_start_ends_no_call() -> None:
    recorder = Recorder()
    recorder.error = RuntimeError("broken")
    pipeline = recording(recorder)
    started: list[Any] = []
    pipeline.on_recording_started(lambda *_: started.append(1))
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    pipeline.on_session_ended(session())
    assert (started, pipeline.failures) == ([], {"recorder": 1})


def test_playback_that_was_cut_is_told_to_the_recorder() -> None:
    class Noting(Recorder):
        def outbound_cut(self, handle: Any) -> None:
            self.log.append(("cut", handle.session_id))

    recorder = Noting()
    pipeline = recording(recorder)
    pipeline.outbound_cut(session())
    pipeline.on_session_active(session())
    pipeline.outbound_cut(session())
    assert recorder.log[-1] == ("cut", "s")
