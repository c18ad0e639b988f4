"""A STUN responder of our own, so that clients need no other (O44, RFC 8489)."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from typing import Any, Final, cast

_COOKIE: Final = 0x2112A442
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_XOR_MAPPED_ADDRESS: Final = 0x0020


def binding_answer(datagram: bytes, host: str, port: int) -> bytes | None:
    """The answer to a binding request that came from `host` and `port`; None to anything else."""
    if len(datagram) < 20:
        return None
    kind, length, cookie = struct.unpack_from("!HHI", datagram)
    if kind != _BINDING_REQUEST or cookie != _COOKIE or length != len(datagram) - 20:
        return None
    address = ipaddress.ip_address(host)
    mask = datagram[4:20][: len(address.packed)]
    masked = bytes(a ^ b for a, b in zip(address.packed, mask, strict=True))
    family = 1 if address.version == 4 else 2
    value = struct.pack("!BBH", 0, family, port ^ (_COOKIE >> 16)) + masked
    attribute = struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(value)) + value
    return (
        struct.pack("!HHI", _BINDING_SUCCESS, len(attribute), _COOKIE) + datagram[8:20] + attribute
    )


class StunResponder(asyncio.DatagramProtocol):
    """Answers on a UDP port; `silent` switches that off, for clients that must not wait."""

    def __init__(self) -> None:
        self.silent = False
        self.answered = 0
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str) -> None:
        """Listen on a port the system picks."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The port is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Answer what is a binding request."""
        if self.silent or self._transport is None:
            return
        answer = binding_answer(data, addr[0], addr[1])
        if answer is not None:
            self.answered += 1
            self._transport.sendto(answer, addr)

    def close(self) -> None:
        """Listen no longer; idempotent."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
