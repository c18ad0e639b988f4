"""Received sound, addresses, and where speech lies in a recording."""

from __future__ import annotations

import numpy as np
import pytest

from salon.base import MissingExtraError
from salon.clients.call import AudioPacket, ReceivedAudio, speech_bounds
from salon.clients.call.addresses import call_url, room_url
from salon.clients.call.microphone import load
from salon.media import make_codec, sine

LOUD = np.full(320, 1000, dtype=np.int16)


def test_received_sound_is_bounded_and_what_was_dropped_is_counted() -> None:
    received = ReceivedAudio(limit=3)
    for number in range(5):
        received.add(AudioPacket(bytes([number]), float(number)))
    assert [packet.data for packet in received.packets] == [b"\2", b"\3", b"\4"]
    assert (received.total, received.dropped) == (5, 2)


def test_first_after_finds_the_reply() -> None:
    received = ReceivedAudio()
    for at in (1.0, 2.0, 3.0):
        received.add(AudioPacket(b"", at))
    found = received.first_after(1.5)
    assert found is not None
    assert found.at == 2.0
    assert received.first_after(9) is None


def test_samples_decodes_in_the_codec_of_the_call() -> None:
    received = ReceivedAudio()
    received.codec = "pcmu"
    codec = make_codec("pcmu")
    for _ in range(3):
        received.add(AudioPacket(codec.encode(LOUD), 0.0))
    once, again = received.samples(), received.samples()
    assert len(once) == 960
    assert np.array_equal(once, again)
    assert len(received.samples(received.packets[:1])) == 320


def test_timeline_keeps_pauses_and_closes_the_gaps_of_jitter() -> None:
    received = ReceivedAudio()
    for at in (10.0, 10.0, 10.06, 11.0):
        received.add(AudioPacket(LOUD.tobytes(), at))
    sound = received.timeline(9.5)
    assert np.flatnonzero(sound)[0] == 8_000
    loud = np.flatnonzero(sound)
    assert loud[959] == 8_000 + 959, "three packets without a hole"
    assert loud[960] == 24_000
    assert len(received.timeline()) == 16_000 + 320


def test_nothing_received_is_no_sound() -> None:
    assert len(ReceivedAudio().samples()) == 0
    assert len(ReceivedAudio().timeline()) == 0


def test_speech_bounds_finds_the_true_end_to_10_ms() -> None:
    quiet = np.zeros(8_000, dtype=np.int16)
    sound = np.concatenate([quiet, sine(300, 0.5, dbfs=-10), quiet])
    bounds = speech_bounds(sound)
    assert bounds is not None
    assert abs(bounds[0] - 8_000) <= 160
    assert abs(bounds[1] - 16_000) <= 160


def test_speech_bounds_ignores_what_is_far_quieter_than_the_speech() -> None:
    sound = np.concatenate([sine(300, 0.5, dbfs=-6), sine(300, 0.5, dbfs=-50)])
    bounds = speech_bounds(sound)
    assert bounds is not None
    assert abs(bounds[1] - 8_000) <= 160


@pytest.mark.parametrize("samples", [0, 100, 16_000])
def test_speech_bounds_of_silence_is_none(samples: int) -> None:
    assert speech_bounds(np.zeros(samples, dtype=np.int16)) is None


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("ws://h:1", "ws://h:1/ws"),
        ("ws://h:1/", "ws://h:1/ws"),
        ("http://h", "ws://h/ws"),
        ("https://h/call", "wss://h/call"),
        ("h:8000", "ws://h:8000/ws"),
        ("ws://h/ws?ping=0&id=old", "ws://h/ws?ping=0&id=new"),
    ],
)
def test_call_url(given: str, opened: str) -> None:
    new = "new" if "old" in given else None
    assert call_url(given, {"id": new}) == opened


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("ws://h:1", "ws://h:1/ws/a%2Fb"),
        ("ws://h:1/ws", "ws://h:1/ws/a%2Fb"),
        ("https://h/salon/call/", "wss://h/salon/ws/a%2Fb"),
    ],
)
def test_room_url(given: str, opened: str) -> None:
    assert room_url(given, "a/b", {"name": None}) == opened


async def test_sound_without_numpy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "salon.media", None)
    with pytest.raises(MissingExtraError, match=r"salon\[voice\]"):
        ReceivedAudio().samples()
    with pytest.raises(MissingExtraError, match=r"salon\[voice\]"):
        await load("a.wav")
