"""The streamer's end of a WebRTC connection: one track, two channels (O37-O48)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp

from salon.base import RemoteProtocolError, UnavailableError
from salon.testing.odyssey.signaling_core import TakeCandidate
from salon.testing.odyssey.stage import StageTrack
from salon.transport.aiortc_hook import (
    SlowServers,
    bound_gathering,
    connection_of,
    end_consent,
)

_log = logging.getLogger("salon.testing.odyssey")

TO_STREAMER: Final = "clientToStreamer"
TO_CLIENT: Final = "streamerToClient"
MOST_UNSENT: Final = 256


def new_connection() -> Any:
    """A peer connection that asks no server of its own and bundles all (O44)."""
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    return RTCPeerConnection(configuration)


async def hang_up(connection: Any) -> None:
    """Close a connection, also one that comes to be just then."""
    transports = [item.sender.transport for item in connection.getTransceivers()]
    if connection.sctp is not None:
        transports.append(connection.sctp.transport)
    for transport in transports:
        end_consent(connection_of(transport.transport))
    await connection.close()


def allow_loopback(ice: Any) -> None:
    """A machine with nothing but loopback offers that (O45)."""
    bound_gathering(connection_of(ice), SlowServers(), ipv6=False)


class Peer:
    """One connection to a client. `on_text` gets what comes on ``clientToStreamer``; `on_state`
    the states of the connection."""

    def __init__(
        self,
        track: StageTrack | None,
        labels: Iterable[str],
        on_text: Callable[[str | bytes], None],
        on_state: Callable[[str], None],
    ) -> None:
        self.track = track
        self._connection = new_connection()
        self._on_text = on_text
        self._unsent: deque[str] = deque()
        self._to_client: Any = None
        self._connection.on(
            "connectionstatechange", lambda: on_state(self._connection.connectionState)
        )
        if track is not None:
            self._connection.addTransceiver(track, direction="sendonly")
        for label in labels:
            self.open(label)

    def open(self, label: str) -> None:
        """Open a channel; any but the two known labels is of no use to a client (O39)."""
        channel = self._connection.createDataChannel(label)
        if label == TO_STREAMER:
            channel.on("message", self._on_text)
        elif label == TO_CLIENT:
            self._to_client = channel
            channel.on("open", self._flush)

    @property
    def state(self) -> str:
        """``new``, ``connecting``, ``connected``, ``failed`` or ``closed``."""
        state: str = self._connection.connectionState
        return state

    async def offer(self) -> str:
        """The offer with all candidates in it."""
        if self._connection.sctp is not None:
            allow_loopback(self._connection.sctp.transport.transport)
        elif self.track is not None:
            allow_loopback(self._connection.getTransceivers()[0].sender.transport.transport)
        await self._connection.setLocalDescription(await self._connection.createOffer())
        sdp: str = self._connection.localDescription.sdp
        return sdp

    async def take_answer(self, sdp: str) -> None:
        """`RemoteProtocolError` for an answer that does not fit the offer."""
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        except Exception as error:
            raise RemoteProtocolError(f"the answer can't be used: {error}") from error

    async def take_candidate(self, taken: TakeCandidate) -> None:
        """One that can't be used is noted and skipped (O42)."""
        try:
            candidate = candidate_from_sdp(taken.candidate)
            candidate.sdpMid, candidate.sdpMLineIndex = taken.mid, taken.index
            await self._connection.addIceCandidate(candidate)
        except Exception as error:  # noqa: BLE001 - whatever a foreign parser makes of it
            _log.debug("a candidate can't be used: %s", error)

    def say(self, text: str) -> None:
        """Send on ``streamerToClient``, or keep until that is open (O40). `UnavailableError` if too
        much waits."""
        if len(self._unsent) >= MOST_UNSENT:
            raise UnavailableError("streamerToClient does not open")
        self._unsent.append(text)
        self._flush()

    def _flush(self) -> None:
        channel = self._to_client
        while self._unsent and channel is not None and channel.readyState == "open":
            channel.send(self._unsent.popleft())

    async def close_video(self) -> None:
        """The track ends, and its sender says so (RTCP BYE)."""
        if self.track is not None:
            self.track.stop()
        for sender in self._connection.getSenders():
            await sender.stop()

    async def close(self) -> None:
        """The track is stopped explicitly: closing does not (checklist 6). Idempotent."""
        if self.track is not None:
            self.track.stop()
        await hang_up(self._connection)
