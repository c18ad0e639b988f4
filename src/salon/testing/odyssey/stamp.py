"""A number of the frame and a time, drawn into a picture so that they outlive video coding.

80 bits as black and white blocks, 16 in a row, 5 rows, in the upper part of the picture: 1 bit
live, 27 bits frame number, 44 bits Unix time in milliseconds, 8 bits check sum, highest bit first.
A block is an 18th of the picture's width across and at most a 12th of its height; the blocks begin
one block's height below the upper edge and stand in the middle from left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COLUMNS: Final = 16
ROWS: Final = 5
_BITS: Final = COLUMNS * ROWS
WHITE: Final = 235
BLACK: Final = 16
_MIDDLE: Final = 126


@dataclass(frozen=True, slots=True)
class Stamp:
    """`live` while a stream runs; `frame` counts from 0 on the connection; `sent_ms` is when the
    frame was painted, in Unix milliseconds."""

    live: bool
    frame: int
    sent_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the blocks are, in pixels."""

    left: int
    top: int
    width: int
    height: int


def place(width: int, height: int) -> Place:
    """Where the blocks of a picture of this size are; `ValueError` if a side is below 72."""
    if width < 72 or height < 72:
        raise ValueError(f"a picture of {width}x{height} has no room for a stamp")
    across, down = width // 18, min(width // 18, height // 12)
    return Place((width - COLUMNS * across) // 2, down, across, down)


def draw(luma: NDArray[np.uint8], stamp: Stamp) -> None:
    """Draw into a plane of brightness, ``uint8[height, width]``."""
    where = place(luma.shape[1], luma.shape[0])
    word = (
        (int(stamp.live) << 71) | ((stamp.frame & 0x7FFFFFF) << 44) | (stamp.sent_ms & (2**44 - 1))
    )
    word = (word << 8) | _check(word.to_bytes(9))
    bits = np.frombuffer(word.to_bytes(10), dtype=np.uint8)
    cells = np.where(np.unpackbits(bits).reshape(ROWS, COLUMNS), WHITE, BLACK).astype(np.uint8)
    blocks = cells.repeat(where.height, axis=0).repeat(where.width, axis=1)
    bottom, right = where.top + blocks.shape[0], where.left + blocks.shape[1]
    luma[where.top : bottom, where.left : right] = blocks


def read(picture: NDArray[Any]) -> Stamp | None:
    """The stamp of a picture, ``uint8[height, width, 3]`` RGB or ``uint8[height, width]``; None if
    there is none or the check sum does not fit."""
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    try:
        where = place(grey.shape[1], grey.shape[0])
    except ValueError:
        return None
    bottom, right = where.top + ROWS * where.height, where.left + COLUMNS * where.width
    blocks = grey[where.top : bottom, where.left : right]
    blocks = blocks.reshape(ROWS, where.height, COLUMNS, where.width)
    rim, side = where.height // 4, where.width // 4
    middle = blocks[:, rim : where.height - rim, :, side : where.width - side].mean(axis=(1, 3))
    word = int.from_bytes(np.packbits((middle > _MIDDLE).ravel()).tobytes())
    word, check = word >> 8, word & 0xFF
    if _check(word.to_bytes(9)) != check:
        return None
    return Stamp(bool(word >> 71), (word >> 44) & 0x7FFFFFF, word & (2**44 - 1))


def _check(data: bytes) -> int:
    """CRC-8 with the polynomial 0x07, begun with 0xff so that a black picture has none."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x07 if crc & 0x80 else crc << 1
        crc &= 0xFF
    return crc
