"""Keys that a packet leg presses for the other side (RFC 4733)."""

from __future__ import annotations

import pytest
from tests.unit.voice.test_packet_leg import KEYS, L16, OPUS, PCMU, Line, Track, opened

from salon.media.frame import SILENCE
from salon.media.telephone_event import TelephoneEventReceiver
from salon.testing import silence
from salon.transport.packets import PayloadFormat
from salon.voice.leg import SilentLeg
from salon.voice.packet_leg import KEY_PAUSE, MAX_KEYS

KEYS_48 = PayloadFormat(110, "telephone-event", 48_000)


def idle(line: Line, ticks: int) -> None:
    for _ in range(ticks):
        line.clock.advance(0.02)
        line.leg.idle()


def send(line: Line, ticks: int) -> None:
    for _ in range(ticks):
        line.clock.advance(0.02)
        line.leg.send(silence(20))


def told(line: Line, payload_type: int = 126) -> str:
    """The keys that the other side understands."""
    receiver = TelephoneEventReceiver()
    track = line.track
    packets = zip(track.payloads, track.types, track.timestamps, track.markers, strict=True)
    found = (receiver.feed(p, at, m) for p, kind, at, m in packets if kind == payload_type)
    return "".join(digit for digit in found if digit)


@pytest.mark.parametrize("turn", [idle, send])
def test_keys_are_told_in_order_with_and_without_sound(turn: object) -> None:
    line = opened()
    for digit in "12#a":
        line.leg.send_digit(digit, 100)
    (idle if turn is idle else send)(line, 60)
    assert told(line) == "12#A"
    assert line.leg.quiet is (turn is idle)


def test_a_key_takes_the_place_of_the_sound_of_its_time() -> None:
    line = opened()
    send(line, 5)
    line.leg.send_digit("5", 160)
    assert line.leg.quiet is False
    send(line, 20)
    track = line.track
    assert track.types == [96] * 5 + [126] * 10 + [96] * 12  # the end comes three times at once
    begun = track.timestamps[5]
    assert set(track.timestamps[5:15]) == {begun}
    assert track.markers[5:15] == [True] + [False] * 9
    assert [int.from_bytes(p[2:4]) for p in track.payloads[5:15]] == [
        *range(160, 1280, 160),
        *[1280] * 3,
    ]
    sound = [at for at, kind in zip(track.timestamps, track.types, strict=True) if kind == 96]
    assert sound[5] - sound[4] == 9 * 320  # time went on
    assert not any(track.markers[15:])


def test_there_is_sound_between_two_keys() -> None:
    line = opened()
    line.leg.send_digit("1", 40)
    line.leg.send_digit("2", 40)
    send(line, 12)
    assert line.track.types[:4] == [126] * 4
    assert line.track.types[4 : 4 + KEY_PAUSE] == [96] * KEY_PAUSE
    assert line.track.types[4 + KEY_PAUSE] == 126


def test_events_in_the_clock_of_the_sound_are_chosen() -> None:
    line = opened(OPUS, KEYS, KEYS_48)
    line.leg.send_digit("7", 5000)
    send(line, 100)
    assert told(line, 110) == "7"
    assert 126 not in line.track.types
    longest = max(
        int.from_bytes(p[2:4])
        for p, kind in zip(line.track.payloads, line.track.types, strict=True)
        if kind == 110
    )
    assert 64_000 < longest <= 0xFFFF  # what one event can count


def test_other_events_are_better_than_none() -> None:
    line = opened(OPUS, KEYS)
    line.leg.send_digit("7")
    send(line, 20)
    assert told(line) == "7"


def test_without_events_nothing_happens() -> None:
    line = opened(PCMU)
    line.leg.send_digit("7")
    idle(line, 20)
    assert not line.track.payloads
    SilentLeg().send_digit("7")


def test_keys_wait_until_the_caller_can_hear() -> None:
    line = opened()
    line.leg.ready = False
    line.leg.send_digit("7")
    idle(line, 20)
    assert not line.track.payloads
    line.leg.ready = True
    idle(line, 20)
    assert told(line) == "7"


def test_a_new_track_begins_without_the_keys_of_the_old() -> None:
    line = opened()
    line.leg.send_digit("7", 400)
    idle(line, 3)
    other = Track(L16, KEYS)
    line.leg.attach(other)
    idle(line, 30)
    assert not other.payloads


def test_only_so_many_keys_wait() -> None:
    line = opened()
    for _ in range(MAX_KEYS + 10):
        line.leg.send_digit("1", 40)
    idle(line, MAX_KEYS * 10)
    assert told(line) == "1" * MAX_KEYS


@pytest.mark.parametrize("digit", ["", "E", "12", " "])
def test_what_is_no_key_is_refused(digit: str) -> None:
    with pytest.raises(ValueError, match="no telephone key"):
        opened().leg.send_digit(digit)


def test_a_closed_leg_presses_nothing() -> None:
    line = opened()
    line.leg.send_digit("1")
    line.leg.close()
    line.leg.idle()
    line.leg.send(SILENCE)
    assert not line.track.payloads
