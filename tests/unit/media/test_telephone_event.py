"""Key presses as RTP telephone events."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.media.telephone_event import DIGITS, TelephoneEventReceiver, telephone_event_packets

Packet = tuple[bytes, int, bool]


def press(digit: str, timestamp: int, duration_ms: int = 100) -> list[Packet]:
    return [
        (payload, timestamp & 0xFFFFFFFF, marker)
        for payload, marker, _ in telephone_event_packets(digit, duration_ms)
    ]


def event(code: int, timestamp: int, duration: int, *, end: bool = False) -> Packet:
    return bytes((code, 0x8A if end else 0x0A)) + duration.to_bytes(2, "big"), timestamp, False


def heard(packets: Iterable[Packet], receiver: TelephoneEventReceiver | None = None) -> str:
    receiver = receiver or TelephoneEventReceiver()
    return "".join(receiver.feed(*packet) or "" for packet in packets)


def test_a_press_by_hand() -> None:
    """RFC 4733, 2.3: event, end bit and volume, duration in clock units."""
    packets = list(telephone_event_packets("5", 50))
    assert [payload.hex() for payload, _, _ in packets] == [
        "050a00a0",
        "050a0140",
        "058a0190",
        "058a0190",
        "058a0190",
    ]
    assert [marker for _, marker, _ in packets] == [True, False, False, False, False]
    assert [end for _, _, end in packets] == [False, False, True, True, True]


@pytest.mark.parametrize(("code", "digit"), list(enumerate("0123456789*#ABCD")))
def test_G160_events_0_to_15_are_digits(code: int, digit: str) -> None:
    assert heard([event(code, 1, 160)]) == digit
    assert heard(press(digit, 1)) == digit
    assert heard(press(digit.lower(), 1)) == digit


@pytest.mark.parametrize("code", [16, 32, 66, 255])
def test_other_events_are_ignored_and_counted(code: int) -> None:
    receiver = TelephoneEventReceiver()
    assert heard([event(code, 1, 160)], receiver) == ""
    assert (receiver.ignored, receiver.malformed) == (1, 0)


@pytest.mark.parametrize("payload", [b"", b"\5", b"\5\n\0"])
def test_short_payloads_are_ignored_and_counted(payload: bytes) -> None:
    receiver = TelephoneEventReceiver()
    assert heard([(payload, 1, True)], receiver) == ""
    assert receiver.malformed == 1
    assert heard([(b"\5\n\0\1more", 1, True)], receiver) == "5"


def test_T28_the_same_digit_twice_is_two_presses() -> None:
    assert heard(press("5", 1000) + press("5", 3000)) == "55"
    assert heard(press("5", 0xFFFFFF00) + press("5", 0x700)) == "55"
    first, second = press("5", 1000), press("5", 1000 + 800)
    assert heard(first + second) == "55"
    assert heard(first + second[1:]) == "55"


def test_a_lost_start_or_end_changes_nothing() -> None:
    first, second = press("5", 1000), press("5", 3000)
    assert heard(first[1:] + second[2:]) == "55"
    assert heard(first[:1] + second[-1:]) == "55"
    assert heard(first[:2] + second[1:]) == "55"


def test_late_packets_of_the_press_before_report_nothing() -> None:
    first, second = press("5", 1000), press("5", 3000)
    assert heard(first[:-2] + second[:2] + first[-2:] + second[2:]) == "55"
    first, second = press("1", 1000), press("2", 3000)
    assert heard(first[:-2] + second[:2] + first[-2:] + second[2:]) == "12"


def test_a_press_heard_of_only_late_still_counts() -> None:
    assert heard(press("5", 3000) + press("5", 1000)[-1:]) == "55"
    assert heard(press("2", 3000) + press("1", 1000)[-1:]) == "21"


def test_two_keys_at_one_timestamp_are_two_presses() -> None:
    assert heard([event(1, 50, 160), event(2, 50, 160), event(1, 50, 320)]) == "12"


def test_a_long_press_in_several_events_is_one() -> None:
    """RFC 4733, 2.5.1.3: the next event begins where the last one ended, without a marker."""
    first = [event(5, 0, duration) for duration in range(160, 0xFFFF, 160)] + [event(5, 0, 0xFFFF)]
    second = [event(5, 0xFFFF, duration) for duration in range(160, 1000, 160)]
    end = [event(5, 0xFFFF, 1000, end=True)] * 3
    assert heard(first + second + end) == "5"
    assert heard(first[:-9] + second + end) == "5"
    assert heard(first[:-1] + second + first[-1:] + end) == "5"


def test_a_press_goes_on_at_its_longest_duration_unless_a_marker_begins_another() -> None:
    first = [event(5, 0, 160), event(5, 0, 800), event(5, 0, 480)]
    assert heard([*first, event(5, 800, 160)]) == "5"
    payload, timestamp, _ = event(5, 400, 160)
    assert heard([*first, (payload, timestamp, False)]) == "5"
    assert heard([*first, (payload, timestamp, True)]) == "55"


def test_a_sender_that_moves_the_timestamp_with_every_packet() -> None:
    moving = [event(5, step * 160, (step + 1) * 160) for step in range(5)]
    end = [event(5, 800 + step * 160, 800, end=True) for step in range(3)]
    assert heard(moving + end) == "5"
    assert heard([moving[1], moving[0], *moving[2:], *end]) == "5"
    again = [(payload, timestamp + 4000, marker) for payload, timestamp, marker in moving + end]
    assert heard(moving + end + again) == "55"


@given(
    st.lists(
        st.tuples(st.sampled_from(DIGITS), st.integers(20, 600), st.integers(20, 2000)),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 0xFFFFFFFF),
    st.data(),
)
def test_one_digit_per_press_whatever_arrives(
    presses: list[tuple[str, int, int]], start: int, data: st.DataObject
) -> None:
    """Any packets of each press, at least one, in any order within it, any of them repeated."""
    arriving: list[Packet] = []
    for digit, duration_ms, pause_ms in presses:
        packets = press(digit, start, duration_ms)
        arriving += data.draw(
            st.lists(st.sampled_from(packets), min_size=1, max_size=2 * len(packets))
        )
        start += 8 * (duration_ms + pause_ms)
    assert heard(arriving) == "".join(digit for digit, _, _ in presses)


@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 0xFFFFFFFF), st.booleans())))
def test_noise_raises_nothing(packets: list[Packet]) -> None:
    assert set(heard(packets)) <= set(DIGITS)


@given(st.sampled_from(DIGITS), st.integers(1, 1300), st.sampled_from([8000, 16000, 48000]))
def test_packets_of_a_press(digit: str, duration_ms: int, clock_rate: int) -> None:
    packets = list(telephone_event_packets(digit, duration_ms, clock_rate=clock_rate, volume=63))
    durations = [int.from_bytes(payload[2:], "big") for payload, _, _ in packets]
    assert durations[-3:] == [duration_ms * clock_rate // 1000] * 3
    step = clock_rate // 50
    assert all(after - before == step for before, after in pairwise(durations[:-3]))
    assert [end for _, _, end in packets] == [False] * (len(packets) - 3) + [True] * 3
    assert [marker for _, marker, _ in packets] == [True] + [False] * (len(packets) - 1)
    assert all(payload[1] & 0x3F == 63 for payload, _, _ in packets)
    assert all((payload[1] >= 0x80) is end for payload, _, end in packets)


@pytest.mark.parametrize("digit", ["", "E", "12", "x", "٣", "ß"])
def test_unknown_digits_are_refused_at_once(digit: str) -> None:
    with pytest.raises(ValueError, match="telephone key"):
        telephone_event_packets(digit, 100)


@pytest.mark.parametrize(
    ("duration_ms", "volume"), [(0, 10), (-20, 10), (8192, 10), (100, 64), (100, -1)]
)
def test_what_does_not_fit_is_refused(duration_ms: int, volume: int) -> None:
    with pytest.raises(ValueError, match="allowed"):
        telephone_event_packets("5", duration_ms, volume=volume)
