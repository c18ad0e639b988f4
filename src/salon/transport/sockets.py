"""The contract between whoever carries a media WebSocket and whoever uses it.

Everything here is called synchronously on the event loop and returns at once; no task, queue or
framework message exists per frame. Two carriers implement it: our own protocol class
(`salon.transport.websocket`) and an ASGI adapter for foreign servers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """An HTTP request that asks for a WebSocket. Header names are lower case, `path` is decoded."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    client: tuple[str, int] | None = None
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The plain HTTP answer given instead of an upgrade."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


class MediaSocket(ABC):
    """The sending side. Frames leave in the order of the calls and never interleave (G49)."""

    dropped_audio: int = 0
    """Binary frames dropped because the peer reads too slowly (G119)."""
    overflow_notice: Callable[[], str] | None = None
    """Makes the last text of a socket that is closed because its peer does not read (G119)."""

    @abstractmethod
    def send_text(self, data: str) -> None:
        """Send one text frame. While the peer does not read, frames wait in a bounded queue; when
        that overflows the socket is closed with 1008 (G119). After close: no effect."""

    @abstractmethod
    def send_binary(self, data: bytes) -> None:
        """Send one binary frame; while the peer does not read the oldest waiting one is dropped
        and counted. After close: no effect."""

    @abstractmethod
    def ping(self, payload: bytes) -> None:
        """Send a Ping control frame (at most 125 bytes)."""

    @abstractmethod
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send what waits, then Close, then end the connection; bounded in time, idempotent."""


class SocketHandler(ABC):
    """The receiving side: one per connection."""

    @abstractmethod
    def connected(self, socket: MediaSocket) -> None:
        """The upgrade is done; called once, first."""

    @abstractmethod
    def text(self, data: str) -> None:
        """One whole text message."""

    @abstractmethod
    def binary(self, data: bytes) -> None:
        """One whole binary message."""

    @abstractmethod
    def closed(self, code: int, reason: str) -> None:
        """The connection is gone (1006 if without a Close frame); called once, last."""


Acceptor = Callable[[UpgradeRequest], SocketHandler | Refusal | None]
"""Decides over an upgrade: a handler takes it, a `Refusal` answers it, None leaves it to the web
framework. Runs synchronously, so that admission is exact."""
