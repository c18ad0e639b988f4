"""What all backends over a `Connection` have in common: sessions, sound, callbacks."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from salon.base import (
    RAISED,
    SYSTEM_CLOCK,
    Clock,
    ConfigurationError,
    LocalProtocolError,
    TaskScope,
    new_id,
)
from salon.base.ids import IdFactory
from salon.media.frame import MAX_RATE, AudioChunk, AudioFrame
from salon.transport.ticker import Ticker
from salon.voice.backends.base import (
    AudioReceivedCallback,
    SessionCallback,
    SessionReadyCallback,
    TransportDisconnectCallback,
    VoiceBackend,
    VoiceCapability,
)
from salon.voice.backends.call import Call
from salon.voice.backends.connection import Connection
from salon.voice.backends.dtmf import DTMFEvent, DTMFReceivedCallback
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.backends.trace import ProtocolTrace, TraceDirection, TraceEmitter
from salon.voice.foreign import is_ours

_log = logging.getLogger("salon.voice")

LEAST_RATE: Final = 1_000


class CarriedVoiceBackend(VoiceBackend):
    """A backend whose sessions get a `Connection` each. All on one event loop.

    Frames heard have 20 ms and `input_sample_rate`; bytes to be sent are taken to have
    `output_sample_rate` (a chunk says its own). `audio_queue_maxsize` bounds what waits to be sent,
    in frames of 20 ms.
    """

    def __init__(
        self,
        *,
        input_sample_rate: int,
        output_sample_rate: int,
        audio_queue_maxsize: int,
        ticker: Ticker | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        """`ConfigurationError` for a rate outside 1 to 192 kHz, or a queue of no frames."""
        for name, rate in (("input", input_sample_rate), ("output", output_sample_rate)):
            if not LEAST_RATE <= rate <= MAX_RATE:
                raise ConfigurationError(
                    f"{name}_sample_rate is {rate}, not {LEAST_RATE} to {MAX_RATE}"
                )
        if audio_queue_maxsize < 1:
            raise ConfigurationError(f"audio_queue_maxsize is {audio_queue_maxsize}, not 1 or more")
        self._input_rate = input_sample_rate
        self._output_rate = output_sample_rate
        self._max_frames = audio_queue_maxsize
        self._ticker = Ticker() if ticker is None else ticker
        self._clock = clock
        self._ids = ids
        self._calls: dict[str, Call] = {}
        self._scope = TaskScope("voice backend")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard: AudioReceivedCallback | None = None
        self._on_dtmf: list[DTMFReceivedCallback] = []
        self._on_ready: list[SessionCallback] = []
        self._on_gone: list[SessionCallback] = []
        self._emitter: TraceEmitter | None = None
        self._closed = False
        self.failures = 0
        """Calls of a callback that raised."""

    @property
    def input_sample_rate(self) -> int:
        """Hz of the frames heard."""
        return self._input_rate

    @property
    def output_sample_rate(self) -> int:
        """Hz of the bytes to be sent."""
        return self._output_rate

    @property
    def capabilities(self) -> VoiceCapability:
        return VoiceCapability.INTERRUPTION | VoiceCapability.DTMF_SIGNALING

    # -- sessions ---------------------------------------------------------------------------------

    async def connect(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> VoiceSession:
        """A session that waits for its connection. `LocalProtocolError` after `close`."""
        if self._closed:
            raise LocalProtocolError(f"the {self.name} backend is closed")
        self._loop = asyncio.get_running_loop()
        session = VoiceSession(self._ids(), room_id, participant_id, channel_id)
        session.metadata.update(
            {
                "input_sample_rate": self._input_rate,
                "output_sample_rate": self._output_rate,
                **(metadata or {}),
            }
        )
        self._calls[session.id] = Call(
            session,
            input_rate=self._input_rate,
            max_frames=self._max_frames,
            ticker=self._ticker,
            clock=self._clock,
            heard=self._hear,
            pressed=self._press,
        )
        return session

    async def disconnect(self, session: VoiceSession) -> None:
        call = self._calls.pop(session.id, None)
        session.state = VoiceSessionState.ENDED
        if call is not None:
            self._trace(session, "outbound", "session ended")
            await call.end()

    def get_session(self, session_id: str) -> VoiceSession | None:
        call = self._calls.get(session_id)
        return None if call is None else call.session

    def list_sessions(self, room_id: str) -> list[VoiceSession]:
        return [call.session for call in self._calls.values() if call.session.room_id == room_id]

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(self.disconnect(call.session) for call in [*self._calls.values()]))
        await self._scope.close()

    def _call_of(self, session: VoiceSession) -> Call:
        call = self._calls.get(session.id)
        if call is None:
            raise LocalProtocolError(f"voice session {session.id} is over, or of another backend")
        return call

    def attach(self, session: VoiceSession, connection: Connection) -> None:
        """Give a session the connection it waits for. `LocalProtocolError` if it has one or is
        over; the connection is then still the caller's."""
        call = self._call_of(session)
        if call.connection is not None:
            raise LocalProtocolError(f"voice session {session.id} has a connection already")
        session.metadata["transport"] = connection.transport
        self._trace(session, "inbound", f"{connection.transport} connection accepted")
        call.join(connection)
        connection.watch(lambda: self._ready(call), lambda: self._lost(call))

    def _ready(self, call: Call) -> None:
        if not call.start():
            return
        if call.session.state is VoiceSessionState.CONNECTING:
            call.session.state = VoiceSessionState.ACTIVE
        self._trace(call.session, "outbound", "sound passes")
        self._scope.spawn(self._tell(self._on_ready, call.session), name="ready")

    def _lost(self, call: Call) -> None:
        if self._calls.get(call.session.id) is call and not call.leaving:
            call.leaving = True
            self._trace(call.session, "inbound", "the far end is gone")
            self._scope.spawn(self._hang_up(call.session), name="lost")

    async def _part(self, session: VoiceSession) -> None:
        """The far end is gone: whoever wants to know is told, then the session ends; returns when
        that is done."""
        call = self._calls.get(session.id)
        if call is not None:
            self._lost(call)
            await call.ended.wait()

    async def _hang_up(self, session: VoiceSession) -> None:
        await self._tell(self._on_gone, session)
        await self.disconnect(session)

    async def _tell(self, callbacks: list[SessionCallback], session: VoiceSession) -> None:
        """One after another; one that fails is logged and stops no other."""
        for callback in callbacks:
            try:
                result = callback(session)
                if inspect.isawaitable(result):
                    await result
            except RAISED as error:  # the outer edge to other people's code
                if is_ours(error):
                    raise
                _log.exception("a callback of voice session %s failed", session.id)

    # -- sound ------------------------------------------------------------------------------------

    async def send_audio(
        self, session: VoiceSession, audio: bytes | AsyncIterator[AudioChunk]
    ) -> None:
        """Waits while the queue is full. Ends early, leaving the iterator, when playback is
        interrupted or the session ends; of a session that is over nothing is taken."""
        call = self._calls.get(session.id)
        if call is None:
            return
        if isinstance(audio, bytes | bytearray | memoryview):
            await call.play_bytes(bytes(audio), self._output_rate)
        else:
            await call.play(audio)

    def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> None:
        call, loop = self._calls.get(session.id), self._loop
        if call is None or loop is None or loop.is_closed():
            return
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            call.put(chunk)
        else:
            loop.call_soon_threadsafe(call.put, chunk)

    def interrupt(self, session: VoiceSession) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            call.interrupt()

    def is_playing(self, session: VoiceSession) -> bool:
        call = self._calls.get(session.id)
        return call is not None and call.playing

    async def wait_playback(self, session: VoiceSession) -> bool:
        call = self._calls.get(session.id)
        return call is not None and await call.drained()

    def dropped_frames(self, session: VoiceSession) -> int:
        """Frames queued for a session that gave way to newer ones; 0 once it is over."""
        call = self._calls.get(session.id)
        return 0 if call is None else call.dropped

    def send_dtmf(self, session: VoiceSession, digit: str, duration_ms: int = 160) -> None:
        """Keys wait for one another; sound waits for them. `NotImplementedError` where the far end
        takes no keys, `ValueError` for what can't be pressed, `LocalProtocolError` for a session
        without connection."""
        if VoiceCapability.DTMF_SIGNALING not in self.capabilities:
            super().send_dtmf(session, digit, duration_ms)
        connection = self._call_of(session).connection
        if connection is None:
            raise LocalProtocolError(f"voice session {session.id} is not connected yet")
        connection.press(digit, duration_ms)

    def set_input_muted(self, session: VoiceSession, muted: bool) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            call.muted = muted

    def set_input_gated(self, session: VoiceSession, gated: bool) -> None:
        call = self._calls.get(session.id)
        if call is not None:
            call.gated = gated

    def _hear(self, session: VoiceSession, frame: AudioFrame) -> None:
        if self._heard is not None:
            try:
                self._heard(session, frame)
            except RAISED:  # the outer edge to other people's code; logged there
                self._failed(session)

    def _press(self, session: VoiceSession, digit: str) -> None:
        event = DTMFEvent(digit)
        for callback in tuple(self._on_dtmf):
            try:
                callback(session, event)
            except RAISED:  # the outer edge to other people's code; logged there
                self._failed(session)

    def _failed(self, session: VoiceSession) -> None:
        """Logged the 1st, 2nd, 4th, 8th... time: it may happen fifty times a second."""
        self.failures += 1
        if self.failures & (self.failures - 1) == 0:
            _log.exception(
                "a callback of voice session %s failed (%d so far)", session.id, self.failures
            )

    # -- callbacks --------------------------------------------------------------------------------

    @property
    def audio_received_callback(self) -> AudioReceivedCallback | None:
        """What `on_audio_received` registered."""
        return self._heard

    def on_audio_received(self, callback: AudioReceivedCallback) -> None:
        self._heard = callback

    def on_dtmf_received(self, callback: DTMFReceivedCallback) -> DTMFReceivedCallback:
        """Call `callback(session, event)` once for each key pressed; a plain function."""
        self._on_dtmf.append(callback)
        return callback

    def on_session_ready(self, callback: SessionReadyCallback) -> None:
        self._on_ready.append(callback)

    def on_client_disconnected(self, callback: TransportDisconnectCallback) -> None:
        self._on_gone.append(callback)

    def set_trace_emitter(self, emitter: TraceEmitter | None) -> None:
        self._emitter = emitter

    def _trace(
        self,
        session: VoiceSession,
        direction: TraceDirection,
        summary: str,
        raw: bytes | str | None = None,
        **metadata: Any,
    ) -> None:
        """Tell the emitter, if somebody listens."""
        emitter = self._emitter
        if emitter is None:
            return
        trace = ProtocolTrace(
            session.channel_id,
            direction,
            self.name,
            summary,
            raw,
            metadata,
            self._clock.now(),
            session.id,
            session.room_id or None,
        )
        try:
            emitter(trace)
        except RAISED:  # the outer edge to other people's code; logged there
            self._failed(session)
