"""H.264 from RTP payloads (RFC 6184)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.transport.video_h264 import START_CODE, H264Depacketiser, nal_units
from salon.transport.video_payload import PayloadError

H264 = H264Depacketiser()

units = st.builds(
    lambda kind, importance, body: bytes([importance << 5 | kind]) + body,
    st.integers(1, 23),
    st.integers(0, 3),
    st.binary(min_size=2, max_size=60),
)


def fragments(unit: bytes, size: int) -> list[bytes]:
    """A unit as FU-A packets of `size` bytes of content; it needs two at least."""
    parts = [unit[at : at + size] for at in range(1, len(unit), size)]
    indicator = unit[0] & 0xE0 | 28
    return [
        bytes(
            [
                indicator,
                unit[0] & 0x1F | 0x80 * (number == 0) | 0x40 * (number == len(parts) - 1),
            ]
        )
        + part
        for number, part in enumerate(parts)
    ]


def aggregate(parts: list[bytes]) -> bytes:
    """STAP-A."""
    return b"\x78" + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


packings = st.lists(
    st.tuples(st.sampled_from(["single", "fragments", "aggregate"]), st.lists(units, min_size=1)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(packings, st.integers(1, 9))
def test_every_packing_gives_the_same_units(
    packing: list[tuple[str, list[bytes]]], size: int
) -> None:
    payloads: list[bytes] = []
    wanted: list[bytes] = []
    for kind, group in packing:
        wanted += group
        if kind == "aggregate":
            payloads.append(aggregate(group))
        for unit in group:
            if kind == "single":
                payloads.append(unit)
            elif kind == "fragments":
                payloads += fragments(unit, min(size, len(unit) - 2))
    assert nal_units(payloads) == wanted
    data, key = H264.join(payloads)
    assert data == b"".join(START_CODE + unit for unit in wanted)
    assert key == any(unit[0] & 0x1F in (5, 7) for unit in wanted)


@settings(deadline=None)
@given(units, st.integers(1, 9), st.data())
def test_a_missing_fragment_is_never_passed_over_at_the_ends(
    unit: bytes, size: int, data: st.DataObject
) -> None:
    payloads = fragments(unit, min(size, len(unit) - 2))
    del payloads[data.draw(st.sampled_from([0, -1]))]
    with pytest.raises(PayloadError):
        H264.join(payloads)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=6))
def test_rubbish_gives_units_or_a_payload_error(payloads: list[bytes]) -> None:
    for payload in payloads:
        H264.begins(payload)
        H264.begins_key(payload)
    with contextlib.suppress(PayloadError):
        assert all(nal_units(payloads))


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [b""],
        [b"\x19abc"],
        [b"\x1a\x00\x00"],
        [b"\x1d\x85abc"],
        [b"\x00abc"],
        [b"\x78"],
        [b"\x78\x00"],
        [b"\x78\x00\x05ab"],
        [b"\x78\x00\x00"],
        [b"\x7c\x85"],
        [b"\x7c\xc5a"],
        [b"\x7c\x85a", b"\x65a"],
        [b"\x7c\x85a", b"\x7c\x85a"],
        [b"\x7c\x05a"],
    ],
)
def test_what_is_no_frame_is_refused(payloads: list[bytes]) -> None:
    with pytest.raises(PayloadError):
        H264.join(payloads)


def test_what_begins_a_frame() -> None:
    parameters, slice_, idr = b"\x67abc", b"\x41abc", b"\x65abc"
    assert H264.begins_key(parameters)
    assert H264.begins_key(aggregate([parameters, b"\x68ab"]))
    assert H264.begins_key(aggregate([b"\x09\x10", parameters]))
    assert H264.begins(b"\x09\x10")
    assert H264.begins(fragments(parameters, 1)[0])
    for payload in (slice_, idr, fragments(parameters, 1)[1], aggregate([slice_]), b""):
        assert not H264.begins(payload)
        assert not H264.begins_key(payload)
