"""The WebRTC backend under the name that programs written for RoomKit know it by.

    from salon.voice.backends.fastrtc import FastRTCVoiceBackend, mount_fastrtc_voice

Its endpoints speak as FastRTC's do, so that pages made for them go on working; FastRTC itself is
not needed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from salon.base import SYSTEM_CLOCK, Clock, new_id
from salon.base.ids import IdFactory
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import IceServer
from salon.transport.ticker import Ticker
from salon.voice.backends.auth import AuthCallback, auth_context
from salon.voice.backends.fastrtc_mount import mount_fastrtc_voice
from salon.voice.backends.session import VoiceSession
from salon.voice.backends.socket_connection import JsonSocket, SocketConnection
from salon.voice.backends.webrtc import DEFAULT_QUEUE_FRAMES, WebRTCVoiceBackend

_log = logging.getLogger("salon.voice")


class FastRTCVoiceBackend(WebRTCVoiceBackend):
    """WebRTC, or sound in JSON messages of a WebSocket, as the client chooses.

    `audio_format` is what WebSocket clients get: ``mulaw`` in JSON messages, or ``pcm``, 16-bit
    samples in binary messages; for WebRTC it means nothing. `ValueError` for another.
    """

    DEFAULT_QUEUE_MAXSIZE: int = DEFAULT_QUEUE_FRAMES

    def __init__(
        self,
        *,
        input_sample_rate: int = 48_000,
        output_sample_rate: int = 24_000,
        audio_format: str = "mulaw",
        audio_queue_maxsize: int = DEFAULT_QUEUE_MAXSIZE,
        carrier: str | WebRtcCarrier = "auto",
        ice_servers: Sequence[IceServer] = (),
        external_ip: str | None = None,
        ticker: Ticker | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        if audio_format not in ("mulaw", "pcm"):
            raise ValueError(f"audio_format is {audio_format!r}; 'mulaw' and 'pcm' are allowed")
        super().__init__(
            input_sample_rate=input_sample_rate,
            output_sample_rate=output_sample_rate,
            audio_queue_maxsize=audio_queue_maxsize,
            carrier=carrier,
            ice_servers=ice_servers,
            external_ip=external_ip,
            ticker=ticker,
            clock=clock,
            ids=ids,
        )
        self._audio_format = audio_format

    @property
    def name(self) -> str:
        return "FastRTC"

    def socket_connection(
        self, socket: JsonSocket, kind: Literal["page", "telephone"], stream: str
    ) -> SocketConnection:
        """A connection over a WebSocket that was accepted and named its `stream`."""
        if kind == "telephone":
            return SocketConnection.telephone(socket, stream)
        return SocketConnection(
            socket,
            in_rate=self.input_sample_rate,
            out_rate=self.output_sample_rate,
            binary=self._audio_format == "pcm",
        )

    def waiting_session(self, connection_id: str) -> VoiceSession | None:
        """The session made in advance for a client: it has no connection yet, and its metadata
        names the client's id as ``websocket_id``."""
        for call in self._calls.values():
            named = call.session.metadata.get("websocket_id")
            if call.connection is None and named == connection_id:
                return call.session
        return None

    async def send_transcription(
        self, session: VoiceSession, text: str, role: str = "user"
    ) -> None:
        """Clients over WebSocket get ``{"type": "transcription", "data": {"text", "role"}}``; for
        those over WebRTC there is no way."""
        call = self._calls.get(session.id)
        connection = None if call is None else call.connection
        if isinstance(connection, SocketConnection):
            connection.tell({"type": "transcription", "data": {"text": text, "role": role}})
        else:
            _log.debug("no way to show text in voice session %s", session.id)


__all__ = ["AuthCallback", "FastRTCVoiceBackend", "auth_context", "mount_fastrtc_voice"]
