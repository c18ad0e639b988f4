"""A viewer of live video over WebRTC: picture, sound and data channels of one peer.

aiortc negotiates and carries (ICE, DTLS, SCTP); the packets of the picture are taken below its
media path where that is possible, so that a frame is shown when its last packet is there (D15).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, cast

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy

from salon.base import SYSTEM_CLOCK, Clock, TaskScope
from salon.transport import aiortc_hook as hook
from salon.transport import video_hook
from salon.transport.aiortc_peer import CLOSE_TIMEOUT_S, MAX_CANDIDATES, to_aiortc
from salon.transport.packets import IceServer, NegotiationError
from salon.transport.sdp import MAX_TEXT_BYTES, Candidate
from salon.transport.video_frame import (
    VideoStatistics,
    ViewerFrame,
    ViewerSound,
    ViewerStatistics,
)
from salon.transport.video_ice import WAIT_S, Gathering, aiortc_servers, reach_of
from salon.transport.video_link import DataLink, LinkClosed, max_message_bytes
from salon.transport.video_packets import PacketVideo
from salon.transport.video_stock import StockSound, StockVideo, ask_stock

_log = logging.getLogger("salon.transport")

CONNECT_TIMEOUT_S = 20.0
"""From the description to the end of the DTLS handshake; then the viewer has failed."""
SILENT_S = 13.0
"""Nothing from the peer, neither media nor a check, for this long: disconnected."""
LOST_S = 30.0
"""And after this long the connection is given up."""
WATCH_S = 1.0
MAX_LINKS = 16
_MDNS = re.compile(r"(?m)^a=(candidate:\S+ \d+ \S+ \d+ \S+\.local .*?)\r?\n")
_END = re.compile(r"(?m)^a=end-of-candidates\r?\n")

ViewerState = Literal["new", "connecting", "connected", "disconnected", "failed", "closed"]


class VideoViewer:
    """One connection, answered or offered once. Everything but decoding runs on the event loop it
    was made in, and so do the callbacks; an exception of theirs is logged, counted and goes no
    further.

    `on_frame` gets the newest decoded picture (D8), `on_sound` every piece of sound, if the peer
    offers any (O47). `on_link` gets every data channel that the peer opens, `on_video` is called
    when a video track is announced, before any picture (O74), `on_video_end` once when it ends.
    `on_candidate` (``candidate:…`` text, mid, index) takes candidates found after the description
    was given; without it a reflexive address that the peer must know of is waited for, at most
    `gather_timeout_s`. `loopback` offers 127.0.0.1 where the peer may be on this machine (O45).
    `path` ``stock`` leaves the packets to aiortc even where they can be had.
    """

    def __init__(
        self,
        *,
        ice_servers: Sequence[IceServer] = (),
        on_frame: Callable[[ViewerFrame], None] | None = None,
        on_sound: Callable[[ViewerSound], None] | None = None,
        on_link: Callable[[DataLink], None] | None = None,
        on_video: Callable[[], None] | None = None,
        on_state: Callable[[ViewerState], None] | None = None,
        on_video_end: Callable[[], None] | None = None,
        on_candidate: Callable[[str, str | None, int | None], None] | None = None,
        loopback: bool = True,
        gather_timeout_s: float = WAIT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        path: Literal["auto", "stock"] = "auto",
        servers: hook.SlowServers | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.state: ViewerState = "new"
        self._ice_servers = tuple(ice_servers)
        self._on_frame = on_frame
        self._on_sound = on_sound
        self._on_link = on_link
        self._on_video = on_video
        self._on_state = on_state
        self._on_video_end = on_video_end
        self._on_candidate = on_candidate
        self._loopback = loopback
        self._gather_timeout_s = gather_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._servers = servers or _SERVERS
        self._clock = clock
        self._scope = TaskScope("video viewer")
        self._pc: RTCPeerConnection | None = None
        self._gatherings: list[Gathering] = []
        self._links: list[DataLink] = []
        self._limit = 0
        self._candidates = 0
        self._callback_errors = 0
        self._begun_at: float | None = None
        self._heard_at = 0.0
        self._connect_ms: float | None = None
        self._video_ended = False
        self._closing = False
        self._path = path
        self._video: PacketVideo | None = None
        self._stock: StockVideo | None = None
        self._sound: StockSound | None = None

    # -- negotiation ------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Take an SDP offer, give the answer with all candidates inside; connecting goes on by
        itself. Raises `NegotiationError` for an offer that can't be used, and if the viewer was
        used before."""
        usable, later = _usable(offer)
        pc = await self._begin(RTCBundlePolicy.BALANCED)
        self._limit = max_message_bytes(offer)
        await self._negotiate(pc.setRemoteDescription(RTCSessionDescription(usable, "offer")))
        self._bound_gathering(pc, offer)
        await self._negotiate(self._describe(pc, pc.createAnswer()))
        self._connecting(later)
        return str(pc.localDescription.sdp)

    async def offer(self, *, sound: bool = True) -> str:
        """An offer to receive one picture, and sound with it unless not wanted, with all
        candidates inside."""
        pc = await self._begin(RTCBundlePolicy.MAX_BUNDLE)
        pc.addTransceiver("video", direction="recvonly")
        if sound:
            pc.addTransceiver("audio", direction="recvonly")
        self._bound_gathering(pc, None)
        await self._negotiate(self._describe(pc, pc.createOffer()))
        return str(pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer to `offer`; connecting goes on by itself. Raises `NegotiationError`."""
        pc = self._pc
        if pc is None or self.state != "new":
            raise NegotiationError("there is no offer to answer")
        usable, later = _usable(answer)
        self._limit = max_message_bytes(answer)
        await self._negotiate(pc.setRemoteDescription(RTCSessionDescription(usable, "answer")))
        self._connecting(later)

    def add_candidate(self, candidate: str, mid: str | None, index: int | None) -> None:
        """A trickled candidate, with or without ``candidate:`` before it. The empty one, one that
        can't be read and those above a bound are passed over with a line in the log (O42)."""
        text = candidate.strip()
        pc = self._pc
        if not text or pc is None or self.state in ("failed", "closed"):
            return
        self._candidates += 1
        if self._candidates > MAX_CANDIDATES:
            return
        try:
            parsed = to_aiortc(Candidate.parse(text))
        except NegotiationError as error:
            _log.warning("a candidate is passed over: %s", error)
            return
        parsed.sdpMid, parsed.sdpMLineIndex = mid, index
        if mid is None and index is None:
            parsed.sdpMLineIndex = 0
        self._scope.spawn(_add(pc, parsed), name="candidate")

    async def _begin(self, bundle: RTCBundlePolicy) -> RTCPeerConnection:
        if self._path == "auto" and await video_hook.probe() is not None:
            self._path = "stock"
        if self._pc is not None or self.state != "new":
            raise NegotiationError("a viewer negotiates once")
        pc = RTCPeerConnection(
            RTCConfiguration(iceServers=aiortc_servers(self._ice_servers), bundlePolicy=bundle)
        )
        self._pc = pc
        pc.on("track", self._track)
        pc.on("datachannel", self._channel)
        pc.on("connectionstatechange", self._connection_state)
        video_hook.take_connecting(pc, self._not_connected)
        return pc

    def _not_connected(self, error: Exception) -> None:
        if not self._closing:
            _log.warning("a viewer can't connect: %s", str(error) or type(error).__name__)
            self._set_state("failed")

    async def _negotiate(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except Exception as error:  # aiortc has no error of its own for this
            if self._closing:
                raise NegotiationError("the viewer was closed") from None
            reason = str(error) or type(error).__name__
            raise NegotiationError(f"the description can't be used: {reason}") from error

    async def _describe(self, pc: RTCPeerConnection, made: Coroutine[Any, Any, Any]) -> None:
        await pc.setLocalDescription(await made)

    def _bound_gathering(self, pc: RTCPeerConnection, remote: str | None) -> None:
        reach = reach_of(remote)
        wait_s = self._gather_timeout_s if reach.needs_telling else 0.0
        trickle = self._trickle if self._on_candidate is not None and remote is not None else None
        for connection in _connections(pc):
            hook.note_checks(connection, self._heard)
            self._gatherings.append(
                Gathering(
                    connection,
                    self._scope,
                    loopback=self._loopback and reach.loopback,
                    wait_s=wait_s,
                    trickle=trickle,
                    servers=self._servers,
                )
            )

    def _trickle(self, candidate: Any) -> None:
        self._tell(self._on_candidate, f"candidate:{candidate.to_sdp()}", None, 0)

    def _connecting(self, later: list[str]) -> None:
        if self._closing:
            raise NegotiationError("the viewer was closed")
        if self._video is not None:
            self._video.attach()
        self._begun_at = self._heard_at = self._clock.monotonic()
        self._set_state("connecting")
        for candidate in later:
            self.add_candidate(candidate, None, 0)
        self._scope.spawn(self._watch(), name="watch")

    # -- the connection ---------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Whether it connects in time, and whether the peer is still there afterwards."""
        late = self._clock.monotonic() + self._connect_timeout_s
        while self.state not in ("failed", "closed"):
            await self._clock.sleep(min(WATCH_S, self._connect_timeout_s))
            now = self._clock.monotonic()
            if self._connect_ms is None:
                if now >= late:
                    _log.info("a viewer did not connect within %.0f s", self._connect_timeout_s)
                    self._set_state("failed")
                continue
            heard = max(self._heard_at, self._video.last_heard if self._video is not None else 0.0)
            if now - heard >= LOST_S:
                self._set_state("failed")
            else:
                self._set_state("disconnected" if now - heard >= SILENT_S else "connected")

    def _heard(self) -> None:
        self._heard_at = self._clock.monotonic()

    def _connection_state(self) -> None:
        pc = self._pc
        if pc is None:
            return
        state = cast(ViewerState, pc.connectionState)
        if state == "connected" and self._connect_ms is None and self._begun_at is not None:
            self._connect_ms = 1000 * (self._clock.monotonic() - self._begun_at)
            self._heard()
            for connection in _connections(pc):
                hook.note_answers(connection, self._heard)
        if state != "new":
            self._set_state(state)

    def _set_state(self, state: ViewerState) -> None:
        if state == self.state or self.state in ("failed", "closed"):
            return
        self.state = state
        if state in ("failed", "closed"):
            self._end_video()
            for link in self._links:
                link.ended()
        self._tell(self._on_state, state)

    def _end_video(self) -> None:
        if not self._video_ended:
            self._video_ended = True
            self._tell(self._on_video_end)

    def _channel(self, channel: Any) -> None:
        if len(self._links) >= MAX_LINKS:
            _log.warning("more than %d data channels; one is closed", MAX_LINKS)
            channel.close()
            return
        link = DataLink(channel, self._limit)
        self._links.append(link)
        self._tell(self._on_link, link)

    def _track(self, track: Any) -> None:
        if track.kind == "audio" and self._sound is None and self._on_sound is not None:
            self._sound = StockSound(track, self._play)
            self._scope.spawn(self._sound.run(), name="sound")
        elif track.kind == "video" and self._stock is None and self._video is None:
            if self._path == "stock":
                self._stock = StockVideo(track, self._show)
                self._scope.spawn(self._run_stock(self._stock), name="stock video")
            else:
                self._video = PacketVideo(
                    self._section(track), show=self._show, end=self._end_video, clock=self._clock
                )
            self._tell(self._on_video)
        else:
            # its receiver never begins: no thread, and nothing that piles up unread (O47)
            video_hook.take_receiver(self._section(track).receiver, lambda _parameters: None)

    def _section(self, track: Any) -> Any:
        """The transceiver of a track."""
        sections = self._pc.getTransceivers() if self._pc is not None else []
        return next(item for item in sections if item.receiver.track is track)

    async def _run_stock(self, video: StockVideo) -> None:
        await video.run()
        self._end_video()

    def _show(self, frame: ViewerFrame) -> None:
        self._tell(self._on_frame, frame)

    def _play(self, sound: ViewerSound) -> None:
        self._tell(self._on_sound, sound)

    def _tell(self, callback: Callable[..., None] | None, *arguments: Any) -> None:
        if callback is None:
            return
        try:
            callback(*arguments)
        except Exception:  # noqa: BLE001 - the user's code; the viewer goes on (D7)
            self._callback_errors += 1
            _log.exception("a callback of a video viewer failed")

    # -- what it can do ---------------------------------------------------------------------------

    def request_key_frame(self) -> None:
        """Ask for a whole picture now (O81); before the connection is there it is asked for as
        soon as it is."""
        if self._video is not None:
            self._video.request_key_frame()
        elif self._stock is not None and self._pc is not None and not self._closing:
            for section in self._pc.getTransceivers():
                if section.kind == "video":
                    self._scope.spawn(ask_stock(section.receiver), name="key frame")

    def statistics(self) -> ViewerStatistics:
        """Figures so far."""
        video = self._video or self._stock
        return ViewerStatistics(
            path="packets" if self._video else "stock" if self._stock else "",
            connect_ms=self._connect_ms,
            callback_errors=self._callback_errors
            + sum(link.callback_errors for link in self._links),
            sound_pieces=self._sound.pieces if self._sound is not None else 0,
            video=video.statistics() if video is not None else VideoStatistics(),
        )

    async def close(self) -> None:
        """Let go of sockets, threads and tasks; bounded in time, idempotent. The callbacks hear of
        the state ``closed``, and then nothing more."""
        if self._closing:
            return
        self._closing = True
        self._set_state("closed")
        self.state = "closed"
        self._on_frame = self._on_sound = self._on_state = self._on_video_end = None
        pc = self._pc
        connections = _connections(pc) if pc is not None else []
        for connection in connections:
            hook.end_consent(connection)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._video is not None:
                    await self._video.close()
                if pc is not None:
                    await pc.close()
        except TimeoutError:
            _log.warning("a video viewer did not close in time")
        finally:
            await self._scope.close()
            for gathering in self._gatherings:
                gathering.release()
            for connection in connections:
                hook.release(connection)
            if pc is not None:
                pc.remove_all_listeners()
                video_hook.release_connecting(pc)


_SERVERS = hook.SlowServers()


async def _add(pc: RTCPeerConnection, candidate: Any) -> None:
    try:
        await pc.addIceCandidate(candidate)
    except (ValueError, OSError) as error:
        _log.warning("a candidate is passed over: %s", error)


def _usable(description: str) -> tuple[str, list[str]]:
    """The description for aiortc, and candidates to add afterwards: names take time to resolve.
    The end of candidates is kept from aioice, which would give up where none of them can be
    reached, although the peer can be learnt from its own checks (O41)."""
    if len(description) > MAX_TEXT_BYTES:
        raise NegotiationError(f"a description of {len(description)} characters")
    if not re.search(r"(?m)^m=", description):
        raise NegotiationError("a description without a media section")
    if description.count("a=candidate:") > MAX_CANDIDATES:
        raise NegotiationError(f"more than {MAX_CANDIDATES} candidates")
    later = _MDNS.findall(description)
    return _END.sub("", _MDNS.sub("", description)), later


def _connections(pc: RTCPeerConnection) -> list[Any]:
    """The ICE connections that are in use, one if everything is bundled."""
    transports = [item.receiver.transport for item in pc.getTransceivers()]
    if pc.sctp is not None:
        transports.append(pc.sctp.transport)
    return list({id(c): c for t in transports for c in [hook.connection_of(t.transport)]}.values())


__all__ = [
    "DataLink",
    "IceServer",
    "LinkClosed",
    "VideoViewer",
    "ViewerFrame",
    "ViewerSound",
    "ViewerState",
    "ViewerStatistics",
]
