"""How a session reaches its client, whatever carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.transport.sockets import MediaSocket


class BaseTransport(ABC):
    """The client's side of a session. Synchronous, ordered, bounded; after `close` no effect."""

    @abstractmethod
    def send_event(self, event: str) -> None:
        """One event as JSON text."""

    @abstractmethod
    def send_audio(self, payload: bytes) -> None:
        """One packet of outgoing sound in the call's codec; may be dropped when late."""

    @abstractmethod
    def ping(self, payload: bytes) -> None:
        """Keepalive (G18)."""

    @abstractmethod
    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye after everything already sent (G21)."""

    @property
    @abstractmethod
    def dropped_audio(self) -> int:
        """Packets dropped because the client reads too slowly."""


class SocketTransport(BaseTransport):
    """A WebSocket: text frames for events, binary frames for sound (G11)."""

    def __init__(self, socket: MediaSocket) -> None:
        self._socket = socket

    def send_event(self, event: str) -> None:
        self._socket.send_text(event)

    def send_audio(self, payload: bytes) -> None:
        self._socket.send_binary(payload)

    def ping(self, payload: bytes) -> None:
        self._socket.ping(payload)

    def close(self, code: int, reason: str = "") -> None:
        self._socket.close(code, reason)

    @property
    def dropped_audio(self) -> int:
        return self._socket.dropped_audio
