"""VP8 from RTP payloads (RFC 7741)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.transport.video_payload import PayloadError
from salon.transport.video_vp8 import Vp8Depacketiser, descriptor_bytes

VP8 = Vp8Depacketiser()


def descriptor(
    start: bool,
    *,
    partition: int = 0,
    picture: int | None = None,
    index: int | None = None,
    layer: int | None = None,
) -> bytes:
    """As RFC 7741, 4.2 lays it out."""
    first = 0x10 * start | partition
    extension = b""
    if picture is not None:
        extension += bytes([picture]) if picture < 128 else (0x8000 | picture).to_bytes(2, "big")
    if index is not None:
        extension += bytes([index])
    if layer is not None:
        extension += bytes([layer])
    if not extension:
        return bytes([first])
    flags = 0x80 * (picture is not None) | 0x40 * (index is not None) | 0x20 * (layer is not None)
    return bytes([first | 0x80, flags]) + extension


descriptors = st.builds(
    lambda picture, index, layer: {"picture": picture, "index": index, "layer": layer},
    st.none() | st.integers(0, 0x7FFF),
    st.none() | st.integers(0, 255),
    st.none() | st.integers(0, 255),
)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12), descriptors)
def test_a_frame_is_joined_from_its_packets(parts: list[bytes], fields: dict[str, int]) -> None:
    payloads = [
        descriptor(number == 0, **fields) + part  # type: ignore[arg-type]
        for number, part in enumerate(parts)
    ]
    assert VP8.begins(payloads[0])
    assert not any(map(VP8.begins, payloads[1:]))
    data, key = VP8.join(payloads)
    assert data == b"".join(parts)
    assert key == (not data[0] & 1) == VP8.begins_key(payloads[0])


def test_packets_of_later_partitions_go_on_with_the_frame() -> None:
    payloads = [b"\x10\x00a", descriptor(True, partition=1) + b"b"]
    assert VP8.join(payloads) == (b"\x00ab", True)


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [b""],
        [b"\x10"],
        [b"\x00abc"],
        [b"\x90"],
        [b"\x90\x80"],
        [b"\x90\x80\x80\x01"],
        [b"\x90\xf0\x01\x01\x01"],
        [b"\x10a", b"\x10b"],
    ],
)
def test_what_is_no_frame_is_refused(payloads: list[bytes]) -> None:
    with pytest.raises(PayloadError):
        VP8.join(payloads)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=6))
def test_rubbish_gives_a_frame_or_a_payload_error(payloads: list[bytes]) -> None:
    for payload in payloads:
        VP8.begins(payload)
        VP8.begins_key(payload)
    try:
        data, _ = VP8.join(payloads)
    except PayloadError:
        return
    assert data


def test_padding_counts_for_nothing() -> None:
    assert VP8.join([b"", b"\x10\x01a", b""]) == (b"\x01a", False)


def test_the_length_of_a_descriptor() -> None:
    assert descriptor_bytes(descriptor(True) + b"a") == 1
    assert descriptor_bytes(descriptor(True, picture=5) + b"a") == 3
    assert descriptor_bytes(descriptor(True, picture=500, index=1, layer=2) + b"a") == 6
