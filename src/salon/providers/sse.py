"""Server-sent events, byte by byte. No I/O."""

from __future__ import annotations

MAX_LINE = 1_048_576
"""Longest line accepted, in bytes."""


class SSEError(ValueError):
    """The stream is not what the format allows, or has no bound."""


class SSEParser:
    """Gives the data of each event of a ``text/event-stream`` whose bytes are fed in any pieces.

    Only `data` matters here; comments, names and ids are skipped. Lines end with CR, LF or both;
    a byte order mark at the beginning is dropped. A line or an event beyond `max_line` bytes
    raises `SSEError`.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[str]:
        """The data of the events that `data` completes."""
        if self._after_cr and data:
            # the LF of a CR LF that was cut in two is no line of its own
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._buffer += data
        if not self._begun and len(self._buffer) >= 3:
            self._begun = True
            if self._buffer.startswith(b"\xef\xbb\xbf"):
                del self._buffer[:3]
        found: list[str] = []
        # a long line that comes in small pieces is looked at once, when it ends
        for line in self._lines() if b"\n" in data or b"\r" in data else ():
            if not line:
                if self._data:
                    found.append(self._event())
            elif line.startswith(b"data"):
                self._take(line)
        if len(self._buffer) > self._max:
            raise SSEError(f"a line is longer than {self._max} bytes")
        return found

    def _lines(self) -> list[bytes]:
        if self._buffer.endswith(b"\r"):
            self._after_cr = True
        whole = bytes(self._buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = whole.split(b"\n")
        if lines:
            self._buffer = bytearray(rest)
        return lines

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name != b"data":
            return
        self._size += len(value)
        if self._size > self._max:
            raise SSEError(f"an event is longer than {self._max} bytes")
        self._data.append(value.removeprefix(b" "))

    def _event(self) -> str:
        whole = b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        try:
            return whole.decode()
        except UnicodeDecodeError as error:
            raise SSEError(f"an event is not UTF-8: {error.reason}") from error
