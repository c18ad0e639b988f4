"""Sound in JSON messages of a WebSocket: mu-law in base64, as FastRTC's and telephony's clients do.

    {"event": "media", "media": {"payload": "<base64>"}}

Messages for a telephone call carry its ``streamSid`` as well, and ``clear`` takes back what was
sent ahead.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

from salon.media.codec import TELEPHONE_RATE
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.g711 import decode_ulaw, encode_ulaw
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler
from salon.voice.backends.connection import Connection
from salon.voice.events import Dtmf
from salon.voice.leg import AudioLeg, Hear, Post

_log = logging.getLogger("salon.voice")

MAX_WAITING: Final = 250
"""Messages that wait for a client that does not read; the oldest sound makes room."""
SEND_TIMEOUT_S: Final = 10.0
"""A client that takes nothing for so long is gone."""
MAX_PAYLOAD: Final = 65_536
"""Characters or bytes of sound in one message."""


class JsonSocket(Protocol):
    """What is needed of a WebSocket (Starlette's has it)."""

    async def send_text(self, data: str) -> None: ...
    async def send_bytes(self, data: bytes) -> None: ...
    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...


class SocketLeg(AudioLeg):
    """Turns frames into messages and back; `put` takes each message for the client.

    The client's samples have `in_rate`, those for it `out_rate`. With `binary` it gets them as
    16-bit little-endian samples in binary messages; it may send such, too.
    """

    def __init__(
        self,
        put: Callable[[str | bytes], None],
        *,
        in_rate: int,
        out_rate: int,
        binary: bool = False,
        stream: str | None = None,
    ) -> None:
        self._put = put
        self._in = Resampler(in_rate, SAMPLE_RATE)
        self._out = Resampler(SAMPLE_RATE, out_rate)
        self._binary = binary
        self._head: dict[str, Any] = {"event": "media"}
        if stream is not None:
            self._head["streamSid"] = stream
        self._hear: Hear = _nothing
        self._post: Post = _nothing
        self._packets = 0

    def open(self, hear: Hear, post: Post) -> None:
        self._hear, self._post = hear, post

    def receive(self, payload: str) -> None:
        """Base64 of mu-law. `ValueError` if it is not, or too long."""
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a payload of {len(payload)} characters; {MAX_PAYLOAD} are allowed")
        try:
            data = base64.b64decode(payload, validate=True)
        except binascii.Error as error:
            raise ValueError(f"a payload is no base64: {error}") from None
        self._take(decode_ulaw(data))

    def receive_samples(self, data: bytes) -> None:
        """Signed 16-bit little-endian samples. `ValueError` if there are too many."""
        if len(data) > MAX_PAYLOAD:
            raise ValueError(f"a message of {len(data)} bytes; {MAX_PAYLOAD} are allowed")
        self._take(decode_pcm(data))

    def press(self, digit: str) -> None:
        """The client told of a key."""
        self._post(Dtmf(digit))

    def _take(self, samples: Samples) -> None:
        self._packets += 1
        if len(samples):
            self._hear(self._in.process(samples))

    def send(self, frame: Samples) -> None:
        samples = self._out.process(frame)
        if self._binary:
            self._put(samples.astype("<i2", copy=False).tobytes())
        else:
            payload = base64.b64encode(encode_ulaw(samples)).decode("ascii")
            self._put(json.dumps({**self._head, "media": {"payload": payload}}))

    def close(self) -> None:
        self._hear = self._post = self._put = _nothing

    @property
    def packets_in(self) -> int:
        return self._packets


class SocketConnection(Connection):
    """A WebSocket that has said who it is. `run` must be awaited beside the reading of it."""

    transport: ClassVar[str] = "websocket"
    lead: int = 10
    """200 ms: these clients play what comes, when it comes."""

    def __init__(
        self,
        socket: JsonSocket,
        *,
        in_rate: int,
        out_rate: int,
        binary: bool = False,
        stream: str | None = None,
    ) -> None:
        self.leg: SocketLeg = SocketLeg(
            self._put_sound, in_rate=in_rate, out_rate=out_rate, binary=binary, stream=stream
        )
        self._dropped = 0
        self._socket = socket
        self._stream = stream
        self._waiting: deque[tuple[bool, str | bytes]] = deque()
        """Whether it is sound, and the message."""
        self._more = asyncio.Event()
        self._closed = False
        self._lost: Callable[[], None] = _no_one

    @classmethod
    def telephone(cls, socket: JsonSocket, stream: str) -> SocketConnection:
        """Of a telephone call: 8 kHz both ways."""
        return cls(socket, in_rate=TELEPHONE_RATE, out_rate=TELEPHONE_RATE, stream=stream)

    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        self._lost = lost
        ready()

    def _put_sound(self, message: str | bytes) -> None:
        self._put(message, sound=True)

    def _put(self, message: str | bytes, *, sound: bool = False) -> None:
        if self._closed:
            return
        if len(self._waiting) >= MAX_WAITING:
            sounds = (at for at, (is_sound, _) in enumerate(self._waiting) if is_sound)
            del self._waiting[next(sounds, 0)]
            self._dropped += 1
        self._waiting.append((sound, message))
        self._more.set()

    @property
    def dropped(self) -> int:
        """Messages that gave way to newer ones."""
        return self._dropped

    @property
    def held(self) -> bool:
        return any(sound for sound, _ in self._waiting)

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message that is no sound."""
        self._put(json.dumps(message))

    def flush(self) -> None:
        self._waiting = deque(item for item in self._waiting if not item[0])
        if self._stream is not None:
            self.tell({"event": "clear", "streamSid": self._stream})

    async def run(self) -> None:
        """Write what waits, until `close` or until the client takes no more."""
        while not self._closed:
            await self._more.wait()
            self._more.clear()
            while self._waiting and not self._closed:
                _, message = self._waiting.popleft()
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    if isinstance(message, str):
                        await self._socket.send_text(message)
                    else:
                        await self._socket.send_bytes(message)

    def gone(self) -> None:
        """The client has left."""
        self._lost()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._lost = _no_one
        self._waiting.clear()
        self._more.set()


def _nothing(_item: object) -> None:
    """Takes the place of a callback that is let go of."""


def _no_one() -> None:
    """Nobody wants to know."""
