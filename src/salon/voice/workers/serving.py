"""The worker's side of the pipe: read requests, speak one piece at a time, write replies.

An engine gives `Engine` and calls `serve`. The main thread synthesizes; a second thread reads
standard input, so that a cancel or the parent's end is noticed while the engine works.
Standard library only.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

from salon.voice.workers import frames
from salon.voice.workers.frames import Fields, FrameError

MAX_QUEUED: Final = 16
"""Requests that may wait; a parent that sends more breaks the protocol."""
GATHER_BYTES: Final = 8192
"""Sound is sent in frames of about this size, for each costs the parent time."""
EXIT_GRACE_S: Final = 1.0
"""How long the piece under way may take to notice that standard input has closed."""


class EngineUnavailableError(Exception):
    """The engine is not installed or does not load; the message says what to install."""


class RequestRefusedError(Exception):
    """The request cannot be fulfilled (an unknown voice); the engine is sound."""


@dataclass(frozen=True)
class Request:
    """One piece to speak: `speed` 0.5-2.0, 1 is normal; `volume` 0-10, 5 is normal."""

    id: str
    text: str
    voice: str | None
    language: str | None
    speed: float
    volume: float


class Sink(Protocol):
    """Where an engine puts what it makes. `audio` returns False if it should stop."""

    def audio(self, pcm: bytes) -> bool: ...

    def word(self, start_ms: int, end_ms: int, offset: int, length: int) -> None: ...

    def phoneme(self, ipa: str, start_ms: int, end_ms: int) -> None: ...


class Engine(Protocol):
    """What a worker speaks with. `hello` gives the fields of the hello frame."""

    def hello(self) -> Fields: ...

    def speak(self, request: Request, sink: Sink) -> None: ...


def _number(fields: Fields, name: str, normal: float, low: float, high: float) -> float:
    value = fields.get(name, normal)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise RequestRefusedError(f"{name} is not a number: {value!r}")
    return min(max(float(value), low), high)


def parse_request(fields: Fields) -> Request:
    """A speak frame's fields, numbers clamped to their range. `RequestRefusedError` if unusable."""
    text, voice, language = fields.get("text"), fields.get("voice"), fields.get("language")
    if not isinstance(text, str):
        raise RequestRefusedError("speak needs a text")
    if not isinstance(voice, str | None) or not isinstance(language, str | None):
        raise RequestRefusedError("voice and language are names or null")
    speed = _number(fields, "speed", 1.0, 0.5, 2.0)
    volume = _number(fields, "volume", 5.0, 0.0, 10.0)
    return Request(str(fields.get("id", "")), text, voice, language, speed, volume)


class Replies:
    """Writes frames to standard output; the `Sink` of the piece under way."""

    def __init__(self, out: BinaryIO, cancelled: Callable[[str], bool]) -> None:
        self.cancelled = False
        self._out = out
        self._gathered = bytearray()
        self._first = True
        self._is_cancelled = cancelled
        self._id = ""

    def begin(self, piece_id: str) -> None:
        """The following sound and times belong to this piece."""
        self._id = piece_id
        self._gathered.clear()
        self._first = True
        self.cancelled = self._is_cancelled(piece_id)

    def send(self, kind: int, fields: Fields) -> None:
        """One JSON frame."""
        self._out.write(frames.encode_fields(kind, fields))

    def audio(self, pcm: bytes) -> bool:
        """The first sound goes out at once, later sound gathered; False once cancelled."""
        if not self.cancelled and self._is_cancelled(self._id):
            self.cancelled = True
        if self.cancelled:
            return False
        self._gathered += pcm
        if self._gathered and (self._first or len(self._gathered) >= GATHER_BYTES):
            self._first = False
            self._send_sound()
        return True

    def _send_sound(self) -> None:
        for start in range(0, len(self._gathered), frames.MAX_PAYLOAD):
            part = bytes(self._gathered[start : start + frames.MAX_PAYLOAD])
            self._out.write(frames.encode(frames.AUDIO, part))
        self._gathered.clear()
        self._out.flush()

    def word(self, start_ms: int, end_ms: int, offset: int, length: int) -> None:
        """The time of one word."""
        times: dict[str, Any] = {"start_ms": start_ms, "end_ms": end_ms}
        self.send(frames.WORD, {"id": self._id, **times, "offset": offset, "length": length})

    def phoneme(self, ipa: str, start_ms: int, end_ms: int) -> None:
        """The time of one speech sound."""
        times: dict[str, Any] = {"start_ms": start_ms, "end_ms": end_ms}
        self.send(frames.PHONEME, {"id": self._id, "ipa": ipa, **times})

    def finish(self, kind: int, fields: Fields) -> None:
        """`done` or `error`, and out with it."""
        if not self.cancelled:
            self._send_sound()
        self.send(kind, {"id": self._id, **fields})
        self._out.flush()


class Requests:
    """Reads standard input in a thread of its own."""

    def __init__(self, source: BinaryIO, exit_now: Callable[[int], Any] = os._exit) -> None:
        self._source = source
        self._exit_now = exit_now
        self._waiting: queue.Queue[Fields | None] = queue.Queue(MAX_QUEUED)
        self._cancelled: set[str] = set()
        self._pending: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._finished = threading.Event()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def next(self) -> Fields | None:
        """The next piece to speak; None when the parent has gone."""
        return self._waiting.get()

    def is_cancelled(self, piece_id: str) -> bool:
        """Whether to stop work on this piece."""
        return self._closed.is_set() or piece_id in self._cancelled

    def finished(self, piece_id: str) -> None:
        """The piece has been answered; a late cancel for it is of no interest."""
        with self._lock:
            self._pending.discard(piece_id)
            self._cancelled.discard(piece_id)

    def stopped(self) -> None:
        """The main thread is leaving by itself."""
        self._finished.set()

    def _read(self) -> None:
        try:
            while (frame := self._frame()) is not None:
                self._take(*frame)
        except (FrameError, queue.Full) as error:
            print(f"bad request: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
        self._closed.set()
        try:
            self._waiting.put(None, timeout=EXIT_GRACE_S)
            left = self._finished.wait(EXIT_GRACE_S)
        except queue.Full:
            left = False
        if not left:
            self._exit_now(1)

    def _frame(self) -> tuple[int, Fields] | None:
        header = self._source.read(frames.HEADER.size)
        if len(header) < frames.HEADER.size:
            return None
        kind, size = frames.decode_header(header, frames.REQUESTS)
        payload = self._source.read(size)
        if len(payload) < size:
            return None
        return kind, frames.decode_fields(payload)

    def _take(self, kind: int, fields: Fields) -> None:
        piece_id = str(fields.get("id", ""))
        with self._lock:
            if kind == frames.SPEAK:
                self._pending.add(piece_id)
            elif piece_id in self._pending:
                self._cancelled.add(piece_id)
        if kind == frames.SPEAK:
            self._waiting.put_nowait(fields)


def _speak(engine: Engine, fields: Fields, replies: Replies) -> None:
    replies.begin(str(fields.get("id", "")))
    try:
        engine.speak(parse_request(fields), replies)
    except RequestRefusedError as error:
        replies.finish(frames.ERROR, {"code": frames.BAD_REQUEST, "message": str(error)})
    except (OSError, MemoryError):
        raise  # the pipe is gone: nobody to answer
    except Exception as error:  # noqa: BLE001 - a piece's outer edge: reported to the parent
        print(f"piece failed: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
        replies.finish(frames.ERROR, {"code": frames.ENGINE, "message": repr(error)[:200]})
    else:
        replies.finish(frames.DONE, {"cancelled": replies.cancelled})


def serve(load: Callable[[], Engine]) -> int:
    """Run a worker on standard input and output until input closes; gives the exit status.

    Whatever the engine's library prints to standard output goes to standard error instead.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=1 << 16)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = Requests(sys.stdin.buffer)
    replies = Replies(out, requests.is_cancelled)
    try:
        engine = load()
    except EngineUnavailableError as error:
        replies.finish(frames.ERROR, {"code": frames.CONFIGURATION, "message": str(error)})
        return 2
    try:
        replies.send(frames.HELLO, {"protocol": frames.PROTOCOL_VERSION, **engine.hello()})
        out.flush()
        requests.start()
        while (fields := requests.next()) is not None:
            _speak(engine, fields, replies)
            requests.finished(str(fields.get("id", "")))
    except BrokenPipeError:
        os._exit(1)  # a flush at exit would only fail again
    requests.stopped()
    return 0
