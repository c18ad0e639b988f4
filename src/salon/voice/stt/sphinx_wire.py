"""What the recogniser and its worker processes say to each other.

A message is a type byte, a little-endian 32-bit payload length and the payload, over the worker's
standard input and output. `AUDIO` carries int16 samples, `FAILED` a text, the rest JSON objects.
The worker answers one utterance at a time; replies carry the utterance's number, so that those to
one given up are recognised and dropped.
"""

from __future__ import annotations

import struct
from typing import Final

PREPARE: Final = b"P"
"""To the worker: have the model of this `key` loaded. Answered by `READY`."""
BEGIN: Final = b"B"
"""To the worker: utterance `number` with model `key`; `partials` true asks for `PARTIAL`."""
AUDIO: Final = b"A"
FINISH: Final = b"F"
CANCEL: Final = b"C"
"""To the worker: forget the utterance, and its sound that still waits. Not answered."""

READY: Final = b"R"
PARTIAL: Final = b"H"
FINAL: Final = b"T"
FAILED: Final = b"E"
"""From the worker: JSON with `number` and `message`; the worker goes on."""

HEADER: Final = struct.Struct("<cI")
MAX_PAYLOAD: Final = 16 * 1024 * 1024


def message(kind: bytes, payload: bytes = b"") -> bytes:
    """One message as bytes."""
    return HEADER.pack(kind, len(payload)) + payload


class MessageReader:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The messages completed by `data`. Raises `ValueError` for one longer than 16 MiB."""
        self._data += data
        done: list[tuple[bytes, bytes]] = []
        at = 0
        while len(self._data) - at >= HEADER.size:
            kind, size = HEADER.unpack_from(self._data, at)
            if size > MAX_PAYLOAD:
                raise ValueError(f"a message of {size} bytes is longer than {MAX_PAYLOAD}")
            end = at + HEADER.size + size
            if len(self._data) < end:
                break
            done.append((kind, bytes(self._data[at + HEADER.size : end])))
            at = end
        del self._data[:at]
        return done
