"""The paths at which calls come in, and what carries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from salon.gateway.transports import BaseTransport, SocketTransport
from salon.transport.sockets import MediaSocket, Refusal

if TYPE_CHECKING:
    from salon.gateway.session import Session


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to place a call. `connect` makes the transport of a client that has just connected,
    at once and without failing; `call_type` is that of these transports, for calls that wait for
    theirs."""

    call_type: str
    connect: Callable[[MediaSocket, Session], BaseTransport]


SOCKET_ENDPOINT = Endpoint(SocketTransport.call_type, SocketTransport)
"""Sound in binary frames (G11)."""
Endpoints = Mapping[str, Endpoint | Refusal]
"""By path. A `Refusal` answers where the libraries of an endpoint are missing (G286)."""
SOCKET_ENDPOINTS: MappingProxyType[str, Endpoint | Refusal] = MappingProxyType(
    {"/ws": SOCKET_ENDPOINT, "/call": SOCKET_ENDPOINT}
)
"""What a gateway has if nothing else is said (G10, G280)."""
