"""A TURN server of one user on the loopback interface (RFC 8656: UDP, channels)."""

from __future__ import annotations

import asyncio
from typing import Any

from aioice import stun
from aioice.turn import make_integrity_key

REALM, NONCE = "here", b"once"


class TurnServer(asyncio.DatagramProtocol):
    """Relays for whoever knows the password. `relays` are the addresses it gave."""

    def __init__(self, user: str, password: str) -> None:
        self.refused = 0
        self.relays: list[tuple[str, int]] = []
        self.url = ""
        self._user = user
        self._key = make_integrity_key(user, REALM, password)
        self._transport: Any = None
        self._relays: dict[Any, _Relay] = {}
        self._task: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.url = f"turn:127.0.0.1:{transport.get_extra_info('sockname')[1]}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if 0x40 <= data[0] <= 0x4F:
            self._relays[addr].out(data)
            return
        request = stun.parse_message(data)
        if request.attributes.get("USERNAME") != self._user or not request.check_message_integrity(
            self._key
        ):
            self.refused += 1
            self._answer(
                request,
                addr,
                stun.Class.ERROR,
                {"ERROR-CODE": (401, "Unauthorized"), "REALM": REALM, "NONCE": NONCE},
            )
        elif request.message_method == stun.Method.ALLOCATE:
            self._task = asyncio.ensure_future(self._allocate(request, addr))
        else:
            if request.message_method == stun.Method.CHANNEL_BIND:
                number = request.attributes["CHANNEL-NUMBER"]
                self._relays[addr].bind(number, request.attributes["XOR-PEER-ADDRESS"])
            lifetime = request.attributes.get("LIFETIME", 600)
            self._answer(request, addr, stun.Class.RESPONSE, {"LIFETIME": lifetime})

    async def _allocate(self, request: stun.Message, addr: Any) -> None:
        relay = _Relay(lambda data: self._transport.sendto(data, addr))
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: relay, local_addr=("127.0.0.1", 0))
        self._relays[addr] = relay
        self.relays.append(relay.address)
        found = {
            "LIFETIME": 600,
            "XOR-MAPPED-ADDRESS": addr,
            "XOR-RELAYED-ADDRESS": relay.address,
        }
        self._answer(request, addr, stun.Class.RESPONSE, found)

    def _answer(
        self, request: stun.Message, addr: Any, kind: stun.Class, attributes: dict[str, Any]
    ) -> None:
        answer = stun.Message(
            message_method=request.message_method,
            message_class=kind,
            transaction_id=request.transaction_id,
        )
        answer.attributes.update(attributes)
        if kind is stun.Class.RESPONSE:
            answer.add_message_integrity(self._key)
        self._transport.sendto(bytes(answer), addr)

    def close(self) -> None:
        """Give up all relays."""
        self._transport.close()
        for relay in self._relays.values():
            relay.close()


class _Relay(asyncio.DatagramProtocol):
    def __init__(self, back: Any) -> None:
        self.address = ("", 0)
        self._back = back
        self._peers: dict[int, Any] = {}
        self._channels: dict[Any, int] = {}
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.address = transport.get_extra_info("sockname")

    def bind(self, channel: int, peer: Any) -> None:
        self._peers[channel] = peer
        self._channels[peer] = channel

    def out(self, data: bytes) -> None:
        size = int.from_bytes(data[2:4], "big")
        peer = self._peers.get(int.from_bytes(data[:2], "big"))
        if peer is not None:
            self._transport.sendto(data[4 : 4 + size], peer)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        channel = self._channels.get(addr)
        if channel is not None:
            self._back(channel.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data)

    def close(self) -> None:
        self._transport.close()
