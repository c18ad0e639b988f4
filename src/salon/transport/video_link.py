"""A data channel of a viewer: text in both directions."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from salon.base import ProtocolError

_log = logging.getLogger("salon.transport")

DEFAULT_MESSAGE_BYTES = 65_536
"""What a peer takes that says nothing (RFC 8841, 6.1)."""
UNLIMITED_MESSAGE_BYTES = 1 << 30
"""What stands for ``a=max-message-size:0``, which means any size."""

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""What may wait to be sent on one link."""

_MAX_MESSAGE_SIZE = re.compile(r"(?m)^a=max-message-size:(\d{1,10})\s*$")


class LinkClosed(ProtocolError, ConnectionError):
    """The data channel is not open."""

    code = "link_closed"


class LinkFull(ProtocolError, ConnectionError):
    """The peer does not take what waits for it already."""

    code = "link_full"


def max_message_bytes(description: str) -> int:
    """The limit that a peer's description states (O48)."""
    found = _MAX_MESSAGE_SIZE.search(description)
    if found is None:
        return DEFAULT_MESSAGE_BYTES
    return int(found[1]) or UNLIMITED_MESSAGE_BYTES


class DataLink:
    """One channel that the peer opened. Everything runs on the event loop.

    `on_message` gets text; binary messages are read as UTF-8 and what is none is counted in
    `rejected`. `on_open` is called once if the link was not `ready` when it was handed over,
    `on_close` once when it ends. Exceptions of these are logged and go no further.
    """

    def __init__(self, channel: Any, limit: int) -> None:
        self.label: str = channel.label
        self.max_message_bytes = limit
        """Longest message in bytes of UTF-8 that the peer takes."""
        self.on_message: Callable[[str], None] | None = None
        self.on_open: Callable[[], None] | None = None
        self.on_close: Callable[[], None] | None = None
        self.rejected = 0
        self.callback_errors = 0
        self._channel = channel
        self._closed = False
        channel.on("message", self._received)
        channel.on("open", self._opened)
        channel.on("close", self.ended)

    @property
    def ready(self) -> bool:
        """Whether `send` may be called."""
        return not self._closed and self._channel.readyState == "open"

    def send(self, text: str) -> None:
        """Send one message; never waits. Raises `LinkClosed` if the link is not ready, `LinkFull`
        if too much waits for the peer, and `ValueError` if the text is longer than
        `max_message_bytes`."""
        if not self.ready:
            raise LinkClosed(f"the data channel {self.label!r} is not open")
        size = len(text.encode())
        if size > self.max_message_bytes:
            raise ValueError(
                f"a message of {size} bytes; {self.label!r} takes {self.max_message_bytes}"
            )
        if self._channel.bufferedAmount + size > MAX_WAITING_BYTES:
            raise LinkFull(f"the peer does not take what waits on {self.label!r}")
        self._channel.send(text)

    def ended(self) -> None:
        """The channel or its connection is over."""
        if not self._closed:
            self._closed = True
            self._tell(self.on_close)

    def _received(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            try:
                message = message.decode()
            except UnicodeDecodeError:
                self.rejected += 1
                return
        self._tell(self.on_message, message)

    def _opened(self) -> None:
        self._tell(self.on_open)

    def _tell(self, callback: Callable[..., None] | None, *arguments: str) -> None:
        if callback is None:
            return
        try:
            callback(*arguments)
        except Exception:  # noqa: BLE001 - the user's code; the channel goes on
            self.callback_errors += 1
            _log.exception("a callback of the data channel %r failed", self.label)
