"""Calls over WebRTC: events on the socket, sound as packets (section 10)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic_core import from_json

from salon.gateway.commands import Command, InviteCommand
from salon.gateway.endpoints import Endpoint, Endpoints
from salon.gateway.errors import CommandError
from salon.gateway.options import CallOption
from salon.gateway.session import Session
from salon.gateway.transports import EventTransport
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import (
    AnotherSession,
    NegotiationError,
    PacketPeer,
    PacketStatistics,
    PeerOptions,
    PeerState,
)
from salon.transport.sockets import MediaSocket
from salon.voice.packet_leg import PacketLeg
from salon.voice.session import MediaSession

_log = logging.getLogger("salon.gateway")

PATHS = ("/webrtc", "/call/webrtc")
GRACE_S = 10.0
"""A call whose connection is gone ends after this long, unless it comes back (G150)."""
RESTARTS = 2
"""So many more times of grace are given while a new connection is under way."""
HOLD_S = 3.0
"""What is to be played waits this long for the connection."""
MAX_EARLY_CANDIDATES = 100
"""Candidates kept before the invite (G88); more are dropped."""


@dataclass(slots=True)
class WebRtcCalls:
    """What all WebRTC calls of a server share."""

    carrier: WebRtcCarrier
    options: PeerOptions
    grace: float = GRACE_S
    on_connected: Callable[[float], None] = lambda _seconds: None
    on_statistics: Callable[[PacketStatistics], None] = lambda _statistics: None

    def paths(self) -> Endpoints:
        """For the gateway: where these calls come in (G10, G280)."""
        endpoint = Endpoint(WebRtcTransport.call_type, self._connect)
        return dict.fromkeys(PATHS, endpoint)

    def _connect(self, socket: MediaSocket, session: Session) -> WebRtcTransport:
        return WebRtcTransport(socket, session, self)


class WebRtcTransport(EventTransport):
    """A call's socket for events, and the peer connection its sound takes.

    The first offer makes the connection. A later offer of the same ICE session changes it; one of
    another session (an ICE restart, a page that moved to another network) makes a second
    connection, which takes over as soon as it is connected.
    """

    call_type: ClassVar[str] = "webrtc"
    ends_at_second_invite: ClassVar[bool] = False

    def __init__(self, socket: MediaSocket, session: Session, calls: WebRtcCalls) -> None:
        super().__init__(socket, session)
        self._calls = calls
        self._leg: PacketLeg | None = None
        self._peer: PacketPeer | None = None
        self._next: PacketPeer | None = None
        self._counted: PacketPeer | None = None
        self._early: deque[str] = deque()
        self._grace: asyncio.TimerHandle | None = None
        self._patience = RESTARTS
        self._holding: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    # -- commands ---------------------------------------------------------------------------------

    def preparse(self, data: str) -> Command | None:
        """A bare ``{"sdp", "type": "offer"}`` is an invite with that offer (G281)."""
        if '"sdp"' not in data or '"command"' in data:
            return None
        try:
            frame = from_json(data)
        except ValueError:
            return None
        if not isinstance(frame, dict) or "command" in frame or frame.get("type") != "offer":
            return None
        if not isinstance(frame.get("sdp"), str):
            raise CommandError("an offer needs its sdp as text")
        return InviteCommand(option=CallOption(offer=frame["sdp"]))

    async def answer(self, option: CallOption, media: MediaSession) -> str:
        if not option.offer:
            raise CommandError("an invite on a WebRTC call needs option.offer, an SDP offer")
        peer = self._make(option)
        self._peer = peer
        sdp = await peer.answer(option.offer)
        self._leg = PacketLeg(media.engine.ticker, media.engine.clock)
        if peer.state is not PeerState.CONNECTED:
            self._leg.ready = False
            self._holding = asyncio.get_running_loop().call_later(HOLD_S, self._play)
        self._leg.attach(peer.tracks[0])
        media.use(self._leg)
        self._take_early(peer)
        return sdp

    async def reoffer(self, option: CallOption, media: MediaSession) -> str | None:
        """A second invite renegotiates if it carries an offer."""
        del media
        if not option.offer or self._peer is None or self._leg is None:
            return None
        for target in (self._next, self._peer):
            if target is None:
                continue
            try:
                sdp = await target.answer(option.offer)
            except AnotherSession:
                continue
            except NegotiationError:
                if target.state in (PeerState.FAILED, PeerState.CLOSED):
                    continue
                raise
            if target is self._peer:
                self._leg.attach(target.tracks[0])
                if self._next is not None:  # the page goes back to the connection there is
                    self._close_later(self._next)
                    self._next = None
            return sdp
        return await self._succeed(option)

    async def _succeed(self, option: CallOption) -> str:
        """Set up the connection that is to take the place of the one there is."""
        peer = self._make(option, fresh=True)
        try:
            sdp = await peer.answer(option.offer)
        except BaseException:
            self._close_later(peer)
            raise
        if peer.state in (PeerState.FAILED, PeerState.CLOSED):
            self._close_later(peer)
            raise NegotiationError("the new connection failed at once")
        if self._next is not None:
            self._close_later(self._next)
        self._next = peer
        self._take_early(peer)
        return sdp

    def _make(self, option: CallOption, *, fresh: bool = False) -> PacketPeer:
        options = replace(self._calls.options, ipv6=option.enable_ipv6, fresh_identity=fresh)
        peer = self._calls.carrier.make(options)
        peer.on_state = lambda state: self._peer_state(peer, state)
        return peer

    def add_candidate(self, candidate: str) -> None:
        peer = self._next or self._peer
        if peer is None or not peer.tracks:
            if len(self._early) < MAX_EARLY_CANDIDATES:
                self._early.append(candidate)
        else:
            peer.add_candidate(candidate)

    def _take_early(self, peer: PacketPeer) -> None:
        """Candidates that came before the connection was there (G88)."""
        while self._early:
            candidate = self._early.popleft()
            try:
                peer.add_candidate(candidate)
            except NegotiationError as error:
                self._session.error("command", str(error))

    # -- the connection ---------------------------------------------------------------------------

    @property
    def established(self) -> bool:
        """It was connected once; that it may be lost again is another matter (G150)."""
        if self._counted is not None:
            return True
        return self._peer is not None and self._peer.state is PeerState.CONNECTED

    def _peer_state(self, peer: PacketPeer, state: PeerState) -> None:
        if peer is self._next:
            self._next_state(peer, state)
            return
        if peer is not self._peer:
            return
        if state is not PeerState.CONNECTING:
            self._play()
        if state is PeerState.CONNECTED:
            self._connected(peer)
        elif state in (PeerState.DISCONNECTED, PeerState.FAILED, PeerState.CLOSED):
            self._session.main_track_ended()
            if self._grace is None:
                self._grace = asyncio.get_running_loop().call_later(self._calls.grace, self._gone)

    def _play(self) -> None:
        """It is known, or has been waited for long enough, whether anybody hears: time goes on."""
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
        if self._leg is not None:
            self._leg.ready = True

    def _next_state(self, peer: PacketPeer, state: PeerState) -> None:
        if state is PeerState.CONNECTED and self._leg is not None:
            previous, self._peer, self._next = self._peer, peer, None
            self._leg.attach(peer.tracks[0])
            if previous is not None:
                self._close_later(previous)
            self._connected(peer)
        elif state in (PeerState.FAILED, PeerState.CLOSED):
            self._next = None
            self._close_later(peer)

    def _connected(self, peer: PacketPeer) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self._patience = RESTARTS
        self._session.main_track_started()
        took = peer.statistics().connect_ms
        if took is not None and self._counted is not peer:  # not when it comes back from silence
            self._counted = peer
            self._calls.on_connected(took / 1000)

    def _gone(self) -> None:
        self._grace = None
        if self._next is not None and self._patience > 0:  # it fails or takes over before long
            self._patience -= 1
            self._grace = asyncio.get_running_loop().call_later(self._calls.grace, self._gone)
            return
        self._session.connection_lost()

    def _close_later(self, peer: PacketPeer) -> None:
        """Close beside what goes on; `ended` waits for it."""
        peer.on_state = lambda _state: None
        self._calls.on_statistics(peer.statistics())
        task = asyncio.ensure_future(self._close(peer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, peer: PacketPeer) -> None:
        try:
            await peer.close()
        except Exception:  # noqa: BLE001 - carriers are plugged in; the call ends all the same
            _log.exception("a WebRTC connection could not be closed")

    async def ended(self) -> None:
        self._play()
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        for peer in (self._peer, self._next):
            if peer is not None:
                self._close_later(peer)
        self._peer = self._next = self._counted = None
        if self._closing:
            await asyncio.wait(set(self._closing))
