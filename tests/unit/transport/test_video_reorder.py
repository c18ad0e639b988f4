"""The reorder buffer of video: whole frames, in order, whatever the network does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from salon.transport.packets import MediaPacket
from salon.transport.video_reorder import ReorderBuffer

FIRST = 0xFFF0


def stream(lengths: list[int], *, markers: bool = True, first: int = FIRST) -> list[MediaPacket]:
    """Frames of so many packets; the payload tells frame, place and length."""
    packets: list[MediaPacket] = []
    for frame, length in enumerate(lengths):
        for place in range(length):
            packets.append(
                MediaPacket(
                    bytes([frame, place, length]),
                    96,
                    (first + len(packets)) & 0xFFFF,
                    frame * 3750,
                    markers and place == length - 1,
                    0.0,
                    1,
                )
            )
    return packets


def begins(payload: bytes) -> bool:
    return payload[1] == 0


def drained(buffer: ReorderBuffer) -> list[int]:
    """Numbers of the frames that are whole; they must be."""
    frames = []
    while (packets := buffer.next_frame()) is not None:
        payloads = [packet.payload for packet in packets]
        assert [payload[1] for payload in payloads] == list(range(payloads[0][2]))
        assert len({payload[0] for payload in payloads}) == 1
        frames.append(payloads[0][0])
    return frames


lengths = st.lists(st.integers(1, 6), min_size=1, max_size=20)


def test_D15_a_frame_is_out_with_its_marker() -> None:
    buffer = ReorderBuffer(begins)
    for packet in stream([3])[:2]:
        buffer.add(packet)
        assert buffer.next_frame() is None
    buffer.add(stream([3])[2])
    assert drained(buffer) == [0]


def test_without_markers_a_frame_is_out_with_the_next() -> None:
    buffer = ReorderBuffer(begins)
    seen = []
    for packet in stream([2, 3, 1], markers=False):
        buffer.add(packet)
        seen += drained(buffer)
    assert seen == [0, 1]


@settings(deadline=None)
@given(lengths, st.randoms(use_true_random=False))
def test_any_order_and_duplicates_give_every_frame_once(lengths: list[int], random: object) -> None:
    packets = stream(lengths)
    first, rest = packets[0], packets[1:] + packets[: len(packets) // 2]
    random.shuffle(rest)  # type: ignore[attr-defined]
    buffer = ReorderBuffer(begins)
    seen = []
    for packet in [first, *rest]:
        buffer.add(packet)
        seen += drained(buffer)
    assert seen == list(range(len(lengths)))
    assert len(buffer) == 0
    assert buffer.duplicates + buffer.late == len(packets) // 2
    assert not list(buffer.missing())


@settings(deadline=None)
@given(lengths, st.sets(st.integers(0, 119)), st.randoms(use_true_random=False), st.integers(8, 40))
def test_with_loss_only_whole_frames_in_order_and_never_more_than_it_may_hold(
    lengths: list[int], lost: set[int], random: object, capacity: int
) -> None:
    packets = [p for number, p in enumerate(stream(lengths)) if number not in lost]
    for at in range(0, len(packets) - 4, 4):
        piece = packets[at : at + 4]
        random.shuffle(piece)  # type: ignore[attr-defined]
        packets[at : at + 4] = piece
    buffer = ReorderBuffer(begins, capacity=capacity)
    seen = []
    for number, packet in enumerate(packets):
        buffer.add(packet)
        assert len(buffer) <= capacity
        seen += drained(buffer)
        if number % 10 == 9 and buffer.skip_hole():
            seen += drained(buffer)
    while buffer.skip_hole():
        seen += drained(buffer)
    assert seen == sorted(set(seen))


@settings(deadline=None)
@given(lengths, st.data())
def test_a_frame_after_a_hole_that_was_given_up_is_not_lost(
    lengths: list[int], data: st.DataObject
) -> None:
    lengths = [*lengths, 2]
    packets = stream(lengths)
    gone = data.draw(st.integers(0, len(packets) - 3))
    lost = packets[gone].payload[0]
    buffer = ReorderBuffer(begins)
    seen = []
    for packet in packets[:gone] + packets[gone + 1 :]:
        buffer.add(packet)
        seen += drained(buffer)
    assert list(buffer.missing()) in ([], [gone + FIRST + 0x10000], [gone + FIRST])
    buffer.skip_hole()
    seen += drained(buffer)
    assert seen == [frame for frame in range(len(lengths)) if frame != lost]


def test_the_beginning_may_come_after_the_rest_of_the_first_frame() -> None:
    packets = stream([3, 1])
    buffer = ReorderBuffer(begins)
    for packet in (packets[1], packets[2], packets[0], packets[3]):
        buffer.add(packet)
    assert drained(buffer) == [0, 1]


def test_joining_amid_a_frame_waits_for_the_next() -> None:
    buffer = ReorderBuffer(begins)
    for packet in stream([5, 2])[2:]:
        buffer.add(packet)
    assert drained(buffer) == [1]
    assert buffer.passed == 3


def test_a_frame_that_needs_nothing_before_is_gone_to_at_once() -> None:
    packets = stream([2, 3, 2])
    buffer = ReorderBuffer(begins)
    for packet in (*packets[:2], packets[2], packets[4]):
        buffer.add(packet)
    assert drained(buffer) == [0]
    number = buffer.add(packets[5])
    assert number is not None
    assert buffer.skip_to(number)
    buffer.add(packets[6])
    assert drained(buffer) == [2]
    assert buffer.add(packets[3]) is None
    assert buffer.late == 1


def test_without_a_hole_nothing_is_skipped() -> None:
    packets = stream([2, 2])
    buffer = ReorderBuffer(begins)
    for packet in packets[:3]:
        number = buffer.add(packet)
    assert number is not None
    assert not buffer.skip_to(number)
    assert not buffer.skip_hole()
    assert drained(buffer) == [0]


def test_clear_begins_anew_at_any_number() -> None:
    buffer = ReorderBuffer(begins)
    for packet in stream([2, 2])[:3]:
        buffer.add(packet)
    buffer.clear()
    for packet in stream([2], first=77):
        buffer.add(packet)
    assert drained(buffer) == [0]
