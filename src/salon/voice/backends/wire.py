"""Sound in binary messages of a WebSocket, control in JSON: the protocol of `websocket.py`."""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from salon.base import ConfigurationError, RemoteProtocolError
from salon.media.codec import TELEPHONE_RATE
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler
from salon.transport.sockets import MediaSocket
from salon.voice.backends.connection import Connection
from salon.voice.backends.socket_connection import JsonSocket
from salon.voice.events import Dtmf
from salon.voice.leg import AudioLeg, Hear, Post

_log = logging.getLogger("salon.voice")

CODECS: Final = ("pcm_s16le", "mulaw", "alaw")
MAX_MESSAGE: Final = 65_536
"""Bytes of one message from a client."""
SLOW: Final = "slow_reader"
_KEYS: Final = frozenset("0123456789*#ABCD")
_MAX_NAME: Final = 256
_DECODE: Final[dict[str, Callable[[bytes], Samples]]] = {
    "pcm_s16le": decode_pcm,
    "mulaw": decode_ulaw,
    "alaw": decode_alaw,
}
_ENCODE: Final[dict[str, Callable[[Samples], bytes]]] = {
    "pcm_s16le": lambda samples: samples.astype("<i2", copy=False).tobytes(),
    "mulaw": encode_ulaw,
    "alaw": encode_alaw,
}


@dataclass(frozen=True, slots=True)
class WireFormat:
    """`codec` both ways, `sample_rate` Hz from the client, `output_sample_rate` to it; mono.

    `ConfigurationError` for what is not spoken: a codec that is none of `CODECS`, rates outside
    8000 to 48000 Hz, telephone codecs at another rate than 8000 Hz.
    """

    codec: str = "pcm_s16le"
    sample_rate: int = SAMPLE_RATE
    output_sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ConfigurationError(f"codec is {self.codec!r}; there are {', '.join(CODECS)}")
        for rate in (self.sample_rate, self.output_sample_rate):
            if not isinstance(rate, int) or not 8_000 <= rate <= 48_000:
                raise ConfigurationError(f"a rate is {rate!r}, not 8000 to 48000 Hz")
            if self.codec != "pcm_s16le" and rate != TELEPHONE_RATE:
                raise ConfigurationError(f"{self.codec} has 8000 Hz, not {rate}")

    @classmethod
    def of_message(cls, message: dict[str, Any], default: WireFormat) -> WireFormat:
        """What a ``start`` message asks for; errors as for the fields."""
        codec = message.get("codec", default.codec)
        usual = default.sample_rate if codec == default.codec else SAMPLE_RATE
        if codec in ("mulaw", "alaw"):
            usual = TELEPHONE_RATE
        rate = message.get("sample_rate", usual)
        return cls(str(codec), rate, message.get("output_sample_rate", rate))


class Sink(ABC):
    """Where messages for the client go, bounded."""

    dropped: int = 0
    """Pieces of sound that a slow client never got."""

    @abstractmethod
    def text(self, data: str) -> None:
        """Send a message of control."""

    @abstractmethod
    def sound(self, data: bytes) -> None:
        """Send sound; the oldest that waits gives way."""

    @abstractmethod
    def clear(self) -> None:
        """Send no sound of what waits."""

    @property
    def held(self) -> bool:
        """Whether sound waits here."""
        return False

    @abstractmethod
    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send what waits, then close; bounded in time, idempotent."""


class MediaSink(Sink):
    """A socket of our own server, which bounds what waits and closes on slow clients itself."""

    def __init__(self, socket: MediaSocket) -> None:
        self._socket = socket
        socket.overflow_notice = lambda: json.dumps({"type": "error", "reason": SLOW})

    @property
    def dropped(self) -> int:  # type: ignore[override]
        return self._socket.dropped_audio

    def text(self, data: str) -> None:
        self._socket.send_text(data)

    def sound(self, data: bytes) -> None:
        self._socket.send_binary(data)

    def clear(self) -> None:
        """What waits in the kernel is out of reach; the client drops it."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self._socket.close(code, reason)


class QueueSink(Sink):
    """A WebSocket of Starlette or FastAPI. `run` writes; at most `max_waiting` messages wait.

    A client that takes nothing for `send_timeout` seconds is slow: `run` ends with True.
    """

    def __init__(self, socket: JsonSocket, *, max_waiting: int, send_timeout: float) -> None:
        self._socket = socket
        self._max = max_waiting
        self._timeout = send_timeout
        self._waiting: deque[str | bytes] = deque()
        self._more = asyncio.Event()
        self._closing = False
        self._ended = asyncio.Event()
        self._overflown = False

    def text(self, data: str) -> None:
        if sum(isinstance(item, str) for item in self._waiting) >= self._max:
            self._overflown = True  # control is never thrown away: the client is
            self._more.set()
            return
        self._put(data)

    def sound(self, data: bytes) -> None:
        if len(self._waiting) >= self._max:
            oldest = next((item for item in self._waiting if isinstance(item, bytes)), None)
            if oldest is None:
                self.dropped += 1
                return
            self._waiting.remove(oldest)
            self.dropped += 1
        self._put(data)

    def _put(self, message: str | bytes) -> None:
        if not self._closing:
            self._waiting.append(message)
            self._more.set()

    def clear(self) -> None:
        self._waiting = deque(item for item in self._waiting if isinstance(item, str))

    @property
    def held(self) -> bool:
        return any(isinstance(item, bytes) for item in self._waiting)

    async def run(self) -> bool:
        """Write what waits until `close`; True if the client was too slow."""
        try:
            while not self._overflown:
                while self._waiting and not self._overflown:
                    message = self._waiting.popleft()
                    async with asyncio.timeout(self._timeout):
                        if isinstance(message, str):
                            await self._socket.send_text(message)
                        else:
                            await self._socket.send_bytes(message)
                if self._closing:
                    return False
                self._more.clear()
                await self._more.wait()
        except TimeoutError:
            return True
        except Exception as error:  # noqa: BLE001 - whatever a server raises for a client that left
            _log.debug("a voice client could not be written to: %s", error)
            return False
        else:
            return True
        finally:
            self._waiting.clear()
            self._ended.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if not self._closing:
            self._closing = True
            self._more.set()
            try:
                async with asyncio.timeout(self._timeout):
                    await self._ended.wait()
            except TimeoutError:
                _log.debug("a voice client took no more before its end")


class WireLeg(AudioLeg):
    """Frames to messages and back, in the format the client asked for."""

    def __init__(self, sink: Sink, wire: WireFormat) -> None:
        self._sink: Sink | None = sink
        self._decode, self._encode = _DECODE[wire.codec], _ENCODE[wire.codec]
        self._in = Resampler(wire.sample_rate, SAMPLE_RATE)
        self._out = Resampler(SAMPLE_RATE, wire.output_sample_rate)
        self._width = 2 if wire.codec == "pcm_s16le" else 1
        self._hear: Hear = _nothing
        self.post: Post = _nothing
        self._packets = 0

    def open(self, hear: Hear, post: Post) -> None:
        self._hear, self.post = hear, post

    def receive(self, data: bytes) -> None:
        """One message. `RemoteProtocolError` if it holds no whole samples, or too many."""
        if len(data) > MAX_MESSAGE or len(data) % self._width:
            raise RemoteProtocolError(f"a message of {len(data)} bytes is no sound")
        self._packets += 1
        if data:
            self._hear(self._in.process(self._decode(data)))

    def send(self, frame: Samples) -> None:
        if self._sink is not None:
            self._sink.sound(self._encode(self._out.process(frame)))

    def close(self) -> None:
        self._sink = None
        self._hear = self.post = _nothing

    @property
    def packets_in(self) -> int:
        return self._packets


class WireConnection(Connection):
    """A client that has said what it speaks."""

    transport: ClassVar[str] = "websocket"
    lead: int = 3
    """60 ms ahead of time, against the unevenness of TCP."""

    def __init__(self, sink: Sink, wire: WireFormat) -> None:
        self.leg: WireLeg = WireLeg(sink, wire)
        self.sink = sink
        self.wire = wire
        self.on_mark: Callable[[str], None] = _nothing
        """Told of each mark that the client has reached."""
        self.closing = 1000, ""
        """With what the socket is closed."""
        self._lost: Callable[[], None] = _no_one

    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        self._lost = lost
        ready()

    def tell(self, kind: str, **fields: Any) -> None:
        """A message of control, after what was sent before."""
        self.sink.text(json.dumps({"type": kind, **fields}))

    def told(self, text: str) -> None:
        """A message of control came. `RemoteProtocolError` if it is to no rule."""
        message = parse(text)
        kind = message["type"]
        if kind == "dtmf":
            digit = message.get("digit")
            if not isinstance(digit, str) or digit not in _KEYS:
                raise RemoteProtocolError("a key is one of 0-9 * # A-D")
            self.leg.post(Dtmf(digit))
        elif kind == "mark":
            name = message.get("name")
            if not isinstance(name, str) or len(name) > _MAX_NAME:
                raise RemoteProtocolError("a mark has a short name")
            self.on_mark(name)
        elif kind == "bye":
            self.gone()
        elif kind != "ping":  # unknown ones belong to a later version of the protocol
            _log.debug("a voice client sent %r", kind[:40])

    def gone(self) -> None:
        """The client has left."""
        self._lost()

    @property
    def dropped(self) -> int:
        return self.sink.dropped

    @property
    def held(self) -> bool:
        return self.sink.held

    def flush(self) -> None:
        self.sink.clear()
        self.tell("clear")

    async def close(self) -> None:
        self._lost = _no_one
        self.on_mark = _nothing
        code, reason = self.closing
        await self.sink.close(code, reason)


def parse(text: str) -> dict[str, Any]:
    """A message with its ``type``. `RemoteProtocolError` for anything else."""
    if len(text) > MAX_MESSAGE:
        raise RemoteProtocolError(f"a message of {len(text)} characters is too long")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise RemoteProtocolError("a message is no JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise RemoteProtocolError("a message is an object with a type")
    return message


def _nothing(_item: object) -> None:
    """Takes the place of a callback that is let go of."""


def _no_one() -> None:
    """Nobody wants to know."""
