"""`GoertzelDTMFDetector` against the limits of ITU-T Q.24, and against what is no key."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from salon.media.frame import AudioFrame, Samples
from salon.media.g711 import decode_ulaw, encode_ulaw
from salon.media.telephone_event import DIGITS
from salon.testing.contracts.voice_dtmf import dialled, key_tone
from salon.testing.speech import speak
from salon.voice.pipeline.dtmf import DTMFEvent, GoertzelDTMFDetector
from salon.voice.pipeline.dtmf.bank import tone_bank
from salon.voice.pipeline.dtmf.goertzel import MAX_WAITING


def told(sound: Samples, rate: int = 16_000, size: int | None = None) -> list[DTMFEvent]:
    stage = GoertzelDTMFDetector()
    whole = np.concatenate([sound, np.zeros(rate // 5, dtype=np.int16)])
    size = size or rate // 50
    frames = (AudioFrame.of(whole[at : at + size], rate) for at in range(0, len(whole), size))
    return [event for frame in frames if (event := stage.process(frame, "a")) is not None]


def keys(sound: Samples, rate: int = 16_000) -> str:
    return "".join(event.digit for event in told(sound, rate))


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_V68_the_shortest_keys_with_the_shortest_pauses(rate: int) -> None:
    for snr_db in (60.0, 20.0, 15.0, 10.0):
        assert keys(dialled(DIGITS * 5, 40, 40, rate, snr_db=snr_db), rate) == DIGITS * 5


@pytest.mark.parametrize("off", [-0.015, -0.008, 0.008, 0.015])
def test_V68_small_errors_of_frequency_are_forgiven(off: float) -> None:
    assert keys(dialled(DIGITS, row_off=off, column_off=off)) == DIGITS
    assert keys(dialled(DIGITS, row_off=-off, column_off=off, snr_db=15)) == DIGITS


@pytest.mark.parametrize("off", [-0.06, -0.035, 0.035, 0.06])
def test_V68_large_ones_are_not(off: float) -> None:
    assert keys(dialled(DIGITS, row_off=off)) == ""
    assert keys(dialled(DIGITS, column_off=off)) == ""
    assert keys(dialled(DIGITS, column_off=off, snr_db=15)) == ""


@pytest.mark.parametrize("twist_db", [-8, -4, 0, 2, 4])
def test_V68_twist_of_a_line_is_forgiven(twist_db: float) -> None:
    assert keys(dialled(DIGITS, twist_db=twist_db)) == DIGITS
    assert keys(dialled(DIGITS, twist_db=twist_db, snr_db=20)) == DIGITS


@pytest.mark.parametrize("twist_db", [-12, 8])
def test_V68_more_twist_is_no_key(twist_db: float) -> None:
    assert keys(dialled(DIGITS, twist_db=twist_db)) == ""


def test_V68_too_short_is_no_key() -> None:
    for ms in (5, 10, 15, 20, 24):
        assert keys(dialled(DIGITS, ms)) == ""


def test_V68_a_gap_in_a_tone_is_not_a_second_press() -> None:
    for gap_ms in (2, 5, 10):
        for digit in DIGITS:
            gap = np.zeros(gap_ms * 16, dtype=np.int16)
            pause = np.zeros(1_600, dtype=np.int16)
            tone = key_tone(digit, 90)
            assert keys(np.concatenate([pause, tone, gap, tone])) == digit


def test_V68_the_same_key_twice_is_two_presses() -> None:
    assert keys(dialled("1155**DD", 60, 40)) == "1155**DD"


def test_V68_keys_without_a_pause_between_them() -> None:
    sound = np.concatenate([key_tone(digit, 120) for digit in "147"])
    assert keys(np.concatenate([np.zeros(800, dtype=np.int16), sound])) == "147"


def test_V68_a_key_pressed_while_someone_speaks_is_told_when_it_ends() -> None:
    words = speak("Please hold the line.", "en", "espeak")[4_000:12_000]
    loud = np.clip(words.astype(np.int32) * 2, -32_768, 32_767).astype(np.int16)
    sound = np.concatenate([loud, key_tone("6", 200, dbfs=-9), loud])
    (event,) = told(sound)
    assert event.digit == "6"
    assert 140 <= event.duration_ms <= 260


@pytest.mark.parametrize("dbfs", [-45, -30, -3.1])
def test_V68_quiet_and_loud_keys(dbfs: float) -> None:
    peak = dbfs - 6 if dbfs > -10 else dbfs
    assert keys(dialled(DIGITS, dbfs=peak)) == DIGITS


def test_V68_keys_over_a_telephone_codec() -> None:
    sound = dialled(DIGITS, 60, 60, 8_000, snr_db=20)
    assert keys(decode_ulaw(encode_ulaw(sound)), 8_000) == DIGITS


def test_V68_durations_are_measured() -> None:
    for ms in (45, 80, 160, 500, 3_000):
        (event,) = told(dialled("8", ms))
        assert event.duration_ms == pytest.approx(ms, abs=11)
        assert event.confidence is not None
        assert event.confidence > 0.85


def test_V68_several_keys_in_one_frame_are_told_one_by_one() -> None:
    stage = GoertzelDTMFDetector()
    sound = np.concatenate([dialled("123"), np.zeros(3_200, dtype=np.int16)])
    first = stage.process(AudioFrame.of(sound), "a")
    later = [stage.process(AudioFrame(b""), "a") for _ in range(3)]
    assert [event.digit for event in (first, *later) if event is not None] == ["1", "2", "3"]
    many = np.concatenate([dialled("1" * 100, 50, 50), np.zeros(3_200, dtype=np.int16)])
    first = stage.process(AudioFrame.of(many), "b")
    assert first is not None
    assert (
        sum(stage.process(AudioFrame(b""), "b") is not None for _ in range(200)) == MAX_WAITING - 1
    )


def test_V68_music_is_no_key() -> None:
    random = np.random.default_rng(3)
    at = np.arange(8_000) / 16_000
    for _ in range(150):
        low = 110 * 2 ** (random.integers(0, 36) / 12)
        steps = random.choice([0, 3, 4, 5, 7, 9, 10, 12, 16, 19], random.integers(1, 4), False)
        chord = sum(
            np.sin(2 * np.pi * low * 2 ** (step / 12) * harmonic * at) / harmonic
            for step in steps
            for harmonic in range(1, random.integers(2, 6))
        ) * np.exp(-2 * at)
        sound = np.rint(12_000 * chord / np.abs(chord).max()).astype(np.int16)
        assert keys(sound) == ""


def test_V68_the_tones_of_a_line_are_no_keys() -> None:
    at = np.arange(16_000 * 2) / 16_000
    for pair in ((350, 440), (440, 480), (480, 620), (425, 425), (1_100, 2_100), (697, 697)):
        sound = sum(6_000 * np.sin(2 * np.pi * hertz * at) for hertz in pair)
        assert keys(np.rint(sound).astype(np.int16)) == ""


@pytest.mark.slow
def test_V68_ten_minutes_of_speech_hold_no_key() -> None:
    text = (
        "The first train leaves at seven minutes past nine, and the last one just before midnight. "
        "If you would like to know more about our offers, please ask for a leaflet at the desk. "
        "Whoever arrives early should wait in the hall; eighteen people may sit there in comfort. "
        "You owe us nothing. We are in a low lying area, you know, where the wind rarely blows. "
    )
    voices = ("en", "en-us+f3", "en+m3", "en+f2", "de", "fr", "es+f4", "it", "en-us+m7", "pl", "nl")
    seconds = 0.0
    for voice in voices:
        sound = speak(text * 3, voice, "espeak")
        assert keys(sound) == ""
        loud = np.clip(sound.astype(np.int32) * 3, -32_768, 32_767).astype(np.int16)
        assert keys(loud) == ""
        seconds += len(sound) / 16_000
    assert seconds > 600


def test_V51_rates_that_are_too_low_or_change_are_refused() -> None:
    stage = GoertzelDTMFDetector()
    with pytest.raises(ValueError, match="4000 Hz"):
        stage.process(AudioFrame(bytes(160), 4_000), "a")
    assert stage.stream_count == 0
    stage.process(AudioFrame(bytes(640)), "a")
    with pytest.raises(ValueError, match="8000"):
        stage.process(AudioFrame(bytes(320), 8_000), "a")


def test_streams_of_one_rate_share_their_tables() -> None:
    assert tone_bank(16_000) is tone_bank(16_000)


def test_threads_may_hear_keys_at_once() -> None:
    bank = tone_bank(8_000)
    wrong: list[str] = []

    def listen(key: str) -> None:
        sound = key_tone(key, 100, 8_000)[: bank.window].astype(np.float32)
        for _ in range(3_000):
            hit = bank.find(sound)
            if hit is None or hit.digit != key:
                wrong.append(key)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=listen, args=(key,)) for key in "15D0"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_V68_harmonics_and_third_tones_make_a_voice_of_it() -> None:
    at = np.arange(3_200) / 16_000
    for row, column in ((697.0, 1209.0), (941.0, 1336.0), (770.0, 1477.0)):
        pair = np.sin(2 * np.pi * row * at) + np.sin(2 * np.pi * column * at)
        overtone = 0.35 * np.sin(2 * np.pi * 2 * column * at)
        neighbour = 0.45 * np.sin(2 * np.pi * (852.0 if row != 852.0 else 697.0) * at)
        found = [
            keys(np.rint(5_000 * sound).astype(np.int16))
            for sound in (pair, pair + overtone, pair + neighbour)
        ]
        assert len(found[0]) == 1
        assert found[1:] == ["", ""]
