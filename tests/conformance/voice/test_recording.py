"""Recording of a voice session (V50, V58, V81-V89, V198, V209)."""

from __future__ import annotations

import random
import wave
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame, Samples
from salon.testing import VirtualClock
from salon.testing.contracts.voice_recorder import frames_of, make_session, tone
from salon.voice.pipeline.recorder import (
    AesGcmRecordingEncryption,
    ConsentGate,
    RecordingChannelMode,
    RecordingConfig,
    RecordingConsent,
    RecordingHandle,
    RecordingMode,
    WavFileRecorder,
    purge_expired,
)

USER, BOT = tone(440, 1.0), tone(1000, 1.0)


def read(url: str) -> Samples:
    with wave.open(url, "rb") as file:
        data = file.readframes(file.getnframes())
        return np.frombuffer(data, dtype="<i2").reshape(-1, file.getnchannels())


class Desk:
    """A recorder, and a second of both voices."""

    def __init__(self, place: Path) -> None:
        self.clock = VirtualClock()
        self.recorder = WavFileRecorder(place, clock=self.clock)

    def start(self, **settings: object) -> RecordingHandle:
        config = RecordingConfig(storage_encrypted_at_rest=True)
        for name, value in settings.items():
            setattr(config, name, value)
        return self.recorder.start(make_session(), config)

    def talk(self, handle: RecordingHandle) -> None:
        for user, bot in zip(frames_of(USER), frames_of(BOT), strict=True):
            self.recorder.tap_inbound(handle, user)
            self.recorder.tap_outbound(handle, bot)
            self.clock.advance(0.020)

    def files(self, **settings: object) -> list[Samples]:
        handle = self.start(**settings)
        self.talk(handle)
        return [read(url) for url in self.recorder.stop(handle).urls]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_V50_V58_V81_files_hold_the_bytes_of_the_taps(desk: Desk) -> None:
    user, bot = desk.files(channels=RecordingChannelMode.SEPARATE)
    assert user[:, 0].tobytes() == USER.tobytes()
    assert bot[:, 0].tobytes() == BOT.tobytes()


def test_V81_stereo_has_the_user_left_and_the_bot_right(desk: Desk) -> None:
    (sound,) = desk.files(channels=RecordingChannelMode.STEREO)
    assert np.array_equal(sound, np.stack((USER, BOT), axis=1))


def test_V81_mixed_is_both(desk: Desk) -> None:
    (sound,) = desk.files()
    assert np.array_equal(sound[:, 0], USER + BOT)


def test_V81_all_is_each_and_mixed(desk: Desk) -> None:
    files = desk.files(channels=RecordingChannelMode.ALL)
    expected = [USER, BOT, USER + BOT]
    assert all(np.array_equal(a[:, 0], b) for a, b in zip(files, expected, strict=True))


@pytest.mark.parametrize("channels", list(RecordingChannelMode))
def test_V82_the_mode_is_honoured(desk: Desk, channels: RecordingChannelMode) -> None:
    for mode, own in ((RecordingMode.INBOUND_ONLY, USER), (RecordingMode.OUTBOUND_ONLY, BOT)):
        for sound in desk.files(mode=mode, channels=channels):
            sides = [side for side in sound.T if side.any()]
            assert len(sides) == 1
            assert np.array_equal(sides[0], own)


@pytest.mark.parametrize("storage", ["s3", "nowhere"])
def test_V83_an_unknown_storage_is_a_configuration_error(desk: Desk, storage: str) -> None:
    with pytest.raises(ConfigurationError, match=storage):
        desk.start(storage=storage)


def test_V84_V88_handle_and_result_name_the_recording(desk: Desk) -> None:
    handle = desk.start()
    assert (handle.state, handle.session_id) == ("recording", "s1")
    desk.talk(handle)
    result = desk.recorder.stop(handle)
    assert handle.state == "stopped"
    assert result.recording_id == handle.id
    assert result.duration_seconds == 1.0


def test_V85_nothing_is_captured_before_the_release(desk: Desk) -> None:
    handle = desk.start()
    desk.recorder.hold(handle)
    desk.talk(handle)
    desk.recorder.release(handle)
    assert desk.recorder.stop(handle).duration_seconds == 0.0


def test_V86_consent_of_all_parties_opens_the_gate() -> None:
    gate = ConsentGate(RecordingConsent.ALL_PARTY, ["ann", "bob"])
    assert [gate.open, gate.consent("ann"), gate.consent("bob")] == [False, False, True]
    assert {mode.value for mode in RecordingConsent} == {"single_party", "all_party", "none"}


def test_V87_recordings_are_encrypted_at_rest(desk: Desk, tmp_path: Path) -> None:
    encryption = AesGcmRecordingEncryption(AesGcmRecordingEncryption.generate_key())
    handle = desk.start(encryption=encryption, storage_encrypted_at_rest=False)
    desk.talk(handle)
    result = desk.recorder.stop(handle)
    assert [str(path) for path in tmp_path.iterdir()] == result.urls
    assert b"RIFF" not in Path(result.urls[0]).read_bytes()
    encryption.decrypt_file(result.urls[0], tmp_path / "plain.wav")
    assert np.array_equal(read(str(tmp_path / "plain.wav"))[:, 0], USER + BOT)


def test_V87_not_saying_how_is_a_configuration_error(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="encrypted at rest"):
        desk.start(storage_encrypted_at_rest=False)


def test_V89_both_directions_share_one_time_line(desk: Desk) -> None:
    handle = desk.start(channels=RecordingChannelMode.STEREO)
    for number, frame in enumerate(frames_of(np.tile(USER, 20))):
        desk.recorder.tap_inbound(handle, frame)
        if number % 250 == 200:
            desk.recorder.tap_outbound(handle, AudioFrame(frame.data))
        desk.clock.advance(0.020)
    sound = read(desk.recorder.stop(handle).urls[0])
    starts = np.flatnonzero(np.diff(sound[:, 1].astype(bool).astype(int)) == 1) / 16_000
    for expected in (4.0, 9.0, 14.0, 19.0):
        assert np.min(np.abs(starts - expected)) <= 0.020


def clicking(seconds: int, speed: float) -> list[AudioFrame]:
    """A sender's sound with a click every 8 s by our clock, the sender's own `speed` as fast."""
    sound = np.zeros(seconds * 16_000, dtype=np.int16)
    sound[np.rint(np.arange(6.0, seconds - 1, 8.0) * 16_000 * speed).astype(int)] = 30_000
    return frames_of(sound)


@pytest.mark.parametrize("speed", [0.9999, 1.0001])
def test_V89_clicks_of_one_moment_stay_within_20_ms_over_ten_minutes(
    desk: Desk, speed: float
) -> None:
    rng = random.Random(7)
    handle = desk.start(channels=RecordingChannelMode.STEREO)
    arrivals: list[tuple[float, bool, AudioFrame]] = []
    late = 0.0
    for number, (user, bot) in enumerate(
        zip(clicking(600, speed), clicking(600, 1.0), strict=True)
    ):
        late = max(late, number * 0.020 / speed + rng.uniform(0, 0.060))
        arrivals.append((late, True, user))
        if number % 500 >= 200:  # the bot speaks 6 of 10 seconds
            arrivals.append((number * 0.020 + rng.uniform(0, 0.005), False, bot))
    arrivals.sort(key=lambda arrival: arrival[0])
    origin = desk.clock.monotonic()
    for number, (at, inbound, frame) in enumerate(arrivals):
        if number % 1000 == 0:
            assert desk.recorder.flush()
        desk.clock.advance(max(0.0, origin + at - desk.clock.monotonic()))
        tap = desk.recorder.tap_inbound if inbound else desk.recorder.tap_outbound
        tap(handle, frame)
    result = desk.recorder.stop(handle)
    left, right = (np.flatnonzero(side) / 16_000 for side in read(result.urls[0]).T)
    assert (len(left), len(right) > 40) == (75, True)
    assert max(float(np.min(np.abs(left - at))) for at in right) <= 0.020
    assert result.metadata == {"encryption": "storage"}, "nothing was dropped"
    assert result.duration_seconds == pytest.approx(600, abs=0.5)


@pytest.mark.parametrize("storage", ["file:../out", "file:/etc", "../out", "/etc"])
def test_V198_storage_cannot_leave_its_directory(desk: Desk, storage: str) -> None:
    with pytest.raises(ConfigurationError):
        desk.start(storage=storage)


def test_V209_retention_is_followed(desk: Desk, tmp_path: Path) -> None:
    handle = desk.start(retention_days=30)
    desk.talk(handle)
    urls = desk.recorder.stop(handle).urls
    began = desk.clock.now()
    assert purge_expired(tmp_path, began + timedelta(days=29)) == []
    assert [str(path) for path in purge_expired(tmp_path, began + timedelta(days=31))] == urls
    assert list(tmp_path.iterdir()) == []
