"""Voice over a WebSocket, for programs and pages without WebRTC.

Binary messages are sound, of any length from the client and 20 ms each to it: signed 16-bit
little-endian samples, 16 kHz, mono, unless the first message says otherwise. Text messages are JSON
objects with a ``type``.

From the client: ``start`` (``codec``, ``sample_rate``, ``output_sample_rate``; only as the first
message, and optional), ``dtmf`` (``digit``), ``mark`` (``name``: everything before that mark has
been played), ``bye``.

To the client: ``ready`` (``session_id`` and the format), ``clear`` (drop what is not played yet),
``mark`` (``name``: send it back once what came before has been played), ``transcription``
(``role``, ``text``), ``error`` (``reason``; the socket closes next).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from salon.base import (
    SYSTEM_CLOCK,
    Clock,
    ConfigurationError,
    LocalProtocolError,
    RemoteProtocolError,
    TaskScope,
    new_id,
)
from salon.base.ids import IdFactory
from salon.transport.sockets import MediaSocket, SocketHandler
from salon.transport.ticker import Ticker
from salon.voice.backends.base import VoiceCapability
from salon.voice.backends.carried import CarriedVoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.backends.socket_connection import JsonSocket
from salon.voice.backends.wire import (
    SLOW,
    MediaSink,
    QueueSink,
    Sink,
    WireConnection,
    WireFormat,
    parse,
)

_log = logging.getLogger("salon.voice")

MAX_WAITING: Final = 250
"""Messages that wait for a client that reads slowly."""
_BAD: Final = 1007
_REFUSED: Final = 1008
_MAX_REASON: Final = 120


class ServerSocket(JsonSocket, Protocol):
    """What is needed of an accepted WebSocket; that of Starlette and FastAPI has it."""

    async def receive(self) -> Any: ...


MarkCallback = Callable[[VoiceSession, str], Any]


class WebSocketVoiceBackend(CarriedVoiceBackend):
    """Sessions over WebSockets that somebody else accepts.

    With Starlette or FastAPI, ``await backend.serve(websocket, session)`` within the route. With a
    server of `salon.transport.upgrade`, give ``backend.handler(session)`` to it. `default` is the
    format of clients that ask for none. A client that takes nothing for `send_timeout` seconds is
    sent away with the reason ``slow_reader``; what it did not get in time is in `dropped_frames`.
    Why a session ended is in its ``metadata["ended_reason"]``.
    """

    def __init__(
        self,
        *,
        default: WireFormat | None = None,
        input_sample_rate: int = 16_000,
        output_sample_rate: int = 16_000,
        audio_queue_maxsize: int = 1000,
        max_waiting: int = MAX_WAITING,
        send_timeout: float = 5.0,
        start_timeout: float = 10.0,
        ticker: Ticker | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        super().__init__(
            input_sample_rate=input_sample_rate,
            output_sample_rate=output_sample_rate,
            audio_queue_maxsize=audio_queue_maxsize,
            ticker=ticker,
            clock=clock,
            ids=ids,
        )
        self._default = WireFormat() if default is None else default
        self._max_waiting = max_waiting
        self._send_timeout = send_timeout
        self.start_timeout = start_timeout
        """Seconds a client has for its first message."""
        self._on_mark: list[MarkCallback] = []
        self._marks = 0

    @property
    def name(self) -> str:
        return "WebSocketVoiceBackend"

    @property
    def capabilities(self) -> VoiceCapability:
        """Keys come beside the sound but can't be sent, so `DTMF_SIGNALING` is not there."""
        return VoiceCapability.INTERRUPTION

    # -- sessions ---------------------------------------------------------------------------------

    async def accept(self, session: VoiceSession, connection: ServerSocket) -> None:
        """`serve`."""
        await self.serve(connection, session)

    async def serve(self, websocket: ServerSocket, session: VoiceSession) -> None:
        """Carry `session` over an accepted WebSocket; returns when it is over, the socket closed.

        `LocalProtocolError` for a session that is over or has its socket already.
        """
        call = self._call_of(session)
        sink = QueueSink(websocket, max_waiting=self._max_waiting, send_timeout=self._send_timeout)
        conversation = Conversation(self, session, sink)
        scope = TaskScope("voice socket")
        writing = scope.spawn(sink.run(), name="writing")
        reading = scope.spawn(_read(websocket, conversation), name="reading")
        over = scope.spawn(call.ended.wait(), name="over")
        try:
            await asyncio.wait((writing, reading, over), return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and writing.result():
                conversation.fail(_REFUSED, SLOW)
            conversation.left("the client has left")
            await self._part(session)
        finally:
            await self.disconnect(session)
            await sink.close()
            await scope.close()
            await _close(websocket, conversation.closing, self._send_timeout)

    def handler(self, session: VoiceSession) -> SocketHandler:
        """What to give to `salon.transport.upgrade` for the socket of `session`."""
        self._call_of(session)
        return _Handler(self, session)

    # -- sound ------------------------------------------------------------------------------------

    def end_of_response(self, session: VoiceSession) -> None:
        """Sends a mark, which comes back when the client has played everything."""
        self._marks += 1
        self.send_mark(session, f"response-{self._marks}")

    def send_mark(self, session: VoiceSession, name: str) -> None:
        """Ask to be told, through `on_mark`, when what was queued so far has been played. Without
        a connection: no effect."""
        call = self._calls.get(session.id)
        if call is not None and isinstance(call.connection, WireConnection):
            connection = call.connection
            self._scope.spawn(self._mark_later(session, connection, name), name="mark")

    async def _mark_later(
        self, session: VoiceSession, connection: WireConnection, name: str
    ) -> None:
        if await self.wait_playback(session):
            connection.tell("mark", name=name)

    def on_mark(self, callback: MarkCallback) -> None:
        """Call `callback(session, name)` for every mark that the client has reached."""
        self._on_mark.append(callback)

    async def send_transcription(
        self, session: VoiceSession, text: str, role: str = "user"
    ) -> None:
        """Shown by the client; nothing without a connection."""
        call = self._calls.get(session.id)
        if call is not None and isinstance(call.connection, WireConnection):
            call.connection.tell("transcription", role=role, text=text)

    def lose(self, session: VoiceSession) -> None:
        """The client of a session is gone; idempotent."""
        call = self._calls.get(session.id)
        if call is not None:
            self._lost(call)

    def _marked(self, session: VoiceSession, name: str) -> None:
        for callback in tuple(self._on_mark):
            try:
                callback(session, name)
            except Exception:  # noqa: BLE001 - the outer edge to other people's code; logged there
                self._failed(session)


class Conversation:
    """What one client says, from its first message on; whoever reads its socket calls this."""

    def __init__(self, backend: WebSocketVoiceBackend, session: VoiceSession, sink: Sink) -> None:
        self._backend = backend
        self._session = session
        self._sink = sink
        self._connection: WireConnection | None = None
        self._deadline = asyncio.get_running_loop().call_later(
            backend.start_timeout, self.fail, _REFUSED, "nothing was said"
        )
        self.closing = 1000, ""

    def text(self, data: str) -> None:
        """A text message."""
        try:
            if self._connection is not None:
                self._connection.told(data)
                return
            message = parse(data)
            if message["type"] == "start":
                self._begin(WireFormat.of_message(message, self._backend._default))
            else:
                self._begin(self._backend._default).told(data)
        except (ConfigurationError, RemoteProtocolError, LocalProtocolError) as error:
            self.fail(_BAD, str(error))

    def binary(self, data: bytes) -> None:
        """A binary message."""
        try:
            connection = self._connection or self._begin(self._backend._default)
            connection.leg.receive(data)
        except (RemoteProtocolError, LocalProtocolError) as error:
            self.fail(_BAD, str(error))

    def _begin(self, wire: WireFormat) -> WireConnection:
        session = self._session
        self._deadline.cancel()
        connection = WireConnection(self._sink, wire)
        connection.on_mark = lambda name: self._backend._marked(session, name)
        connection.tell(
            "ready",
            session_id=session.id,
            codec=wire.codec,
            sample_rate=wire.sample_rate,
            output_sample_rate=wire.output_sample_rate,
            frame_ms=20,
        )
        self._backend.attach(session, connection)
        self._connection = connection
        return connection

    def fail(self, code: int, reason: str) -> None:
        """The client is told why, and sent away."""
        self.closing = code, reason[:_MAX_REASON]
        self._sink.text(json.dumps({"type": "error", "reason": reason}))
        self.left(reason)

    def left(self, reason: str) -> None:
        """The socket is, or will be, closed."""
        self._deadline.cancel()
        if self._session.state is not VoiceSessionState.ENDED:
            self._session.metadata.setdefault("ended_reason", reason)
        if self._connection is not None:
            self._connection.closing = self.closing
        self._backend.lose(self._session)


class _Handler(SocketHandler):
    """The same for a socket of our own server."""

    def __init__(self, backend: WebSocketVoiceBackend, session: VoiceSession) -> None:
        self._backend = backend
        self._session = session
        self._conversation: Conversation | None = None

    def connected(self, socket: MediaSocket) -> None:
        self._conversation = Conversation(self._backend, self._session, MediaSink(socket))

    def text(self, data: str) -> None:
        if self._conversation is not None:
            self._conversation.text(data)

    def binary(self, data: bytes) -> None:
        if self._conversation is not None:
            self._conversation.binary(data)

    def closed(self, code: int, reason: str) -> None:
        if self._conversation is not None:
            slow = code == _REFUSED
            self._conversation.left(SLOW if slow else reason or f"the client has left ({code})")


async def _read(websocket: ServerSocket, conversation: Conversation) -> None:
    """Until the client leaves or is sent away."""
    while conversation.closing[0] == 1000:
        try:
            message = await websocket.receive()
        except Exception as error:  # noqa: BLE001 - whatever a server raises for a client that left
            _log.debug("a voice client could not be read from: %s", error)
            return
        if message["type"] == "websocket.disconnect":
            return
        text, data = message.get("text"), message.get("bytes")
        if text is not None:
            conversation.text(text)
        elif data is not None:
            conversation.binary(data)


async def _close(websocket: ServerSocket, closing: tuple[int, str], timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await websocket.close(*closing)
    except (OSError, RuntimeError) as error:  # a timeout is an OSError
        _log.debug("a voice socket was closed already: %s", error)


__all__ = ["MarkCallback", "WebSocketVoiceBackend", "WireFormat"]
