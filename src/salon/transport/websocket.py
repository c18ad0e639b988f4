"""Our own WebSocket carrier for media: RFC 6455, server side, one object per connection.

No task, queue or framework message exists per frame: `data_received` parses, unmasks and calls the
handler; `send_binary` writes. Not spoken: extensions (no permessage-deflate) and subprotocols.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from salon.transport.masking import apply_mask
from salon.transport.outbox import Outbox
from salon.transport.sockets import MediaSocket, SocketHandler

logger = logging.getLogger("salon.transport")

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
NO_STATUS = 1005
ABNORMAL = 1006
INVALID_TEXT = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Every bound of one connection. Sizes in bytes, times in seconds; None = not bounded.

    `max_binary` allows two seconds of 16 kHz audio in one message. `write_buffer` is what may lie
    in the transport and, where the system can say so, unsent in the kernel before frames wait in
    the queues of `max_events` text and `max_audio` binary frames. A Ping (the owner's affair, G18)
    that is followed by no byte at all from the peer for `pong_timeout` ends the connection.
    """

    max_text: int = 1 << 20
    max_binary: int = 64 * 1024
    max_events: int = 1024
    max_audio: int = 50
    write_buffer: int = 32 * 1024
    close_timeout: float = 2.0
    pong_timeout: float | None = 30.0


@dataclass(frozen=True, slots=True)
class SocketStatistics:
    """What one connection holds and lost."""

    waiting_events: int
    waiting_audio: int
    dropped_audio: int
    writable: bool


class _Failure(Exception):
    """The peer broke the protocol; ends the connection with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


_AUDIO_HEADERS = {size: _frame(_BINARY, bytes(size))[: -size or None] for size in (160, 320, 640)}
"""Headers of the frame sizes that leave fifty times a second."""


class FrameSocket(asyncio.Protocol, MediaSocket):
    """One upgraded connection: an `asyncio.Protocol` below, a `MediaSocket` above.

    Make it after the 101 answer was written, then call `connection_made`. `registry` is the set a
    server keeps of its open connections (uvicorn's ``server_state.connections``).
    """

    def __init__(
        self,
        handler: SocketHandler,
        limits: SocketLimits | None = None,
        *,
        registry: set[Any] | None = None,
        shutdown_grace: float = 0.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._handler: SocketHandler | None = handler
        self._on_binary = handler.binary
        self._limits = limits or SocketLimits()
        self._max_binary = self._limits.max_binary
        self._registry = registry if registry is not None else set()
        self._grace = shutdown_grace
        self._loop = loop or asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._write: Callable[[bytes], None] = _discard
        self._outbox = Outbox(self._limits.max_events, self._limits.max_audio)
        self._pong: bytes | None = None

        self._reading = False  # the connection is open for data of the peer
        self._sending = False  # no Close was asked for
        self._paused = False  # the transport holds all it may
        self._waiting = False  # frames have to go through the outbox
        self._heard = True
        self._close_frame: bytes | None = None
        self._close_sent = False
        self._peer_closed = False
        self._code = ABNORMAL
        self._reason = ""

        self._rest = bytearray()
        self._need = 0
        self._message: bytearray | None = None
        self._message_opcode = _CONTINUATION

        self._close_timer: asyncio.TimerHandle | None = None
        self._pong_timer: asyncio.TimerHandle | None = None
        self._grace_timer: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        handler = self._handler
        if handler is None:
            raise RuntimeError("a FrameSocket serves one connection")
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write
        self._registry.add(self)
        self._reading = self._sending = True
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer)
        _tune(transport.get_extra_info("socket"), self._limits.write_buffer)
        try:
            handler.connected(self)
        except Exception:  # noqa: BLE001 - the outer edge of a connection; logged there
            self._handler_failed()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            if self._need:
                self._rest += data
                if len(self._rest) < self._need:
                    return
                data = bytes(self._rest)
                self._rest.clear()
                self._need = 0
            # The one shape that comes fifty times a second: a single masked binary frame of
            # 126..65535 bytes that fills the read.
            elif (
                data[0] == 0x82
                and len(data) >= 134
                and data[1] == 0xFE
                and len(data) - 8 == data[2] << 8 | data[3] <= self._max_binary
                and self._message is None
                and self._sending
            ):
                self._on_binary(apply_mask(data[8:], data[4:8]))
                return
            self._parse(data)
        except _Failure as failure:
            self._fail(failure.code, failure.reason)
        except Exception:  # noqa: BLE001 - the outer edge of a connection; logged there
            self._handler_failed()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._paused = self._waiting = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._write(pong)
        outbox = self._outbox
        while outbox and not self._paused:
            self._write(outbox.pop()[1])
        if self._paused:
            return
        self._waiting = False
        if self._close_frame is not None:
            self._write_close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        if self._reading:  # neither a Close of the peer nor a failure of ours
            self._code = ABNORMAL
        self._reading = self._sending = False
        self._write = _discard
        self._registry.discard(self)
        for timer in (self._close_timer, self._pong_timer, self._grace_timer):
            if timer is not None:
                timer.cancel()
        self._outbox.clear()
        self._rest.clear()
        self._message = None
        # Handlers keep their socket: one that kept them too would hold what belongs to the
        # connection until the cyclic collector comes, and that would stop everybody for it.
        handler, self._handler, self._on_binary = self._handler, None, _discard
        if handler is None:
            return
        try:
            handler.closed(self._code, self._reason)
        except Exception:
            logger.exception("a socket handler failed in closed()")

    def shutdown(self) -> None:
        """The server stops: close with 1001 (G21), after the grace given at creation."""
        if self._grace > 0 and self._grace_timer is None:
            self._grace_timer = self._loop.call_later(self._grace, self.close, GOING_AWAY)
        else:
            self.close(GOING_AWAY)

    # -- MediaSocket --------------------------------------------------------------------------

    @property
    def dropped_audio(self) -> int:  # type: ignore[override]
        """Binary frames dropped because the peer reads too slowly (G119)."""
        return self._outbox.dropped_audio

    def send_text(self, data: str) -> None:
        if not self._sending:
            return
        frame = _frame(_TEXT, data.encode())
        if not self._waiting:
            self._write(frame)
        elif not self._outbox.put_text(frame):
            if self.overflow_notice is not None:
                self._write(_frame(_TEXT, self.overflow_notice().encode()))
            self._fail(POLICY_VIOLATION, "the client does not read its events")

    def send_binary(self, data: bytes) -> None:
        if not self._sending:
            return
        header = _AUDIO_HEADERS.get(len(data))
        frame = header + data if header else _frame(_BINARY, data)
        if self._waiting:
            self._outbox.put_audio(frame)
        else:
            self._write(frame)

    def ping(self, payload: bytes) -> None:
        if len(payload) > 125:
            raise ValueError("a Ping carries at most 125 bytes")
        if not self._sending:
            return
        if not self._paused:
            self._write(_frame(_PING, payload))
        if self._limits.pong_timeout is not None and self._pong_timer is None:
            self._heard = False
            self._pong_timer = self._loop.call_later(
                self._limits.pong_timeout, self._pong_is_overdue
            )

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        if not self._sending:
            return
        self._sending = False
        self._code, self._reason = code, reason
        text = reason.encode()[:123].decode(errors="ignore").encode()
        self._close_frame = _frame(_CLOSE, code.to_bytes(2, "big") + text)
        self._start_close_timer()
        if not self._waiting:
            self._write_close()

    def statistics(self) -> SocketStatistics:
        """What waits and what was lost."""
        return SocketStatistics(
            self._outbox.waiting_text,
            self._outbox.waiting_audio,
            self._outbox.dropped_audio,
            not self._paused,
        )

    # -- parsing ------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        """Take whole frames from `data`; keep what is left and how much is needed to go on."""
        position, size = 0, len(data)
        while self._reading:
            left = size - position
            if left < 2:
                need = 2
                break
            first, second = data[position], data[position + 1]
            start, length = position + 6, second & 0x7F
            if length == 126:
                if left < 4:
                    need = 4
                    break
                start, length = position + 8, data[position + 2] << 8 | data[position + 3]
            elif length == 127:
                if left < 10:
                    need = 10
                    break
                start = position + 14
                length = int.from_bytes(data[position + 2 : position + 10], "big")
            self._check(first, second, length)
            end = start + length
            if end > size:
                need = end - position
                break
            payload = apply_mask(data[start:end], data[start - 4 : start])
            position = end
            if first == 0x80 | _BINARY:
                if self._sending:
                    self._on_binary(payload)
            else:
                self._take(first, payload)
        else:
            return
        self._rest += data[position:]
        self._need = need if left else 0

    def _check(self, first: int, second: int, length: int) -> None:
        """RFC 6455 section 5.2, before the payload is waited for."""
        opcode = first & 0x0F
        if first & 0x70:
            raise _Failure(PROTOCOL_ERROR, "reserved bits set")
        if not second & 0x80:
            raise _Failure(PROTOCOL_ERROR, "frame not masked")
        if opcode >= _CLOSE:
            if opcode > _PONG:
                raise _Failure(PROTOCOL_ERROR, "unknown opcode")
            if not first & 0x80 or second & 0x7F > 125:
                raise _Failure(PROTOCOL_ERROR, "control frame fragmented or too long")
            return
        coded = second & 0x7F
        if (coded == 126 and length < 126) or (coded == 127 and length < 65536):
            raise _Failure(PROTOCOL_ERROR, "length not in its shortest form")
        if opcode == _CONTINUATION:
            if self._message is None:
                raise _Failure(PROTOCOL_ERROR, "continuation without a start")
            opcode = self._message_opcode
            length += len(self._message)
        elif opcode > _BINARY:
            raise _Failure(PROTOCOL_ERROR, "unknown opcode")
        elif self._message is not None:
            raise _Failure(PROTOCOL_ERROR, "new message inside a fragmented one")
        if length > (self._limits.max_text if opcode == _TEXT else self._max_binary):
            raise _Failure(TOO_BIG, "message too big")

    def _take(self, first: int, payload: bytes) -> None:
        """Any frame but a whole binary message."""
        opcode = first & 0x0F
        if opcode >= _CLOSE:
            self._control(opcode, payload)
            return
        if opcode != _CONTINUATION:
            if first & 0x80:
                self._deliver(opcode, payload)
                return
            self._message_opcode = opcode
            self._message = bytearray(payload)
            return
        message = self._message
        if message is None:  # refused by _check
            return
        message += payload
        if first & 0x80:
            self._message = None
            self._deliver(self._message_opcode, bytes(message))

    def _deliver(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                raise _Failure(INVALID_TEXT, "text is not UTF-8") from None
            if self._sending and self._handler is not None:
                self._handler.text(text)
        elif self._sending:
            self._on_binary(payload)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            pong = _frame(_PONG, payload)
            if self._paused:
                self._pong = pong  # only the newest Ping wants an answer (5.5.3)
            elif not self._close_sent:
                self._write(pong)
        elif opcode == _CLOSE:
            self._peer_close(payload)

    # -- closing ------------------------------------------------------------------------------

    def _peer_close(self, payload: bytes) -> None:
        code, reason = _parse_close(payload)
        self._reading = False
        self._peer_closed = True
        if self._sending:
            self._sending = False
            self._code, self._reason = code, reason
            self._outbox.clear()
            self._close_frame = _frame(_CLOSE, payload[:2])
        self._start_close_timer()
        if not self._waiting or not self._outbox:
            self._write_close()

    def _write_close(self) -> None:
        if not self._close_sent and self._close_frame is not None:
            self._close_sent = True
            self._write(self._close_frame)
        if self._peer_closed and self._transport is not None:
            self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """Send Close (nothing else that waits) and drop the connection (RFC 6455 section 7.1.7)."""
        if not self._reading:
            return
        self._reading = self._sending = False
        self._code, self._reason = code, reason
        self._outbox.clear()
        if not self._close_sent:
            self._close_sent = True
            self._write(_frame(_CLOSE, code.to_bytes(2, "big") + reason.encode()))
        self._start_close_timer()
        if self._transport is not None:
            self._transport.close()

    def _handler_failed(self) -> None:
        logger.exception("a socket handler failed; its connection is closed")
        self._fail(INTERNAL_ERROR, "internal error")

    def _start_close_timer(self) -> None:
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(
                self._limits.close_timeout, self._close_is_overdue
            )

    def _close_is_overdue(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _pong_is_overdue(self) -> None:
        self._pong_timer = None
        if self._heard or self._transport is None or not self._reading:
            return
        self._reading = self._sending = False
        self._code, self._reason = ABNORMAL, "the peer answers no Ping"
        self._transport.abort()


def _discard(data: bytes) -> None:
    """Stands in for the transport, and for the handler, before and after their lives."""


def _parse_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a Close frame (RFC 6455 section 7.4)."""
    if not payload:
        return NO_STATUS, ""
    if len(payload) == 1:
        raise _Failure(PROTOCOL_ERROR, "close frame of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise _Failure(PROTOCOL_ERROR, "invalid close code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise _Failure(INVALID_TEXT, "close reason is not UTF-8") from None


def _tune(connection: Any, write_buffer: int) -> None:
    """No Nagle delay; and the kernel takes no seconds of unsent audio from us."""
    if connection is None or connection.family not in {sockets.AF_INET, sockets.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # the peer may be gone already
        connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        if hasattr(sockets, "TCP_NOTSENT_LOWAT"):
            connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, write_buffer)
