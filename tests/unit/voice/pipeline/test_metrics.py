"""What the pipeline measures of itself (V210)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.voice.pipeline.logging_stages import (
    RECORDING,
    Denoiser,
    Detector,
    Keys,
    PostProcessor,
    Recorder,
    frame,
    session,
)

from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.debug_taps import PipelineDebugTaps
from salon.voice.pipeline.dtmf.base import DTMFEvent
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.vad.base import VADEvent, VADEventType


class Sink:
    def __init__(self) -> None:
        self.got: list[tuple[str, float, str, dict[str, Any]]] = []

    def record_metric(
        self, name: str, value: float, *, unit: str = "", attributes: dict[str, Any] | None = None
    ) -> None:
        self.got.append((name, value, unit, attributes or {}))


def test_V210_stages_are_timed_on_every_fiftieth_frame() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001
        return now

    timed: list[Any] = []
    config = AudioPipelineConfig(
        denoiser=Denoiser(), vad=Detector(), postprocessors=[PostProcessor(adds=1)]
    )
    pipeline = AudioPipeline(
        config,
        stage_timer=lambda *what: timed.append((what[0], round(what[1], 3), what[2])),
        clock=clock,
    )
    for _ in range(101):
        pipeline.process_inbound(session(), frame())
    assert timed == [("denoiser", 1.0, "s"), ("vad", 1.0, "s")] * 3
    timed.clear()
    assert int(pipeline.process_outbound(session(), frame(1)).samples[0]) == 2
    assert timed == [("postprocessor:postprocessor", 1.0, "s")]


def test_V210_telemetry_gets_it_with_the_sessions_span() -> None:
    sink = Sink()
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Denoiser(), telemetry=sink))
    pipeline.set_parent_span("s", "span-1")
    pipeline.process_inbound(session(), frame())
    [(name, value, unit, attributes)] = sink.got
    assert (name, unit) == ("pipeline.stage_latency_ms", "ms")
    assert 0 <= value < 1000
    assert attributes == {"session_id": "s", "stage_name": "denoiser", "parent_span_id": "span-1"}
    pipeline.on_session_ended(session())
    pipeline.process_inbound_stream("s", frame())
    assert sink.got[-1][3] == {"session_id": "s", "stage_name": "denoiser"}


def test_V210_what_happens_is_counted(tmp_path: Path) -> None:
    sink = Sink()
    config = AudioPipelineConfig(
        dtmf=Keys(events=[DTMFEvent("1", 80.0)]),
        vad=Detector(events=[VADEvent(VADEventType.SPEECH_END, b"\0\0", duration_ms=400.0)]),
        recorder=Recorder(),
        recording_config=RECORDING,
        debug_taps=PipelineDebugTaps(str(tmp_path), stages=["raw"]),
        telemetry=sink,
    )
    pipeline = AudioPipeline(config)
    pipeline.on_session_active(session())
    pipeline.process_inbound(session(), frame())
    pipeline.on_session_ended(session())
    assert [entry[:3] for entry in sink.got if "latency" not in entry[0]] == [
        ("pipeline.dtmf_detected", 1, "1"),
        ("pipeline.vad_speech_duration_ms", 400.0, "ms"),
        ("pipeline.recording_duration_s", 1.5, "s"),
        ("pipeline.debug_tap_bytes_written", 640, "By"),
    ]
    pipeline.close()


def test_V207_no_metric_holds_a_key() -> None:
    sink = Sink()
    pipeline = AudioPipeline(
        AudioPipelineConfig(dtmf=Keys(events=[DTMFEvent("#", 80.0)]), telemetry=sink)
    )
    pipeline.process_inbound_stream("x", frame())
    assert "#" not in str(sink.got)


def test_V204_telemetry_that_raises_is_counted() -> None:
    class Broken(Sink):
        def record_metric(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("broken")

    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Denoiser(), telemetry=Broken()))
    assert pipeline.process_inbound_stream("x", frame()).frame.samples[0] == 1
    assert pipeline.failures == {"telemetry": 1}


def test_V210_nothing_is_timed_without_anyone_to_tell() -> None:
    pipeline = AudioPipeline(AudioPipelineConfig(denoiser=Denoiser()))
    pipeline.set_parent_span("s", "span-1")
    pipeline.process_inbound(session(), frame())
    assert len(pipeline._inbound["s"].steps) == 1
    assert pipeline._around.timer is None
