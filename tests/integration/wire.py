"""A call placed with nothing but a WebSocket library: what any client of the protocol sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from salon.media import FRAME_SAMPLES, Samples, make_codec

FRAME_S = 0.02
TIMEOUT_S = 45.0
"""How long anything may take: a busy machine is slow, and what is broken fails all the same."""
JITTER_S = 0.1
"""What may be made up for at once: five frames."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One binary frame and when it came, seconds on the loop's clock."""

    at: float
    data: bytes


class WireCall:
    """One call. `events` and `audio` hold what came, in order; `order` both, by name."""

    def __init__(self, socket: ClientConnection, codec: str = "pcm") -> None:
        self.socket = socket
        self.codec = codec
        self.events: list[dict[str, Any]] = []
        self.audio: list[Packet] = []
        self.order: list[str] = []
        self.stalled = 0.0
        """The longest this client's own loop was late, seconds."""
        self._changed = asyncio.Event()
        self._seen = 0
        self._talking = make_codec(codec)
        self._hearing = make_codec(codec)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionClosed):
            async for data in self.socket:
                if isinstance(data, bytes):
                    self.audio.append(Packet(loop.time(), data))
                    if self.order[-1:] != ["audio"]:
                        self.order.append("audio")
                else:
                    event = json.loads(data)
                    self.events.append(event)
                    self.order.append(event["event"])
                self._changed.set()
        self._changed.set()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            self.stalled = max(self.stalled, loop.time() - due)

    async def send(self, command: str, /, **fields: Any) -> None:
        """One command."""
        await self.socket.send(json.dumps({"command": command, **fields}))

    async def invite(self, **option: Any) -> dict[str, Any]:
        """`invite` with these options and the call's codec; the `answer`."""
        await self.send("invite", option={"codec": self.codec, **option})
        return await self.expect("answer")

    async def talk(self, samples: Samples) -> None:
        """Say ``int16[n]`` 16 kHz in frames of 20 ms at their pace."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        frames = -(-len(samples) // FRAME_SAMPLES)
        padded = np.zeros(frames * FRAME_SAMPLES, dtype=np.int16)
        padded[: len(samples)] = samples
        for number, frame in enumerate(padded.reshape(-1, FRAME_SAMPLES), 1):
            await self.socket.send(self._talking.encode(frame))
            await asyncio.sleep(max(0.0, began + number * FRAME_S - loop.time()))

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Send silence, as a microphone does, for the length of a ``with``."""

        async def hush() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.talk(np.zeros(10 * FRAME_SAMPLES, dtype=np.int16))

        task = asyncio.create_task(hush())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def expect(
        self, name: str, *, timeout: float = TIMEOUT_S, **fields: Any
    ) -> dict[str, Any]:
        """The next event with this name and these fields; `AssertionError` if it does not come."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while self._seen < len(self.events):
                        event = self.events[self._seen]
                        self._seen += 1
                        if event["event"] == name and fields.items() <= event.items():
                            return event
                    await self._wait()
        except (TimeoutError, EOFError) as error:
            raise AssertionError(f"no {name} {fields}: {error!r}; {self.events[-12:]}") from None

    async def heard(self, packets: int, *, timeout: float = TIMEOUT_S) -> None:
        """Wait until this many binary frames came in all."""
        async with asyncio.timeout(timeout):
            while len(self.audio) < packets:
                await self._wait()

    async def _wait(self) -> None:
        self._changed.clear()
        if self._tasks and self._tasks[0].done():
            raise EOFError(f"closed {self.socket.close_code} {self.socket.close_reason}")
        await self._changed.wait()

    async def closed(self, *, timeout: float = TIMEOUT_S) -> int | None:
        """Wait for the end of the connection; its close code."""
        await asyncio.wait_for(self.socket.wait_closed(), timeout)
        await asyncio.wait_for(asyncio.shield(self._tasks[0]), timeout)
        return self.socket.close_code

    def of(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The events so far with this name and these fields."""
        return [e for e in self.events if e["event"] == name and fields.items() <= e.items()]

    @property
    def names(self) -> list[str]:
        """Names of the events so far."""
        return [event["event"] for event in self.events]

    def sound(self, since: int = 0) -> Samples:
        """What was heard from binary frame `since` on, ``int16[n]`` 16 kHz."""
        parts = [self._hearing.decode(packet.data) for packet in self.audio[since:]]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)

    def assert_paced(self, since: int = 0, *, jitter: float = JITTER_S) -> float:
        """Frames come every 20 ms and none in a burst; the median interval in ms.

        `jitter` seconds may be made up for at once. Frames that this client itself took late
        from its socket are forgiven."""
        at = np.array([packet.at for packet in self.audio[since:]])
        assert len(at) > 20, f"only {len(at)} frames"
        median = statistics.median(np.diff(at)) * 1000
        assert 18 <= median <= 25, f"median interval {median:.1f} ms"
        late = at - np.arange(len(at)) * FRAME_S
        made_up = float(np.max(np.maximum.accumulate(late) - late))
        allowed = jitter + self.stalled
        assert made_up <= allowed, f"{made_up * 1000:.0f} ms came in a burst"
        return float(median)


@contextlib.asynccontextmanager
async def placed(
    ws_url: str,
    path: str = "/ws",
    *,
    codec: str = "pcm",
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[WireCall]:
    """A call to `ws_url`; closed at the end of the ``with``."""
    socket = await connect(
        ws_url + path, additional_headers=headers, compression=None, max_queue=None
    )
    async with WireCall(socket, codec) as call:
        yield call
