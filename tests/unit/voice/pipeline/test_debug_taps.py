"""Files of what the sound is like between stages (V78-V80)."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.unit.voice.pipeline.logging_stages import (
    Canceller,
    Denoiser,
    Detector,
    Gain,
    PostProcessor,
    frame,
    session,
)

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame
from salon.media.wav import read_wav
from salon.voice.pipeline.config import AudioPipelineConfig
from salon.voice.pipeline.debug_taps import DebugTaps, PipelineDebugTaps, file_stem
from salon.voice.pipeline.engine import AudioPipeline
from salon.voice.pipeline.vad.base import VADEvent, VADEventType

SPEECH = VADEvent(VADEventType.SPEECH_END, audio_bytes=b"\7\0" * 100)


def tapped(folder: Path, **more: object) -> AudioPipeline:
    taps = PipelineDebugTaps(str(folder), **more)  # type: ignore[arg-type]
    return AudioPipeline(
        AudioPipelineConfig(
            aec=Canceller(adds=10),
            agc=Gain(adds=100),
            denoiser=Denoiser(adds=1000),
            vad=Detector(events=[SPEECH, SPEECH]),
            postprocessors=[PostProcessor(adds=10)],
            debug_taps=taps,
        )
    )


def levels(folder: Path) -> dict[str, tuple[int, int]]:
    """First sample and length of every file."""
    found = {}
    for path in sorted(folder.iterdir()):
        samples, rate = read_wav(path)
        assert rate == 16_000
        found[path.name] = int(samples[0]), len(samples)
    return found


def test_V79_every_point_has_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "taps"
    pipeline = tapped(folder)
    for _ in range(3):
        pipeline.process_inbound(session("call-1"), frame(1))
        pipeline.process_outbound(session("call-1"), frame(2))
    pipeline.on_session_ended(session("call-1"))
    assert levels(folder) == {
        "call-1_01_raw.wav": (1, 960),
        "call-1_02_post_aec.wav": (11, 960),
        "call-1_03_post_agc.wav": (111, 960),
        "call-1_04_post_denoiser.wav": (1111, 960),
        "call-1_05_post_vad_speech_001.wav": (7, 100),
        "call-1_05_post_vad_speech_002.wav": (7, 100),
        "call-1_06_outbound_raw.wav": (2, 960),
        "call-1_07_outbound_final.wav": (12, 960),
    }
    pipeline.close()


def test_V79_only_the_named_points_and_without_the_session(tmp_path: Path) -> None:
    pipeline = tapped(tmp_path, stages=["raw", "outbound_final"], session_scoped=False)
    pipeline.process_inbound(session(), frame(1))
    pipeline.process_outbound(session(), frame(2))
    pipeline.close()
    assert levels(tmp_path) == {"01_raw.wav": (1, 320), "07_outbound_final.wav": (12, 320)}


def test_V79_a_rate_of_ones_own(tmp_path: Path) -> None:
    pipeline = tapped(tmp_path, stages="raw", sample_rate=8_000)
    for _ in range(50):
        pipeline.process_inbound(session(), frame(1000))
    pipeline.on_session_ended(session())
    samples, rate = read_wav(tmp_path / "s_01_raw.wav")
    assert (rate, len(samples), int(samples[-1])) == (8_000, 8_000, 1000)
    pipeline.close()


def test_V79_transports_have_two_points_of_their_own(tmp_path: Path) -> None:
    pipeline = tapped(tmp_path, stages=["aec_reference", "transport_raw"])
    pipeline.debug_tap("s", "transport_raw", frame(3))
    pipeline.debug_tap("s", "aec_reference", frame(4))
    pipeline.debug_tap("s", "raw", frame(5))
    pipeline.release_stream("s")
    assert levels(tmp_path) == {
        "s_00_transport_raw.wav": (3, 320),
        "s_08_aec_reference.wav": (4, 320),
    }
    pipeline.close()


def test_V78_without_taps_there_is_no_work_and_no_thread() -> None:
    before = set(threading.enumerate())
    pipeline = AudioPipeline(AudioPipelineConfig())
    pipeline.process_inbound(session(), frame())
    pipeline.debug_tap("s", "raw", frame())
    assert pipeline._inbound["s"].steps == ()
    assert pipeline._outbound["s"].steps == ()
    assert set(threading.enumerate()) <= before
    assert pipeline.debug_frames_dropped == 0


def test_V80_a_warning_says_that_they_are_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tapped(tmp_path)
    assert "debug taps are on" in caplog.text


def test_V80_a_slow_disk_costs_frames_of_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()
    taps = DebugTaps(PipelineDebugTaps(str(tmp_path)), queued=3)
    original = DebugTaps._write

    def write(self: DebugTaps, session_id: str, suffix: str, what: AudioFrame) -> None:
        slow.wait(5)
        original(self, session_id, suffix, what)

    monkeypatch.setattr(DebugTaps, "_write", write)
    for _ in range(10):
        taps.write("s", "raw", frame())
    assert 6 <= taps.dropped <= 7
    slow.set()
    assert taps.end("s") == (10 - taps.dropped) * 640
    taps.close()


def test_V80_an_end_waits_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = threading.Event()
    monkeypatch.setattr("salon.voice.pipeline.debug_taps._END_WAIT_S", 0.0)
    monkeypatch.setattr(DebugTaps, "_write", lambda *_: slow.wait(5))
    taps = DebugTaps(PipelineDebugTaps(str(tmp_path)))
    taps.write("s", "raw", frame())
    taps.end("s")
    slow.set()
    taps.close()
    assert "still being written" in caplog.text


def test_a_disk_that_fails_ends_the_file_not_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    pipeline = tapped(blocked, stages=["raw"])
    for _ in range(3):
        pipeline.process_inbound(session(), frame())
    pipeline.on_session_ended(session())
    pipeline.close()
    assert [
        record.message.split(":")[0] for record in caplog.records if record.levelname == "ERROR"
    ] == ["debug tap 01_raw of session s ends here"]


def test_a_file_that_cannot_be_completed_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: object) -> None:
        raise OSError("disk full")

    pipeline = tapped(tmp_path, stages=["raw"])
    monkeypatch.setattr("salon.voice.pipeline.debug_taps._TapFile.close", full)
    pipeline.process_inbound(session(), frame())
    pipeline.close()
    assert "is incomplete: disk full" in caplog.text


def test_frames_after_the_close_are_dropped(tmp_path: Path) -> None:
    taps = DebugTaps(PipelineDebugTaps(str(tmp_path)))
    taps.close()
    taps.write("s", "raw", frame())
    taps.segment("s", frame())
    assert (taps.dropped, taps.end("s"), list(tmp_path.iterdir())) == (2, 0, [])


def test_segments_are_only_written_where_asked_for(tmp_path: Path) -> None:
    taps = DebugTaps(PipelineDebugTaps(str(tmp_path), stages=["raw"]))
    taps.segment("s", frame())
    taps.close()
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_is_no_whole_number_of_samples_is_counted(tmp_path: Path) -> None:
    event = VADEvent(VADEventType.SPEECH_END, audio_bytes=b"abc")
    config = AudioPipelineConfig(
        vad=Detector(events=[event]), debug_taps=PipelineDebugTaps(str(tmp_path))
    )
    pipeline = AudioPipeline(config)
    pipeline.process_inbound_stream("x", frame())
    pipeline.close()
    assert pipeline.failures == {"vad": 1}


def test_stereo_and_other_widths_are_written_in_the_first_frames_format(tmp_path: Path) -> None:
    taps = DebugTaps(PipelineDebugTaps(str(tmp_path)))
    stereo = AudioFrame(np.array([100, 200] * 320, np.int16).tobytes(), channels=2)
    for given in (
        stereo,
        frame(50),
        frame(70, 8_000),
        AudioFrame(b"\0\0\1\0" * 320, sample_width=4),
    ):
        taps.write("s", "raw", given)
    taps.end("s")
    taps.close()
    data = (tmp_path / "s_01_raw.wav").read_bytes()[44:]
    samples = np.frombuffer(data, np.int16).reshape(-1, 2)
    assert len(samples) == 4 * 320
    assert samples[0].tolist() == [100, 200]
    assert samples[320].tolist() == [50, 50]
    assert samples[959].tolist() == [70, 70]
    assert samples[-1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output_dir": "a/../b"}, r"'\.\.' in it"),
        ({"output_dir": "a", "stages": ["post_magic"]}, "no debug tap is named post_magic"),
        ({"output_dir": "a", "stages": "most"}, "no debug tap is named most"),
        ({"output_dir": "a", "sample_rate": 0}, "not within 1000"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PipelineDebugTaps(**settings)  # type: ignore[arg-type]


def test_a_folder_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="output_dir is empty"):
        AudioPipeline(AudioPipelineConfig(debug_taps=PipelineDebugTaps()))


def test_a_session_id_never_becomes_a_path() -> None:
    assert file_stem("call-1_a.b") == "call-1_a.b"
    assert file_stem("../a b/ü:s").startswith(".._a_b___s-")
    assert file_stem("a/b") != file_stem("a:b")
    assert len(file_stem("x" * 1000)) < 140


def test_what_no_session_ended_is_completed_at_the_close(tmp_path: Path) -> None:
    pipeline = tapped(tmp_path, stages=["transport_raw"])
    pipeline.debug_tap("never begun", "transport_raw", frame(3))
    pipeline.close()
    assert list(levels(tmp_path).values()) == [(3, 320)]


def test_a_segment_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    pipeline = tapped(blocked, stages=["post_vad_speech"])
    pipeline.process_inbound(session(), frame())
    pipeline.close()
    assert blocked.read_text() == "not a folder"
