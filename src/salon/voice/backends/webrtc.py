"""Voice over WebRTC: SDP offers are answered, sound passes as Opus or G.711 packets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, LocalProtocolError, new_id
from salon.base.ids import IdFactory
from salon.transport.carriers import WebRtcCarrier, choose_carrier
from salon.transport.packets import IceServer, PacketStatistics, PeerOptions
from salon.transport.ticker import Ticker
from salon.voice.backends.carried import CarriedVoiceBackend
from salon.voice.backends.peer_connection import PeerConnection, Reception
from salon.voice.backends.session import VoiceSession

DEFAULT_QUEUE_FRAMES = 1000
"""20 s of sound."""


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """Figures of one session."""

    packets: PacketStatistics
    reception: Reception | None


class WebRTCVoiceBackend(CarriedVoiceBackend):
    """A backend for any WebRTC client. How offers and answers travel is up to its user.

    `carrier` is one of `salon.transport.carriers.CARRIERS`, or a carrier that is shared and closed
    elsewhere. The named one is chosen with the first offer: `MissingExtraError` there if its
    libraries are not installed.
    """

    def __init__(
        self,
        *,
        input_sample_rate: int = 16_000,
        output_sample_rate: int = 16_000,
        audio_queue_maxsize: int = DEFAULT_QUEUE_FRAMES,
        carrier: str | WebRtcCarrier = "auto",
        ice_servers: Sequence[IceServer] = (),
        external_ip: str | None = None,
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
        self._options = PeerOptions(tuple(ice_servers), external_ip)
        self._wanted = carrier
        self._chosen: WebRtcCarrier | None = None
        self._choosing = asyncio.Lock()

    @property
    def name(self) -> str:
        return "WebRTC"

    async def answer(
        self,
        offer: str,
        *,
        room_id: str,
        participant_id: str,
        channel_id: str = "voice",
        metadata: dict[str, Any] | None = None,
    ) -> tuple[VoiceSession, str]:
        """A session for an SDP offer, and the SDP answer with all candidates. `NegotiationError`
        for an offer that can't be used."""
        connection, sdp = await self.negotiate(offer)
        try:
            session = await self.connect(room_id, participant_id, channel_id, metadata=metadata)
            self.attach(session, connection)
        except BaseException:
            await connection.close()
            raise
        return session, sdp

    async def accept(self, session: VoiceSession, connection: str) -> str:
        """The SDP answer to the offer `connection`, for a session made by `connect`.

        A later offer of the same ICE session changes directions and formats; one of another raises
        `AnotherSession`: it needs another session. `NegotiationError` for what can't be used;
        `LocalProtocolError` for a session that is over.
        """
        present = self._call_of(session).connection
        if isinstance(present, PeerConnection):
            return await present.answer(connection)
        made, sdp = await self.negotiate(connection)
        try:
            self.attach(session, made)  # it may be over by now
        except BaseException:
            await made.close()
            raise
        return sdp

    def add_candidate(self, session: VoiceSession, candidate: str) -> None:
        """A trickled ICE candidate (the value of ``a=candidate``), "" for the last.
        `NegotiationError` if it can't be read, `LocalProtocolError` without an offer before."""
        self._peer_of(session).add_candidate(candidate)

    def statistics(self, session: VoiceSession) -> ConnectionStatistics:
        """Figures so far. `LocalProtocolError` without a peer connection."""
        peer = self._peer_of(session)
        return ConnectionStatistics(peer.statistics(), peer.reception())

    def _peer_of(self, session: VoiceSession) -> PeerConnection:
        connection = self._call_of(session).connection
        if not isinstance(connection, PeerConnection):
            raise LocalProtocolError(f"voice session {session.id} has no peer connection")
        return connection

    async def negotiate(self, offer: str) -> tuple[PeerConnection, str]:
        """A connection for an SDP offer, to be given to `attach` before the answer goes out, else
        to be closed. `NegotiationError` for an offer that can't be used."""
        carrier = await self._carrier()
        connection = PeerConnection(carrier.make(self._options), self._ticker, self._clock)
        try:
            return connection, await connection.answer(offer)
        except BaseException:
            await connection.close()
            raise

    async def _carrier(self) -> WebRtcCarrier:
        async with self._choosing:
            if isinstance(self._wanted, WebRtcCarrier):
                return self._wanted
            if self._chosen is None:
                self._chosen = await choose_carrier(self._wanted, self._ticker)
            return self._chosen

    async def close(self) -> None:
        await super().close()
        chosen, self._chosen = self._chosen, None
        if chosen is not None:
            chosen.close()
