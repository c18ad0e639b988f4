"""A client that costs next to nothing: many calls from one process, frames made once."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import time

FRAME_BYTES = 640
FRAME_S = 0.02
MASK = b"\x00\x00\x00\x00"
"""A mask of zeros is a mask, and the payload stays as it is."""


def frame(opcode: int, payload: bytes) -> bytes:
    """One masked client frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    return head + MASK + payload


class LoadCall(asyncio.Protocol):
    """One call: sends the given sound in a loop, counts what comes."""

    def __init__(self, host: str, path: str, commands: list[dict[str, object]]) -> None:
        self.received = 0
        self.lost = False
        self.open = asyncio.get_running_loop().create_future()
        self._host = host
        self._path = path
        self._commands = commands
        self._transport: asyncio.Transport | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if not self.open.done():
            self._head += data
            if b"\r\n\r\n" in self._head:
                self.open.set_result(b" 101 " in self._head.split(b"\r\n")[0])
                for command in self._commands:
                    self.write(frame(1, json.dumps(command).encode()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.open.done():
            self.open.set_result(False)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def run_calls(
    port: int,
    path: str,
    count: int,
    seconds: float,
    sound: bytes,
    commands: list[dict[str, object]],
    *,
    warm_up: float = 3.0,
    on_measure: object = None,
) -> dict[str, float]:
    """`count` calls for `warm_up` + `seconds`; `on_measure(True/False)` at the ends of the part
    that counts. Returns bytes received per call-second in that part and how many calls held."""
    loop = asyncio.get_running_loop()
    frames = [
        frame(2, sound[start : start + FRAME_BYTES])
        for start in range(0, len(sound) - FRAME_BYTES + 1, FRAME_BYTES)
    ]
    calls: list[LoadCall] = []
    for number in range(count):
        separator = "&" if "?" in path else "?"
        _, call = await loop.create_connection(
            lambda number=number: LoadCall(
                f"127.0.0.1:{port}", f"{path}{separator}id=load-{number}", commands
            ),
            "127.0.0.1",
            port,
        )
        calls.append(call)
    opened = await asyncio.wait_for(asyncio.gather(*(call.open for call in calls)), 20)
    if not all(opened):
        raise RuntimeError(f"{opened.count(False)} of {count} calls were refused")
    tell = on_measure if callable(on_measure) else (lambda _begins: None)
    began = time.perf_counter()
    total = round((warm_up + seconds) / FRAME_S)
    measured_from = 0
    for tick in range(total):
        if tick == round(warm_up / FRAME_S):
            measured_from = sum(call.received for call in calls)
            tell(True)
        for number, call in enumerate(calls):
            call.write(frames[(tick + 7 * number) % len(frames)])
        await asyncio.sleep(max(0.0, began + (tick + 1) * FRAME_S - time.perf_counter()))
    tell(False)
    received = sum(call.received for call in calls) - measured_from
    held = sum(not call.lost for call in calls)
    for call in calls:
        call.close()
    await asyncio.sleep(0.2)
    return {"bytes_per_call_second": received / count / seconds, "held": held}
