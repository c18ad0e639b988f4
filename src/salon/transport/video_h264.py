"""H.264 in RTP (RFC 6184), packetization modes 0 and 1, without I/O.

Single NAL units, aggregates of one time (STAP-A) and fragments (FU-A) are read. Interleaving
(mode 2: STAP-B, MTAP, FU-B) is not agreed on and refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from salon.transport.video_payload import Depacketiser, PayloadError

START_CODE = b"\x00\x00\x00\x01"
_TYPE = 0x1F
_IDR, _SPS, _DELIMITER = 5, 7, 9
_SINGLE = range(1, 24)
_SLICES = range(1, 6)
_STAP_A, _FU_A = 24, 28
_FIRST, _LAST = 0x80, 0x40


def nal_units(payloads: Sequence[bytes]) -> list[bytes]:
    """The NAL units of consecutive payloads; fragments are joined. Empty payloads are padding.
    Raises `PayloadError`."""
    units: list[bytes] = []
    fragments: list[bytes] | None = None
    for payload in payloads:
        if not payload:
            continue
        kind = payload[0] & _TYPE
        if kind == _FU_A:
            fragments = _fragment(payload, fragments, units)
            continue
        if fragments is not None:
            raise PayloadError("an H.264 fragment without its end")
        if kind == _STAP_A:
            units += _aggregated(payload)
        elif kind in _SINGLE:
            units.append(payload)
        else:
            raise PayloadError(f"H.264 payload of type {kind}")
    if fragments is not None:
        raise PayloadError("an H.264 fragment without its end")
    return units


def _fragment(
    payload: bytes, fragments: list[bytes] | None, units: list[bytes]
) -> list[bytes] | None:
    """The fragments of a unit that is not over yet; None after its last, which is added."""
    if len(payload) < 3:
        raise PayloadError("an H.264 fragment without content")
    header = payload[1]
    if header & _FIRST:
        if fragments is not None or header & _LAST:
            raise PayloadError("an H.264 fragment begins where none can")
        return [bytes((payload[0] & ~_TYPE & 0xFF | header & _TYPE,)), payload[2:]]
    if fragments is None:
        raise PayloadError("an H.264 fragment without its beginning")
    fragments.append(payload[2:])
    if not header & _LAST:
        return fragments
    units.append(b"".join(fragments))
    return None


def _aggregated(payload: bytes) -> list[bytes]:
    units = []
    at, size = 1, len(payload)
    while at < size:
        if at + 2 > size:
            raise PayloadError("an H.264 aggregate with a cut length")
        end = at + 2 + int.from_bytes(payload[at : at + 2], "big")
        if end > size or end == at + 2:
            raise PayloadError(f"an H.264 aggregate of {size} bytes with a unit that ends at {end}")
        units.append(payload[at + 2 : end])
        at = end
    if not units:
        raise PayloadError("an H.264 aggregate of nothing")
    return units


def has_slice(data: bytes) -> bool:
    """Whether a frame in Annex B form has a part of a picture, and not parameters alone."""
    return any(unit and unit[0] & _TYPE in _SLICES for unit in data.split(START_CODE))


class H264Depacketiser(Depacketiser):
    """Slices look alike, so only parameter sets and delimiters certainly begin a frame; else it is
    known from the packet before."""

    codec: ClassVar[str] = "H264"

    def begins(self, payload: bytes) -> bool:
        return _first_type(payload) in (_SPS, _DELIMITER)

    def begins_key(self, payload: bytes) -> bool:
        return _first_type(payload) == _SPS or _SPS in _types(payload)

    def join(self, payloads: Sequence[bytes]) -> tuple[bytes, bool]:
        units = nal_units(payloads)
        if not units:
            raise PayloadError("an H.264 frame without payload")
        key = any(unit[0] & _TYPE in (_IDR, _SPS) for unit in units)
        return b"".join([piece for unit in units for piece in (START_CODE, unit)]), key


def _first_type(payload: bytes) -> int:
    """The type of the first NAL unit that begins in a payload, 0 if none does."""
    if len(payload) < 2:
        return payload[0] & _TYPE if payload else 0
    kind = payload[0] & _TYPE
    if kind == _FU_A:
        return payload[1] & _TYPE if payload[1] & _FIRST else 0
    if kind == _STAP_A:
        return payload[3] & _TYPE if len(payload) > 3 else 0
    return kind


def _types(payload: bytes) -> set[int]:
    """Of the units of an aggregate."""
    if not payload or payload[0] & _TYPE != _STAP_A:
        return set()
    try:
        return {unit[0] & _TYPE for unit in _aggregated(payload)}
    except PayloadError:
        return set()
