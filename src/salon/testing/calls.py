"""A call without a network: the client's side in the test's hands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from salon.gateway.commands import Command
from salon.media import make_codec
from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing.sockets import MemorySocket, Received
from salon.transport.sockets import Acceptor, Refusal, UpgradeRequest

TIMEOUT_S: Final = 60.0
"""Virtual seconds an expected event may take."""
FRAME_S: Final = 0.02


class CallRefusedError(Exception):
    """The upgrade was answered with plain HTTP; `refusal` holds status, text and headers."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(f"{refusal.status} {refusal.message}")


class CallPair:
    """A client and its call, joined in memory; made by `connect`.

    `events` are the text frames as JSON, `audio` the binary frames with their times of arrival,
    both in order. Nothing is delayed: what one side sends the other has in the same instant.
    """

    def __init__(self, handler: Any, *, codec: str = "pcm") -> None:
        self.events: list[dict[str, Any]] = []
        self.times: list[float] = []
        """When each event arrived, seconds on the loop's clock."""
        self.audio: list[Received] = []
        self.order: list[str] = []
        """Names of events, and ``"audio"`` for the first binary frame of each run."""
        self.frames_sent = 0
        self._codec = make_codec(codec)
        self._seen = 0
        self._changed = asyncio.Event()
        self._handler = handler
        self.socket = MemorySocket(handler, self._received)
        handler.connected(self.socket)

    @classmethod
    def connect(
        cls,
        acceptor: Acceptor,
        url: str = "/ws",
        *,
        headers: Mapping[str, str] | None = None,
        codec: str = "pcm",
    ) -> CallPair:
        """Ask for a call as a client would: ``"/ws?handler=room&room=kitchen"``.

        `codec` is how sound is sent and decoded here; name the same one in `invite`. Raises
        `CallRefusedError`; `LookupError` if the path is not the gateway's.
        """
        parts = urlsplit(url)
        query: dict[str, str] = {}
        for key, value in parse_qsl(parts.query, keep_blank_values=True):
            query.setdefault(key, value)
        answer = acceptor(UpgradeRequest(parts.path, query, headers or {}, ("127.0.0.1", 50000)))
        if answer is None:
            raise LookupError(f"no call is to be had at {parts.path}")
        if isinstance(answer, Refusal):
            raise CallRefusedError(answer)
        return cls(answer, codec=codec)

    # -- what the client sends --------------------------------------------------------------------

    def send(self, command: Command | Mapping[str, Any] | str) -> None:
        """One text frame: a command, JSON data, or any text as it is."""
        if isinstance(command, Command):
            command = command.to_json()
        elif not isinstance(command, str):
            command = json.dumps(command)
        if not self.socket.gone.is_set():
            self._handler.text(command)

    def send_bytes(self, payload: bytes) -> None:
        """One binary frame, at once."""
        if not self.socket.gone.is_set():
            self.frames_sent += 1
            self._handler.binary(payload)

    async def send_audio(self, samples: Samples) -> None:
        """Talk: ``int16[n]`` 16 kHz in frames of 20 ms at their pace, the last one padded. Returns
        when the last frame is over."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        frames = -(-len(samples) // FRAME_SAMPLES)
        padded = np.zeros(frames * FRAME_SAMPLES, dtype=np.int16)
        padded[: len(samples)] = samples
        for number, frame in enumerate(padded.reshape(-1, FRAME_SAMPLES), 1):
            self.send_bytes(self._codec.encode(frame))
            await asyncio.sleep(max(0.0, began + number * FRAME_S - loop.time()))

    async def invite(self, *, timeout: float = TIMEOUT_S, **option: Any) -> dict[str, Any]:
        """Send `invite` with these options (JSON names) and wait for the `answer`."""
        self.send({"command": "invite", "option": option})
        return await self.expect("answer", timeout=timeout)

    def close(self, code: int = 1000) -> None:
        """The client says goodbye with a Close frame."""
        self.socket.end(code, "")

    def vanish(self) -> None:
        """The client is gone without a word."""
        self.socket.end(1006, "")

    # -- what the client gets ---------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Names of the events so far."""
        return [event["event"] for event in self.events]

    def of(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The events so far with this name and these fields."""
        return [event for event in self.events if _matches(event, name, fields)]

    @property
    def sound(self) -> Samples:
        """Everything heard so far, decoded, ``int16[n]`` 16 kHz."""
        parts = [self._codec.decode(bytes(frame.data)) for frame in self.audio]  # type: ignore[arg-type]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)

    async def expect(
        self, name: str, *, timeout: float = TIMEOUT_S, **fields: Any
    ) -> dict[str, Any]:
        """Wait for the next event with this name and these fields; events before it are passed
        over (they stay in `events`). `AssertionError` with the events seen if it does not come."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while self._seen < len(self.events):
                        event = self.events[self._seen]
                        self._seen += 1
                        if _matches(event, name, fields):
                            return event
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = self.names[-20:]
            raise AssertionError(f"no {name} {fields or ''} in {timeout} s after {seen}") from None

    async def closed(self, *, timeout: float = TIMEOUT_S) -> int | None:
        """Wait for the end of the connection; the server's Close code, None if it sent none."""
        async with asyncio.timeout(timeout):
            await self.socket.gone.wait()
        return self.socket.code

    def _received(self, frame: Received) -> None:
        if isinstance(frame.data, str):
            event = json.loads(frame.data)
            self.events.append(event)
            self.times.append(frame.at)
            self.order.append(event["event"])
        else:
            self.audio.append(frame)
            if not self.order or self.order[-1] != "audio":
                self.order.append("audio")
        self._changed.set()


def _matches(event: Mapping[str, Any], name: str, fields: Mapping[str, Any]) -> bool:
    return event["event"] == name and all(event.get(key) == fields[key] for key in fields)
