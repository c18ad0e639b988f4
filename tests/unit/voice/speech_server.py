"""A small HTTP server that speaks `/audio/speech`: a tone at 24 kHz, 20 ms per character."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from salon.media import sine, wav_bytes

CHARACTER_S = 0.02


class SpeechServer:
    """Records requests; `mode` says how to answer."""

    def __init__(self) -> None:
        self.mode = "good"
        self.requests: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.broken_off = asyncio.Event()
        self.port = 0
        self.kind = ""
        """Content type of the answer."""
        self.body: bytes | None = None
        """What to answer in place of a tone."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.broken_off.set()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = next(
            int(line.split(":")[1])
            for line in head.splitlines()
            if line.lower().startswith("content-length")
        )
        body = json.loads(await reader.readexactly(size))
        self.headers.append(head)
        self.requests.append(body)
        if self.mode == "refuse":
            said = b'{"error": "Incorrect API key provided: sk-abcdefghijklmnopqrstuvwxyz123456"}'
            writer.write(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
            await writer.drain()
            return
        if self.mode == "silent":
            await reader.read()
            return
        kind = f"Content-Type: {self.kind}\r\n" if self.kind else ""
        if self.mode == "packed":
            kind += "Content-Encoding: gzip\r\n"
        writer.write(f"HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\n\r\n".encode())
        samples = sine(440, len(body["input"]) * CHARACTER_S / body["speed"], sample_rate=24_000)
        sound = samples.astype("<i2").tobytes()
        if self.mode == "wav":
            sound = wav_bytes(samples, 24_000)
        if self.body is not None:
            sound = self.body
        if self.mode == "endless":
            while True:
                await self._chunk(writer, sound)
        for start in range(0, len(sound), 4001):  # odd: samples are cut in the middle
            await self._chunk(writer, sound[start : start + 4001])
            if self.mode == "break":
                return
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n" % len(data) + data + b"\r\n")
        await writer.drain()


@asynccontextmanager
async def speech_server() -> AsyncIterator[SpeechServer]:
    server = SpeechServer()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
