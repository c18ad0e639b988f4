"""What the pipeline tells of (V68, V72-V77, V128, V204, V246)."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
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
    frame,
    session,
)

from salon.media.frame import AudioFrame
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.diarization.base import DiarizationResult
from salon.voice.pipeline.dtmf.base import DTMFEvent
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.vad.base import VADEvent, VADEventType
from salon.voice.pipeline.vad.mock import MockVADProvider

START = VADEvent(VADEventType.SPEECH_START, confidence=0.8)
END = VADEvent(VADEventType.SPEECH_END, audio_bytes=b"\1\0\2\0", duration_ms=60.0)


def test_V72_V74_speech_as_its_listeners_see_it() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(vad=Detector(events=[None, START, None, END])))
    told: list[Any] = []
    pipeline.on_vad_event(lambda who, event: told.append((who.id, event)))
    pipeline.on_speech_end(lambda who, speech: told.append((who.id, speech)))
    pipeline.on_speech_frame(lambda _, what: told.append(("speech", int(what.samples[0]))))
    pipeline.on_processed_frame(lambda _, what: told.append(int(what.samples[0])))
    for level in range(5):
        pipeline.process_inbound(session(), frame(level))
    assert told == [
        *[0],
        *[("s", START), ("speech", 1), 1],
        *[("speech", 2), 2],
        *[("s", END), ("s", b"\1\0\2\0"), 3],
        *[4],
    ]


def test_V72_what_the_detector_said_is_noted_on_the_frame() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(vad=Detector(events=[None, START, None, END])))
    notes = [pipeline.process_inbound_stream("x", frame()).frame.metadata for _ in range(4)]
    assert notes == [
        {},
        {"vad": {"type": "speech_start", "confidence": 0.8}, "vad_is_speech": True},
        {"vad_is_speech": True},
        {"vad": {"type": "speech_end", "confidence": None}, "vad_speech_end": True},
    ]


def test_V73_other_events_are_told_and_no_speech() -> None:
    events = [VADEvent(VADEventType.SILENCE), VADEvent(VADEventType.AUDIO_LEVEL, level_db=-30.0)]
    pipeline = AudioPipeline(AudioPipelineConfig(vad=Detector(events=events)))
    told: list[Any] = []
    pipeline.on_vad_event(lambda _, event: told.append(event.type))
    pipeline.on_speech_end(lambda _, speech: told.append(speech))
    pipeline.on_speech_frame(lambda _, what: told.append(what))
    for _ in range(3):
        pipeline.process_inbound(session(), frame())
    assert told == ["silence", "audio_level"]


def test_an_end_without_sound_gives_no_speech() -> None:
    pipeline = AudioPipeline(
        AudioPipelineConfig(vad=Detector(events=[START, VADEvent(VADEventType.SPEECH_END)]))
    )
    told: list[Any] = []
    pipeline.on_speech_end(lambda _, speech: told.append(speech))
    for _ in range(2):
        pipeline.process_inbound(session(), frame())
    assert told == []


def test_V68_each_key_is_told() -> None:
    keys = [DTMFEvent("1", 80.0), None, DTMFEvent("#", 90.0)]
    pipeline = AudioPipeline(AudioPipelineConfig(dtmf=Keys(events=keys)))
    told: list[Any] = []
    pipeline.on_dtmf(lambda who, event: told.append((who.id, event.digit)))
    for _ in range(4):
        pipeline.process_inbound(session(), frame())
    assert told == [("s", "1"), ("s", "#")]


def test_V77_V246_a_change_is_another_named_speaker() -> None:
    heard = ["anna", "anna", "", "anna", None, "ben", "anna"]
    results = [None if who is None else DiarizationResult(who, 0.9, False) for who in heard]
    pipeline = AudioPipeline(AudioPipelineConfig(diarization=Speakers(events=results)))
    told: list[str | None] = []
    pipeline.on_speaker_change(lambda _, result: told.append(result.speaker_id))
    for _ in heard:
        pipeline.process_inbound(session(), frame())
    assert told == ["anna", "ben", "anna"]


def test_all_callbacks_of_a_kind_are_called_in_order() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    told: list[int] = []
    pipeline.on_processed_frame(lambda *_: told.append(1))
    pipeline.on_processed_frame(lambda *_: told.append(2))
    pipeline.process_inbound(session(), frame())
    assert told == [1, 2]


def test_V42_a_frame_that_comes_again_brings_no_notes_of_the_speech_it_was_part_of() -> None:
    script = [VADEvent(VADEventType.SPEECH_START), None, VADEvent(VADEventType.SPEECH_END, b"\0\0")]
    pipeline = AudioPipeline(AudioPipelineConfig(vad=MockVADProvider(script)))
    noted: list[tuple[str, bool, bool]] = []
    pipeline.on_processed_frame(
        lambda who, one: noted.append(
            (who.id, "vad" in one.metadata, "vad_is_speech" in one.metadata)
        )
    )
    given = frame(1)
    for _ in range(4):
        pipeline.process_inbound(session("a"), given)
    assert noted == [("a", True, True), ("a", False, True), ("a", True, False), ("a", False, False)]
    assert given.metadata == {}


# -- V128 -----------------------------------------------------------------------------------------


def test_V128_levels_come_ten_times_per_second_and_direction() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    levels: list[Any] = []
    pipeline.on_input_level(lambda who, level: levels.append(("in", who.id, round(level, 1))))
    pipeline.on_output_level(lambda who, level: levels.append(("out", who.id, round(level, 1))))
    who = session()
    for _ in range(50):
        pipeline.process_inbound(who, frame(3277))
        pipeline.process_outbound(who, frame(0))
    assert levels == [("in", "s", -20.0), ("out", "s", -60.0)] * 10


def test_V128_levels_follow_a_change_of_format_and_skip_what_they_cannot_read() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    levels: list[float] = []
    pipeline.on_input_level(lambda _, level: levels.append(level))
    for _ in range(5):
        pipeline.process_inbound(session(), frame(32767, 48_000))
    assert len(levels) == 1
    pipeline.process_inbound(session(), AudioFrame(b"\0" * 640, sample_width=4))
    assert (len(levels), pipeline.failures) == (1, {"on_input_level": 1})


def test_V128_levels_are_of_the_sound_before_anything_works_on_it() -> None:
    pipeline = AudioPipeline(
        AudioPipelineConfig(denoiser=Denoiser(adds=3277), postprocessors=[PostProcessor(adds=3277)])
    )
    levels: list[float] = []
    pipeline.on_input_level(lambda _, level: levels.append(round(level)))
    pipeline.on_output_level(lambda _, level: levels.append(round(level)))
    for _ in range(5):
        pipeline.process_inbound(session(), frame(0))
    for _ in range(5):
        pipeline.process_outbound(session(), frame(0))
    assert levels == [-60, -20]


# -- V204 -----------------------------------------------------------------------------------------


def test_V204_a_stage_that_raises_leaves_the_frame_as_the_one_before_made_it() -> None:
    config = AudioPipelineConfig(
        resampler=Converter(fails=True),
        recorder=Recorder(fails=True),
        recording_config=RECORDING,
        dtmf=Keys(fails=True),
        aec=Canceller(fails=True),
        agc=Gain(adds=5),
        denoiser=Denoiser(fails=True),
        vad=Detector(fails=True),
        diarization=Speakers(fails=True),
        postprocessors=[PostProcessor(fails=True), PostProcessor(adds=3)],
    )
    pipeline = AudioPipeline(config)
    heard: list[int] = []
    pipeline.on_processed_frame(lambda _, what: heard.append(int(what.samples[0])))
    pipeline.on_session_active(session())
    for _ in range(2):
        pipeline.process_inbound(session(), frame(1, 8_000))
    assert heard == [6, 6]
    assert int(pipeline.process_outbound(session(), frame(1)).samples[0]) == 4
    assert pipeline.failures == {
        "resampler": 2,
        "recorder": 3,
        "dtmf": 2,
        "aec": 3,
        "denoiser": 2,
        "vad": 2,
        "diarization": 2,
        "postprocessor:postprocessor": 1,
    }


def test_V204_a_listener_that_raises_stops_no_other() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig())
    told: list[int] = []

    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    pipeline.on_processed_frame(broken)
    pipeline.on_processed_frame(lambda *_: told.append(1))
    pipeline.process_inbound(session(), frame())
    assert (told, pipeline.failures) == ([1], {"on_processed_frame": 1})


def test_V204_failures_are_logged_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Denoiser(fails=True)))
    with caplog.at_level(logging.ERROR, "salon.voice.pipeline"):
        for _ in range(100):
            pipeline.process_inbound_stream("x", frame())
    assert len(caplog.records) == 7
    assert [record.stage_name for record in caplog.records] == ["denoiser"] * 7  # type: ignore[attr-defined]


def test_V207_no_key_is_logged_when_its_stage_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Telling(Keys):
        def process(self, frame: AudioFrame, stream: str) -> Any:
            raise RuntimeError("the key was 4711")

    pipeline = AudioPipeline(AudioPipelineConfig(dtmf=Telling()))
    pipeline.process_inbound_stream("x", frame())
    assert len(caplog.records) == 1
    assert "4711" not in caplog.text


def test_V50_the_input_is_never_written_to() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(agc=Gain(adds=1), denoiser=Denoiser(adds=1)))
    given = frame(1)
    pipeline.process_inbound_stream("x", given)
    assert np.array_equal(given.samples, np.ones(320, np.int16))
