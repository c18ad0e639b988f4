"""The frames between a speech worker and its parent: one type byte, a length, a payload.

Knows nothing of processes or engines. Standard library only, because every worker imports it.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

PROTOCOL_VERSION: Final = 1
HEADER: Final = struct.Struct(">BI")
"""Type byte and payload length, big-endian."""
MAX_PAYLOAD: Final = 1 << 20
"""No frame is larger than this, in bytes."""

HELLO: Final = ord("H")
SPEAK: Final = ord("S")
CANCEL: Final = ord("C")
AUDIO: Final = ord("A")
WORD: Final = ord("W")
PHONEME: Final = ord("P")
DONE: Final = ord("D")
ERROR: Final = ord("E")

REPLIES: Final = frozenset((HELLO, AUDIO, WORD, PHONEME, DONE, ERROR))
REQUESTS: Final = frozenset((SPEAK, CANCEL))

BAD_REQUEST: Final = "bad_request"
"""`error` code: the worker is sound, the request was not (unknown voice, no such text)."""
CONFIGURATION: Final = "configuration"
"""`error` code instead of `hello`: the engine is not installed or cannot be loaded."""
ENGINE: Final = "engine"
"""`error` code: the engine failed on this piece."""

Fields = dict[str, Any]


class FrameError(ValueError):
    """Bytes on the pipe that are no frame of this protocol."""


def encode(kind: int, payload: bytes) -> bytes:
    """One frame. `FrameError` if the payload is larger than `MAX_PAYLOAD`."""
    if len(payload) > MAX_PAYLOAD:
        raise FrameError(f"a payload of {len(payload)} bytes is over the limit of {MAX_PAYLOAD}")
    return HEADER.pack(kind, len(payload)) + payload


def encode_fields(kind: int, fields: Fields) -> bytes:
    """One frame with a JSON object."""
    return encode(kind, json.dumps(fields, separators=(",", ":")).encode())


def decode_header(header: bytes, allowed: frozenset[int]) -> tuple[int, int]:
    """Type and payload length of a frame. `FrameError` if it is not one of `allowed`."""
    kind, size = HEADER.unpack(header)
    if kind not in allowed:
        raise FrameError(f"unknown frame type {bytes((kind,))!r}")
    if size > MAX_PAYLOAD:
        raise FrameError(f"a frame of {size} bytes is over the limit of {MAX_PAYLOAD}")
    return kind, size


def decode_fields(payload: bytes) -> Fields:
    """The JSON object of a frame. `FrameError` if it is none."""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {payload[:40]!r}") from error
    if not isinstance(fields, dict):
        raise FrameError(f"not a JSON object: {payload[:40]!r}")
    return fields
