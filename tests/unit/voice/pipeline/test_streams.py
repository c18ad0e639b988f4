"""Streams, sessions and their ends (V40-V47, V19)."""

from __future__ import annotations

import threading
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
    frame,
    session,
)

from salon.media.frame import AudioFormat, AudioFrame
from salon.voice.backends.session import VoiceSessionState
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.contract import AudioPipelineContract
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.turn.mock import MockTurnDetector
from salon.voice.pipeline.vad.base import VADEvent, VADEventType


def everything(log: list[Any]) -> AudioPipelineConfig:
    return AudioPipelineConfig(
        resampler=Converter(log),
        recorder=Recorder(log),
        recording_config=RECORDING,
        dtmf=Keys(log),
        aec=Canceller(log),
        agc=Gain(log),
        denoiser=Denoiser(log),
        vad=Detector(log),
        diarization=Speakers(log),
        postprocessors=[PostProcessor(log)],
    )


KEYED = ("resampler", "dtmf", "aec", "agc", "denoiser", "vad", "diarization", "postprocessor")
RESET = [*[(f"reset {slot}", "s") for slot in KEYED], ("reset resampler", "s/outbound")]


def test_V19_V46_a_session_begins_with_resets_then_the_recorder() -> None:
    log: list[Any] = []
    pipeline = AudioPipeline(everything(log))
    pipeline.on_recording_started(lambda who, handle: log.append(("told", who.id, handle.id)))
    pipeline.on_session_active(session())
    assert log == [*RESET, ("start", "s"), ("told", "s", "of s")]
    log.clear()
    pipeline.process_inbound(session(), frame())
    assert not [entry for entry in log if entry[0].startswith("reset")]


def test_V19_V46_a_session_ends_with_the_recorder_then_resets() -> None:
    log: list[Any] = []
    pipeline = AudioPipeline(everything(log))
    pipeline.on_recording_stopped(lambda who, result: log.append(("told", who.id, result.id)))
    pipeline.on_session_active(session())
    log.clear()
    pipeline.on_session_ended(session())
    assert log == [("stop", "s"), ("told", "s", "of s"), *RESET]
    assert pipeline.stream_count == 0


async def test_V19_a_session_ends_without_holding_up_the_loop() -> None:
    log: list[Any] = []
    pipeline = AudioPipeline(everything(log))
    pipeline.on_recording_stopped(lambda who, result: log.append(("told", who.id, result.id)))
    pipeline.on_session_active(session())
    log.clear()
    await pipeline.end_session(session())
    assert log == [("stop", "s"), ("told", "s", "of s"), *RESET]
    await pipeline.end_session(session("other"))


async def test_V204_a_recorder_that_fails_to_finish_leaves_no_state() -> None:
    config = everything([])
    assert isinstance(config.recorder, Recorder)
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    pipeline.on_session_active(session("t"))
    config.recorder.error = RuntimeError("no disk")
    await pipeline.end_session(session())
    pipeline.on_session_ended(session("t"))
    assert (pipeline.stream_count, pipeline.failures) == (0, {"recorder": 2})


def test_V46_a_stream_is_reset_before_its_first_frame_without_being_announced() -> None:
    log: list[Any] = []
    denoiser = Denoiser(log)
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=denoiser))
    pipeline.process_inbound(session("a"), frame())
    pipeline.process_inbound(session("a"), frame())
    pipeline.process_inbound_stream("lane", frame())
    pipeline.process_outbound(session("b"), frame())
    assert denoiser.resets == ["a", "lane", "b"]
    assert log[:2] == [("reset denoiser", "a"), ("denoiser", 1, "a")]


def test_V46_a_reused_key_inherits_nothing() -> None:
    start = VADEvent(VADEventType.SPEECH_START)
    pipeline = AudioPipeline(AudioPipelineConfig(vad=Detector(events=[start])))
    speech: list[Any] = []
    pipeline.on_speech_frame(lambda who, _: speech.append(who.id))
    for _ in range(2):
        pipeline.process_inbound(session(), frame())
        pipeline.on_session_ended(session())
        pipeline.on_session_active(session())
        speech.append("again")
    assert speech == ["s", "again", "s", "again"]


def test_V46_after_a_thousand_streams_nothing_is_left() -> None:
    log: list[Any] = []
    config = everything(log)
    config.contract = AudioPipelineContract(transport_outbound_format=AudioFormat(8_000))
    pipeline = AudioPipeline(config)
    for number in range(1000):
        who = session(str(number))
        pipeline.on_session_active(who, hold_recording=True)
        pipeline.set_aec_active(who.id, True)
        pipeline.set_outbound_format(who.id, AudioFormat(24_000))
        pipeline.process_inbound(who, frame())
        pipeline.process_outbound(who, frame(rate=24_000))
        pipeline.on_session_ended(who)
        pipeline.process_inbound_stream(f"lane {number}", frame())
        pipeline.release_stream(f"lane {number}")
    assert pipeline.stream_count == 0
    held = (pipeline._inbound, pipeline._lanes, pipeline._outbound, pipeline._recordings)
    assert held == ({}, {}, {}, {})
    assert pipeline._targets == {}
    assert pipeline._reference is not None
    assert pipeline._reference._active == {}
    assert len(pipeline._ended) == 1000


def test_V46_only_so_many_ended_sessions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.voice.pipeline.engine._ENDED_KEPT", 3)
    pipeline = AudioPipeline(AudioPipelineConfig())
    for number in range(5):
        pipeline.on_session_ended(session(str(number)))
    assert list(pipeline._ended) == ["2", "3", "4"]


def test_V13_a_late_frame_revives_nothing() -> None:
    log: list[Any] = []
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Denoiser(log)))
    who = session()
    pipeline.on_session_active(who)
    pipeline.on_session_ended(who)
    log.clear()
    given = frame()
    pipeline.process_inbound(who, given)
    assert pipeline.process_outbound(who, given) is given
    over = session("over")
    over.state = VoiceSessionState.ENDED
    pipeline.process_inbound(over, given)
    assert (log, pipeline.stream_count) == ([], 0)
    pipeline.on_session_active(who)
    pipeline.process_inbound(who, given)
    assert log == [("reset denoiser", "s"), ("denoiser", 1, "s")]


def test_V19_an_ending_session_is_not_heard_and_its_recording_goes_on() -> None:
    log: list[Any] = []
    pipeline = AudioPipeline(everything(log))
    pipeline.on_session_active(session())
    pipeline.on_session_ending(session())
    log.clear()
    pipeline.process_inbound(session(), frame())
    assert log == []
    pipeline.process_outbound(session(), frame())
    assert ("recorder", 1, "s") in log
    pipeline.on_session_ended(session())
    assert ("stop", "s") in log


def test_V40_V43_a_second_stream_changes_nothing_for_the_first() -> None:
    events = [None, VADEvent(VADEventType.SPEECH_START), VADEvent(VADEventType.SILENCE)]

    def run(*streams: str) -> list[Any]:
        pipeline = AudioPipeline(
            AudioPipelineConfig(vad=Detector(events=events), denoiser=Denoiser(adds=2))
        )
        seen = []
        for level in range(4):
            for stream in streams:
                result = pipeline.process_inbound_stream(stream, frame(level))
                if stream == "a":
                    seen.append((result.frame.data, result.vad_event, result.frame.metadata))
        return seen

    assert run("a") == run("b", "a", "c")


def test_a_lane_and_a_session_of_one_name_stay_apart() -> None:
    told: list[Any] = []
    pipeline = AudioPipeline(
        AudioPipelineConfig(vad=Detector(events=[VADEvent(VADEventType.SPEECH_START)]))
    )
    pipeline.on_vad_event(lambda who, event: told.append(event.type))
    result = pipeline.process_inbound_stream("s", frame())
    assert (result.vad_event, told) == (VADEvent(VADEventType.SPEECH_START), [])
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    assert told == ["speech_start"]


def test_a_result_tells_of_its_own_frame_only() -> None:
    from salon.voice.pipeline.diarization.base import DiarizationResult
    from salon.voice.pipeline.dtmf.base import DTMFEvent

    speaker, key = DiarizationResult("anna", 0.9, True), DTMFEvent("5", 80.0)
    pipeline = AudioPipeline(
        AudioPipelineConfig(dtmf=Keys(events=[key]), diarization=Speakers(events=[speaker]))
    )
    first = pipeline.process_inbound_stream("x", frame())
    second = pipeline.process_inbound_stream("x", frame())
    assert (first.dtmf, first.speaker, first.vad_event) == (key, speaker, None)
    assert (second.dtmf, second.speaker, second.vad_event) == (None, None, None)


def test_V47_close_is_global_and_once() -> None:
    log: list[Any] = []
    config = everything(log)
    config.turn_detector = MockTurnDetector()
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    pipeline.process_inbound_stream("lane", frame())
    log.clear()
    pipeline.close()
    pipeline.close()
    stages: list[Any] = [
        config.resampler,
        config.recorder,
        config.dtmf,
        config.aec,
        config.agc,
        config.denoiser,
        config.vad,
        config.diarization,
        *config.postprocessors,
    ]
    assert [stage.closed for stage in stages] == [1] * 9
    assert config.turn_detector.closed
    assert ("stop", "s") in log
    assert ("reset vad", "lane") in log


def test_V47_a_closed_pipeline_takes_nothing_more() -> None:
    log: list[Any] = []
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Denoiser(log)))
    pipeline.close()
    log.clear()
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    given = frame()
    assert pipeline.process_inbound_stream("lane", given).frame is given
    assert pipeline.process_outbound(session(), given) is given
    assert (log, pipeline.stream_count) == ([], 0)


def test_V47_a_stage_that_fails_to_close_stops_no_other() -> None:
    class Stuck(Denoiser):
        def close(self) -> None:
            raise RuntimeError("stuck")

    vad = Detector()
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Stuck(), vad=vad))
    pipeline.close()
    assert (vad.closed, pipeline.failures) == (1, {"denoiser": 1})


def test_reset_forgets_what_was_heard_and_keeps_the_streams() -> None:
    log: list[Any] = []
    config = everything(log)
    config.vad = Detector(log, events=[VADEvent(VADEventType.SPEECH_START)])
    pipeline = AudioPipeline(config)
    speech: list[Any] = []
    pipeline.on_speech_frame(lambda who, _: speech.append(who.id))
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    pipeline.process_inbound_stream("lane", frame())
    log.clear()
    pipeline.reset()
    assert ("reset vad", "s") in log
    assert ("reset vad", "lane") in log
    assert ("stop", "s") not in log
    assert pipeline.stream_count == 2
    config.vad.events = []
    pipeline.process_inbound(session(), frame())
    assert speech == ["s"]


def test_one_stage_in_two_places_is_reset_and_closed_once() -> None:
    post = PostProcessor()
    pipeline = AudioPipeline(AudioPipelineConfig(postprocessors=[post, post]))
    pipeline.on_session_active(session())
    pipeline.close()
    assert (post.resets, post.closed) == (["s", "s"], 1)


def test_callbacks_registered_late_are_called_and_keep_the_streams_state() -> None:
    events = [VADEvent(VADEventType.SPEECH_START)]
    pipeline = AudioPipeline(AudioPipelineConfig(vad=Detector(events=events)))
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    heard: list[int] = []
    pipeline.on_speech_frame(lambda _, what: heard.append(1))
    pipeline.process_inbound(session(), frame())
    assert heard == [1]


def test_a_stream_released_under_a_session_takes_up_its_recording_again() -> None:
    config = everything([])
    recorder = config.recorder
    assert isinstance(recorder, Recorder)
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    pipeline.release_stream("s")
    pipeline.process_inbound(session(), frame())
    assert len(recorder.inbound) == 1


def test_a_callback_may_end_the_session_it_is_told_of() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(postprocessors=[PostProcessor()]))
    pipeline.on_output_level(lambda who, _: pipeline.on_session_ended(who))
    pipeline.on_processed_frame(lambda who, _: pipeline.on_session_ended(who))
    for _ in range(5):
        pipeline.process_outbound(session(), frame())
    assert pipeline.stream_count == 0
    pipeline.process_inbound(session("t"), frame())
    assert pipeline.stream_count == 0


def test_V137_two_threads_may_play_into_one_session() -> None:
    inside = 0
    overlaps = 0

    class Slow(PostProcessor):
        def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
            nonlocal inside, overlaps
            inside += 1
            overlaps += inside > 1
            for _ in range(50):
                pass
            inside -= 1
            return frame

    pipeline = AudioPipeline(AudioPipelineConfig(postprocessors=[Slow()]))
    given, who = frame(), session()

    def play() -> None:
        for _ in range(500):
            pipeline.process_outbound(who, given)

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (overlaps, pipeline.failures) == (0, {})
