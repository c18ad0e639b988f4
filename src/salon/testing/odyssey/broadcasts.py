"""Spectators: the WHEP endpoint of streams that are broadcast (O79-O87)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from aiortc import RTCSessionDescription

from salon.base import TaskScope
from salon.testing.odyssey.exchange import Refusal, Reply, Request
from salon.testing.odyssey.house import House
from salon.testing.odyssey.peer import allow_loopback, hang_up, new_connection
from salon.testing.odyssey.stage import Stage, StageTrack

CONNECT_S: Final = 30.0
"""A spectator that is not connected by then is forgotten."""


@dataclass(slots=True)
class _Spectator:
    connection: Any
    track: StageTrack


@dataclass(slots=True)
class _Broadcast:
    token: str = field(repr=False)
    stage: Stage
    spectators: dict[str, _Spectator] = field(default_factory=dict)


class Broadcasts:
    """All streams that can be watched, by stream id."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._open: dict[str, _Broadcast] = {}
        self._scope = TaskScope("odyssey broadcasts")

    def begin(self, stream_id: str, stage: Stage) -> tuple[str, str]:
        """A stream can be watched; its address and the spectators' token."""
        token = secrets.token_urlsafe(24)
        self._open[stream_id] = _Broadcast(token, stage)
        return f"{self._house.broker.origin}/live/{stream_id}", token

    async def end(self, stream_id: str) -> None:
        """No longer; spectators are sent away. Idempotent."""
        broadcast = self._open.pop(stream_id, None)
        for spectator in list(broadcast.spectators.values()) if broadcast is not None else ():
            await _leave(spectator)

    def watching(self, stream_id: str) -> int:
        """How many spectators a stream has."""
        broadcast = self._open.get(stream_id)
        return 0 if broadcast is None else len(broadcast.spectators)

    async def post(self, request: Request, stream_id: str) -> Reply:
        """A spectator comes (O81). `Refusal` 404, 401, 415, 503 or 400."""
        broadcast = self._open.get(stream_id)
        if broadcast is None:
            raise Refusal(404, "Stream not found")
        given = request.query.get("token") or request.bearer()
        if not secrets.compare_digest(given.encode(), broadcast.token.encode()):
            raise Refusal(401, "Invalid spectator token")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/sdp":
            raise Refusal(415, "the offer must be application/sdp")
        if len(broadcast.spectators) >= self._house.settings.most_spectators:
            raise Refusal(503, "too many spectators")
        track, connection = StageTrack(broadcast.stage), new_connection()
        spectator = _Spectator(connection, track)
        try:
            answer = await _answer(spectator, request.body.decode("utf-8", "replace"))
        except Refusal:
            await _leave(spectator)
            raise
        if self._open.get(stream_id) is not broadcast:
            await _leave(spectator)
            raise Refusal(404, "Stream not found")
        viewer = secrets.token_urlsafe(16)
        broadcast.spectators[viewer] = spectator
        self._scope.spawn(self._watch(broadcast, viewer), name="spectator")
        location = f"/live/{stream_id}/whep/{viewer}"
        if not self._house.faults.relative_location:
            location = self._house.broker.origin + location
        headers = {"Content-Type": "application/sdp", "Location": location}
        return Reply(201, answer.encode(), headers)

    async def delete(self, stream_id: str, viewer: str) -> Reply:
        """A spectator goes (O84); `Refusal` 404 if it is not there."""
        broadcast = self._open.get(stream_id)
        spectator = broadcast.spectators.pop(viewer, None) if broadcast is not None else None
        if spectator is None:
            raise Refusal(404, "no such spectator")
        await _leave(spectator)
        return Reply(200)

    async def _watch(self, broadcast: _Broadcast, viewer: str) -> None:
        """Forget a spectator that never connects, or whose connection is over."""
        spectator = broadcast.spectators[viewer]
        clock = self._house.clock
        until = clock.monotonic() + CONNECT_S
        while viewer in broadcast.spectators:
            state = spectator.connection.connectionState
            late = state != "connected" and clock.monotonic() > until
            if late or state in ("failed", "closed"):
                broadcast.spectators.pop(viewer, None)
                await _leave(spectator)
                return
            await clock.sleep(0.5)

    async def close(self) -> None:
        """Send everybody away."""
        for stream_id in list(self._open):
            await self.end(stream_id)
        await self._scope.close()


async def _answer(spectator: _Spectator, offer: str) -> str:
    """The answer with all candidates; sound is inactive in it (O85)."""
    connection = spectator.connection
    try:
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        if not any(one.kind == "video" for one in connection.getTransceivers()):
            raise Refusal(400, "the offer has no video")
        connection.addTrack(spectator.track)
        allow_loopback(connection.getTransceivers()[0].sender.transport.transport)
        await connection.setLocalDescription(await connection.createAnswer())
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(400, f"the offer can't be used: {error}") from error
    sdp: str = connection.localDescription.sdp
    return sdp


async def _leave(spectator: _Spectator) -> None:
    spectator.track.stop()
    await hang_up(spectator.connection)
