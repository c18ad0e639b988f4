"""Storage names, encryption, retention, consent, and the recorder for tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame
from salon.testing.contracts.voice_recorder import make_session
from salon.voice.pipeline.recorder import (
    AesGcmRecordingEncryption,
    AudioRecorder,
    ConsentGate,
    DirectoryStorage,
    MockAudioRecorder,
    RecordingChannelMode,
    RecordingConfig,
    RecordingConsent,
    RecordingDecryptionError,
    RecordingEncryption,
    RecordingHandle,
    RecordingResult,
    RecordingStorages,
    encrypt_leftovers,
    purge_expired,
)
from salon.voice.pipeline.recorder.encryption import CHUNK_BYTES

from .reading import read_wav
from .stage import Stage

KEY = bytes(range(32))


def test_V83_names_are_resolved(tmp_path: Path) -> None:
    storages = RecordingStorages(tmp_path)
    assert storages.resolve("").directory == storages.resolve("file").directory == tmp_path
    assert storages.resolve("file:a/b").directory == tmp_path / "a" / "b"
    assert storages.resolve("./a").directory == tmp_path / "a"
    assert storages.resolve(f"{tmp_path}/a").directory == tmp_path / "a"
    other = DirectoryStorage(tmp_path / "other")
    storages.register("other", other)
    assert storages.resolve("other") is other
    assert storages.names == ["", "file", "other"]


@pytest.mark.parametrize(
    "name", ["s3", "s3://x/y", "ftp:a", "file:../x", "file:/etc", "/etc", "../x"]
)
def test_V83_V198_unknown_names_and_ways_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        RecordingStorages(tmp_path).resolve(name)
    with pytest.raises(ConfigurationError):
        Stage(tmp_path).start(storage=name)


def test_without_a_directory_the_program_may_say_a_path(tmp_path: Path) -> None:
    storages = RecordingStorages()
    assert storages.resolve(f"{tmp_path}/a").directory == tmp_path / "a"
    assert storages.resolve("").directory == Path("recordings")
    with pytest.raises(ConfigurationError):
        storages.resolve("recordings")


@pytest.mark.parametrize("name", ["", "file", "a/b", "a:b", "x"])
def test_names_that_are_taken_or_not_plain(tmp_path: Path, name: str) -> None:
    storages = RecordingStorages(tmp_path)
    storages.register("x", DirectoryStorage(tmp_path))
    with pytest.raises(ConfigurationError):
        storages.register(name, DirectoryStorage(tmp_path))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_V87_a_file_comes_back_and_the_plain_one_is_gone(tmp_path: Path, size: int) -> None:
    plain = tmp_path / "a.wav"
    content = bytes(n % 251 for n in range(size))
    plain.write_bytes(content)
    encryption = AesGcmRecordingEncryption(KEY)
    path = Path(encryption.encrypt_file(str(plain)))
    assert (path.name, plain.exists()) == ("a.wav.enc", False)
    if size > 16:
        assert content[:16] not in path.read_bytes()
    encryption.decrypt_file(path, tmp_path / "b.wav")
    assert (tmp_path / "b.wav").read_bytes() == encryption.decrypt_bytes(path) == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav.enc", "b.wav"]


def test_V87_changes_cuts_and_other_keys_are_noticed(tmp_path: Path) -> None:
    plain = tmp_path / "a.wav"
    plain.write_bytes(b"x" * (2 * CHUNK_BYTES))
    encryption = AesGcmRecordingEncryption(KEY)
    path = Path(encryption.encrypt_file(str(plain)))
    whole = path.read_bytes()
    block = CHUNK_BYTES + 16
    head, first, second = whole[:31], whole[31 : 31 + block], whole[31 + block :]
    for wrong in (
        head + first,
        head + second + first,
        head + first + first + second,
        head + bytes((first[0] ^ 1,)) + first[1:] + second,
        whole[:-5],
        whole[:20],
        b"RIFF" + whole,
        head,
    ):
        path.write_bytes(wrong)
        with pytest.raises(RecordingDecryptionError):
            encryption.decrypt_file(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    path.write_bytes(whole)
    with pytest.raises(RecordingDecryptionError):
        AesGcmRecordingEncryption(KEY[::-1]).decrypt_bytes(path)


def test_keys() -> None:
    key = AesGcmRecordingEncryption.generate_key()
    assert len(key) == 32
    assert AesGcmRecordingEncryption.from_base64("AAECAwQFBgcICQoLDA0ODw==").name == "aes-gcm"
    for wrong in ("abc", "AAEC"):
        with pytest.raises(ConfigurationError):
            AesGcmRecordingEncryption.from_base64(wrong)


def test_V87_a_file_that_cannot_be_encrypted_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "a.wav"
    plain.write_bytes(b"x")

    def fail(_: int) -> None:
        raise OSError("full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="full"):
        AesGcmRecordingEncryption(KEY).encrypt_file(str(plain))
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_V87_recordings_are_encrypted_when_they_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    encryption = AesGcmRecordingEncryption(KEY)
    config = RecordingConfig(encryption=encryption, channels=RecordingChannelMode.SEPARATE)
    handle = stage.recorder.start(make_session(), config)
    stage.say(handle, 1.0, bot=5)
    result = stage.recorder.stop(handle)
    assert result.metadata["encryption"] == "aes-gcm"
    assert sorted(map(str, tmp_path.iterdir())) == sorted(result.urls)
    encryption.decrypt_file(result.urls[0], tmp_path / "plain.wav")
    assert len(read_wav(tmp_path / "plain.wav")[0]) == 16_000


class Broken(RecordingEncryption):
    @property
    def name(self) -> str:
        return "broken"

    def encrypt_file(self, path: str) -> str:
        raise OSError(f"no key for {path}")


def test_V87_an_encryption_that_fails_is_said_and_loses_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    handle = stage.recorder.start(make_session(), RecordingConfig(encryption=Broken()))
    result = stage.recorder.stop(handle)
    assert result.error is not None
    assert "no key" in result.error
    assert result.urls == [handle.path]


def test_V87_what_a_crash_left_is_encrypted_later(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.wav").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert encrypt_leftovers(tmp_path, Broken()) == []
    made = encrypt_leftovers(tmp_path, AesGcmRecordingEncryption(KEY))
    assert made == [tmp_path / "room" / "a.wav.enc"]
    assert encrypt_leftovers(tmp_path, AesGcmRecordingEncryption(KEY)) == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_V209_what_has_expired_is_deleted(tmp_path: Path, encrypted: bool) -> None:
    stage = Stage(tmp_path)
    config = RecordingConfig(
        storage_encrypted_at_rest=True,
        encryption=AesGcmRecordingEncryption(KEY) if encrypted else None,
        retention_days=7,
        storage="file:2026",
        channels=RecordingChannelMode.ALL,
    )
    kept = stage.recorder.stop(stage.start())
    result = stage.recorder.stop(stage.recorder.start(make_session(), config))
    began = stage.clock.now()
    assert purge_expired(tmp_path, began + timedelta(days=6.9)) == []
    gone = purge_expired(tmp_path, began + timedelta(days=7.1))
    assert sorted(map(str, gone)) == sorted(result.urls)
    assert list((tmp_path / "2026").iterdir()) == []
    assert Path(kept.urls[0]).exists()
    assert purge_expired(tmp_path, began + timedelta(days=7.1)) == []


def test_V209_a_note_never_reaches_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "other.wav").write_bytes(b"x")
    past = datetime(2020, 1, 1, tzinfo=UTC).isoformat()
    for number, note in enumerate(
        (json.dumps({"expires_at": past, "files": ["../other.wav"]}), "{", "[]", "{}")
    ):
        (tmp_path / "kept" / f"{number}.retention.json").write_text(note)
    assert purge_expired(tmp_path) == []
    assert (tmp_path / "other.wav").exists()
    assert len(list((tmp_path / "kept").iterdir())) == 4


def test_V86_all_parties_have_to_agree() -> None:
    gate = ConsentGate(RecordingConsent.ALL_PARTY)
    assert not gate.open
    assert not gate.join("ann")
    assert gate.consent("ann")
    assert not gate.join("bob")
    assert gate.missing == ["bob"]
    assert gate.consent("bob")
    assert not gate.revoke("ann")
    assert gate.leave("ann")
    assert not gate.join("ann"), "who comes back is asked again"


def test_V86_one_party_is_enough() -> None:
    gate = ConsentGate(RecordingConsent.SINGLE_PARTY, ["ann", "agent"])
    assert not gate.open
    assert gate.consent("agent")
    assert not gate.leave("agent")
    assert ConsentGate(RecordingConsent.SINGLE_PARTY, ["agent"], ["agent"]).open


def test_V86_consent_may_be_settled_outside() -> None:
    assert ConsentGate(RecordingConsent.NONE).open


def test_the_recorder_for_tests_keeps_what_it_gets() -> None:
    recorder = MockAudioRecorder()
    config = RecordingConfig(channels=RecordingChannelMode.STEREO)
    handle = recorder.start(make_session(), config)
    assert (handle.id, handle.path) == ("rec_1", "recording_1.wav")
    frame = AudioFrame(b"\0\0")
    recorder.tap_inbound(handle, frame)
    recorder.record_outbound(handle, frame)
    recorder.hold(handle)
    recorder.tap_inbound(handle, frame)
    recorder.tap_outbound(handle, frame)
    recorder.release(handle)
    recorder.speech(handle, True)
    recorder.outbound_cut(handle)
    recorder.reset()
    result = recorder.stop(handle)
    recorder.close()
    assert recorder.name == "MockAudioRecorder"
    assert recorder.started == [("s1", config)]
    assert recorder.stopped == [handle]
    assert recorder.inbound_frames == [("rec_1", frame)]
    assert recorder.outbound_frames == [("rec_1", frame)]
    assert recorder.speech_marks == [("rec_1", True)]
    assert recorder.cuts == ["rec_1"]
    assert (recorder.reset_count, recorder.closed) == (1, True)
    assert (result.duration_seconds, result.size_bytes) == (1.0, 32_000)
    assert result.mode is RecordingChannelMode.STEREO
    assert recorder.stop(handle) is result


async def test_the_recorder_for_tests_ends_at_once() -> None:
    recorder = MockAudioRecorder()
    handle = recorder.start(make_session(), RecordingConfig())
    assert (await recorder.finish(handle)).id == handle.id


async def test_a_recorder_needs_only_what_is_abstract() -> None:
    class Small(AudioRecorder):
        @property
        def name(self) -> str:
            return "small"

        def start(self, session: object, config: object) -> RecordingHandle:
            return RecordingHandle("r", "s")

        def stop(self, handle: RecordingHandle) -> RecordingResult:
            return RecordingResult(handle.id)

        def tap_inbound(self, handle: RecordingHandle, frame: AudioFrame) -> None: ...

        def tap_outbound(self, handle: RecordingHandle, frame: AudioFrame) -> None: ...

    recorder = Small()
    handle = recorder.start(None, None)
    recorder.speech(handle, True)
    recorder.hold(handle)
    recorder.release(handle)
    recorder.outbound_cut(handle)
    recorder.reset()
    recorder.close()
    assert (await recorder.finish(handle)).id == "r"
