"""Files: settings refused, names, crashes, disks and storages that fail, ends that take long."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.media.wav import WavWriter
from salon.testing.contracts.voice_recorder import make_session
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.recorder import (
    OggOpusFileRecorder,
    RecordingChannelMode,
    RecordingConfig,
    RecordingStorage,
    RecordingStorages,
    WavFileRecorder,
)
from salon.voice.pipeline.recorder.writer import RecordingThread

from .reading import read_any, read_wav
from .stage import HeldThread, Stage, plain


@pytest.mark.parametrize("wanted", ["mp3", "flac", "ogg", ""])
def test_another_format_is_refused_by_name(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match="WavFileRecorder writes wav"):
        Stage(tmp_path).start(format=wanted)


def test_V87_without_a_word_about_encryption_nothing_is_recorded(tmp_path: Path) -> None:
    recorder = WavFileRecorder(tmp_path)
    with pytest.raises(ValueError, match="encrypted at rest"):
        recorder.start(make_session(), RecordingConfig())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings", [{"retention_days": -1}, {"mode": "x"}, {"channels": "x"}, {"trigger": "x"}]
)
def test_other_settings_it_refuses(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Stage(tmp_path).start(**settings)


def test_makers_refuse_what_the_files_cannot_have(tmp_path: Path) -> None:
    for wrong in (
        lambda: WavFileRecorder(tmp_path, storages=RecordingStorages()),
        lambda: WavFileRecorder(sample_rate=5),
        lambda: OggOpusFileRecorder(sample_rate=44_100),
        lambda: OggOpusFileRecorder(bitrate=1),
    ):
        with pytest.raises(ConfigurationError):
            wrong()


def test_enums_may_be_given_as_text(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    handle = stage.start(channels="stereo", mode="both", trigger="always")
    assert stage.recorder.stop(handle).mode is RecordingChannelMode.STEREO


def test_a_closed_recorder_starts_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.recorder.close()
    with pytest.raises(ConfigurationError, match="closed"):
        stage.start()


def test_V198_a_session_id_from_outside_is_no_path(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "kept")
    session = VoiceSession("../../etc/x", "room", "ann", "voice")
    result = stage.recorder.stop(stage.recorder.start(session, plain()))
    assert Path(result.urls[0]).parent == tmp_path / "kept"


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "kept")
    path = Path(stage.recorder.stop(stage.start()).urls[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_names_of_one_file_and_of_several(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    one = stage.start()
    several = stage.start(channels=RecordingChannelMode.ALL)
    assert stage.recorder.stop(one).urls == [one.path]
    stem = several.path
    assert stage.recorder.stop(several).urls == [
        f"{stem}{end}.wav" for end in ("_inbound", "_outbound", "_mixed")
    ]


def test_metadata_and_size_are_in_the_result(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    handle = stage.start(metadata={"case": 7})
    stage.say(handle, 1.0)
    result = stage.recorder.stop(handle)
    assert result.metadata == {"case": 7, "encryption": "storage"}
    assert result.size_bytes == Path(result.urls[0]).stat().st_size == 44 + 32_000
    assert stage.recorder.running == 0
    assert stage.recorder.name == "WavFileRecorder"


@pytest.mark.parametrize("kind", [WavFileRecorder, OggOpusFileRecorder])
def test_a_file_is_readable_while_the_call_lasts(tmp_path: Path, kind: Any) -> None:
    stage = Stage(tmp_path)
    stage.recorder = kind(tmp_path, clock=stage.clock)
    handle = stage.start(format=stage.recorder.formats[0])
    stage.say(handle, 5.0)
    assert stage.recorder.flush()
    sound, rate = read_any(handle.path)
    assert 3.0 < len(sound) / rate <= 5.0
    stage.recorder.close()


def test_a_disk_that_fails_ends_the_recording_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path)
    written = WavWriter.write
    calls = 0

    def fail(self: WavWriter, samples: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise OSError(28, "No space left on device")
        written(self, samples)

    monkeypatch.setattr(WavWriter, "write", fail)
    handle = stage.start()
    stage.say(handle, 5.0)
    assert stage.recorder.flush()
    stage.say(handle, 1.0)
    result = stage.recorder.stop(handle)
    assert result.error is not None
    assert "No space left" in result.error
    assert calls == 6
    assert len(read_wav(result.urls[0])[0]) / 16_000 == pytest.approx(1.0, abs=0.03)
    assert result.duration_seconds == pytest.approx(1.0, abs=0.03)


def test_a_disk_that_fails_to_close_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: WavWriter) -> None:
        raise OSError(5, "Input/output error")

    stage = Stage(tmp_path)
    handle = stage.start(channels=RecordingChannelMode.SEPARATE)
    stage.say(handle, 1.0)
    monkeypatch.setattr(WavWriter, "close", fail)
    result = stage.recorder.stop(handle)
    assert result.error is not None
    assert "Input/output" in result.error


def test_a_place_that_cannot_be_made_shows_in_the_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stage = Stage(tmp_path / "file" / "below")
    handle = stage.start(retention_days=1)
    stage.say(handle, 1.0)
    result = stage.recorder.stop(handle)
    assert result.error is not None
    assert result.urls == []


async def test_an_end_that_takes_too_long_is_said_and_goes_on(tmp_path: Path) -> None:
    thread = HeldThread()
    stage = Stage(tmp_path, thread=thread, stop_timeout_s=0.01)
    handle = stage.start()
    stage.say(handle, 1.0)
    for early in (stage.recorder.stop(handle), await stage.recorder.finish(handle)):
        assert early.error is not None
        assert "not complete" in early.error
    stage.recorder.close()
    thread.go.set()
    recording = stage.recorder._recordings.get(handle.id)
    late = handle.result if recording is None else recording.outcome.result(5)
    assert late is not None
    assert (late.error, late.duration_seconds) == (None, 1.0)
    assert stage.recorder.stop(handle) == late


class Bucket(RecordingStorage):
    """Publishes by renaming; or fails."""

    def __init__(self, spool: Path, error: Exception | None = None) -> None:
        self._spool = spool
        self._error = error

    @property
    def directory(self) -> Path:
        return self._spool

    def publish(self, path: Path) -> str:
        if self._error is not None:
            raise self._error
        path.unlink()
        return f"bucket://{path.name}"


def test_V83_a_storage_of_the_programs_own(tmp_path: Path) -> None:
    storages = RecordingStorages(tmp_path)
    storages.register("bucket", Bucket(tmp_path / "spool"))
    recorder = WavFileRecorder(storages=storages)
    result = recorder.stop(recorder.start(make_session(), plain(storage="bucket")))
    assert result.urls[0].startswith("bucket://s1_")
    assert (result.size_bytes, result.error) == (44, None)
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("error", [OSError("unreachable"), RuntimeError("unreachable")])
def test_a_storage_that_fails_leaves_the_file(tmp_path: Path, error: Exception) -> None:
    storages = RecordingStorages(tmp_path)
    storages.register("bucket", Bucket(tmp_path / "spool", error))
    recorder = WavFileRecorder(storages=storages)
    result = recorder.stop(recorder.start(make_session(), plain(storage="bucket")))
    assert result.error is not None
    assert "unreachable" in result.error
    assert [Path(url).exists() for url in result.urls] == [True]


def test_a_job_that_fails_does_not_end_the_thread() -> None:
    thread = RecordingThread("recordings-test")
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError("a fault")

    thread.submit(fail)
    thread.submit(done.set)
    assert done.wait(5)
