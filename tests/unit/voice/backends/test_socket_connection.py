"""What waits for a client that reads slowly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from salon.voice.backends.socket_connection import MAX_WAITING, SocketConnection

FRAME = np.zeros(320, np.int16)


class Slow:
    """A client that reads nothing before its `gate` opens."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.gate = asyncio.Event()

    async def send_text(self, data: str) -> None:
        await self.gate.wait()
        message = json.loads(data)
        self.got.append(message.get("event") or message["type"])

    async def send_bytes(self, data: bytes) -> None:
        await self.gate.wait()
        self.got.append("media")

    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...


async def got(connection: SocketConnection, client: Slow) -> list[Any]:
    client.gate.set()
    writing = asyncio.create_task(connection.run())
    while connection._waiting:
        await asyncio.sleep(0)
    await connection.close()
    await writing
    return client.got


@pytest.mark.parametrize("binary", [True, False])
async def test_a_flush_takes_back_sound_alone(binary: bool) -> None:
    client = Slow()
    connection = SocketConnection(client, in_rate=16_000, out_rate=16_000, binary=binary)
    connection.tell({"type": "first"})
    connection.leg.send(FRAME)
    waits = connection.held
    assert waits
    connection.tell({"type": "transcription", "text": "what the caller said"})
    connection.leg.send(FRAME)
    connection.flush()
    assert not connection.held
    assert await got(connection, client) == ["first", "transcription"]


async def test_a_telephone_is_told_of_it_after_what_it_was_told_before() -> None:
    client = Slow()
    connection = SocketConnection.telephone(client, "S1")
    connection.tell({"event": "mark"})
    connection.leg.send(FRAME)
    connection.flush()
    assert await got(connection, client) == ["mark", "clear"]


async def test_the_oldest_sound_makes_room() -> None:
    client = Slow()
    connection = SocketConnection(client, in_rate=16_000, out_rate=16_000, binary=True)
    connection.tell({"type": "first"})
    for _ in range(MAX_WAITING):
        connection.leg.send(FRAME)
    assert connection.dropped == 1
    assert (await got(connection, client)).count("first") == 1


async def test_control_alone_is_bounded_too() -> None:
    client = Slow()
    connection = SocketConnection(client, in_rate=16_000, out_rate=16_000)
    for number in range(MAX_WAITING + 2):
        connection.tell({"type": str(number)})
    assert connection.dropped == 2
    assert (await got(connection, client))[0] == "2"
