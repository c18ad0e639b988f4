"""One client: its socket, its peer connection, its stage, its streams."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import WSMsgType, web
from aiortc.mediastreams import MediaStreamError

from salon.base import RemoteProtocolError, TaskScope, UnavailableError
from salon.testing.odyssey import signaling_core as signals
from salon.testing.odyssey import stream_core as streams
from salon.testing.odyssey.broadcasts import Broadcasts
from salon.testing.odyssey.house import House
from salon.testing.odyssey.peer import Peer
from salon.testing.odyssey.sessions import Session
from salon.testing.odyssey.stage import Stage, StageTrack
from salon.testing.odyssey.takes import Takes

_log = logging.getLogger("salon.testing.odyssey")

INBOX: Final = 256
"""Messages about streams that wait; a client that sends more is cut off."""
TICK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Fail:
    reason: str
    message: str


class Connection:
    """Runs one signaling socket to its end; see `run`. The other methods do what a server does of
    its own accord, for tests."""

    def __init__(
        self, house: House, broadcasts: Broadcasts, session: Session, socket: web.WebSocketResponse
    ) -> None:
        self.session = session
        self.owner = session.owner
        self.heard: list[dict[str, Any]] = []
        """What the client said about streams, the newest 256; images cut short."""
        self._house = house
        self._broadcasts = broadcasts
        self._socket = socket
        settings, now = house.settings, house.clock.monotonic()
        self._signaling = signals.SignalingCore(settings, now)
        self._streams = streams.StreamCore(settings, house.ids)
        size = settings.size(portrait=True)
        self.stage = Stage(house.clock, settings.fps, size, lambda: house.faults.frozen_picture)
        self._takes = Takes(house, self.stage, self.owner)
        self._inbox: asyncio.Queue[Any] = asyncio.Queue(INBOX)
        self._scope = TaskScope(f"odyssey connection {session.id}")
        self._peers: list[Peer] = []
        self._over = asyncio.Event()
        self._peer_ended = False

    @property
    def stream(self) -> streams.Stream | None:
        """The stream that runs."""
        return self._streams.running

    @property
    def signaling(self) -> signals.SignalingCore:
        """What is known of the socket: keepalives, candidates, what was ignored."""
        return self._signaling

    @property
    def peer_state(self) -> str:
        """The state of the peer connection; ``new`` before the offer."""
        return self._peers[0].state if self._peers else "new"

    async def run(self) -> None:
        """Until the client goes or is sent away; then everything it held is free again."""
        self._scope.spawn(self.stage.run(), name="stage")
        self._scope.spawn(self._handle(), name="inbox")
        self._scope.spawn(self._tick(), name="timers")
        self._scope.spawn(self._open(), name="offer")
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT and not self._house.faults.signaling.read_nothing:
                    now = self._house.clock.monotonic()
                    await self._signal(self._signaling.received(message.data, now))
        finally:
            await self._end()

    async def _open(self) -> None:
        faults = self._house.faults.signaling
        for text in faults.before_offer:
            await self.send_signaling(text)
        if faults.error_reason is not None:
            await self._say({"type": "error", "reason": faults.error_reason})
            return
        if faults.close is not None:
            await self.close_socket(*faults.close)
            return
        if not faults.offer:
            return
        await self._house.clock.sleep(faults.offer_delay_s)
        for _ in range(faults.offers):
            sdp = await self._new_peer().offer()
            await self._say({"type": "offer", "sdp": faults.offer_sdp or sdp})
        for text in faults.after_offer:
            await self.send_signaling(text)

    def _new_peer(self) -> Peer:
        faults = self._house.faults.signaling
        track = StageTrack(self.stage) if faults.video else None
        peer = Peer(track, faults.channels, self._take, self._peer_state)
        self._peers.append(peer)
        return peer

    def _peer_state(self, state: str) -> None:
        """A peer connection that the client ends, or that breaks, frees the streamer
        (checklist 6)."""
        if state in ("failed", "closed") and not self._over.is_set() and not self._peer_ended:
            self._scope.spawn(
                self.close_socket(1011, f"the peer connection is {state}"), name=state
            )

    async def _signal(self, actions: list[signals.Action]) -> None:
        for action in actions:
            if isinstance(action, signals.Say):
                await self._say(action.message)
            elif isinstance(action, signals.Hang):
                await self.close_socket(action.code, action.reason)
            elif isinstance(action, signals.TakeStart):
                self._take(action.message)
            elif not self._peers:
                continue
            elif isinstance(action, signals.TakeCandidate):
                await self._peers[0].take_candidate(action)
            else:
                try:
                    await self._peers[0].take_answer(action.sdp)
                except RemoteProtocolError as error:
                    _log.warning("%s", error)
                    await self.close_socket(1002, "the answer can't be used")

    # -- streams -------------------------------------------------------------------------------

    def _take(self, item: Any) -> None:
        try:
            self._inbox.put_nowait(item)
        except asyncio.QueueFull:
            self._scope.spawn(self.close_socket(1008, "too many messages"), name="full")

    async def _handle(self) -> None:
        """One thing after the other, so that replies keep the order of what they answer."""
        try:
            while True:
                await self._act(self._next(await self._inbox.get()))
        except Exception:  # noqa: BLE001 - the outer edge of a task
            _log.exception("the connection of session %s breaks", self.session.id)
            await self.close_socket(1011, "internal error")

    def _next(self, item: Any) -> list[streams.Action]:
        now = self._house.clock.monotonic()
        if isinstance(item, _Fail):
            return self._streams.failed(item.reason, item.message)
        if isinstance(item, tuple):
            return self._streams.broadcast_ready(item[0], item[1], None)
        if item is None:
            return self._streams.tick(now)
        self._note(item)
        if isinstance(item, dict):
            return self._streams.received(item, now)
        return self._streams.received_text(item, now)

    def _note(self, item: Any) -> None:
        try:
            message = item if isinstance(item, dict) else json.loads(item)
        except (ValueError, RecursionError):
            return
        if isinstance(message, dict):
            image = message.get("input_image_base64")
            short = {"input_image_base64": image[:64]} if isinstance(image, str) else {}
            self.heard.append({**message, **short})
            del self.heard[:-INBOX]

    async def _act(self, actions: list[streams.Action]) -> None:
        for action in actions:
            if isinstance(action, streams.Begin):
                await self._act(await self._begin(action.stream))
            elif isinstance(action, streams.Change):
                self._takes.change(action.prompt)
            elif isinstance(action, streams.Finish):
                await self._finish(action.stream)
            elif isinstance(action, streams.Tell):
                await self._tell(action.message)
            else:
                await self.close_socket(1000, action.reason)

    async def _begin(self, stream: streams.Stream) -> list[streams.Action]:
        refusal = self._refusal() or await self._takes.begin(stream)
        if refusal is not None:
            return self._streams.refused(*refusal)
        now = self._house.clock.monotonic()
        self._signaling.stream_runs(True, now)
        actions = self._streams.begun(now)
        if stream.broadcast:
            self._scope.spawn(self._broadcast(stream), name="broadcast")
        return actions

    def _refusal(self) -> tuple[str, str] | None:
        ordered, most = self._house.faults.start, self._house.settings.streams_per_account
        if ordered is not None:
            return ordered.reason, ordered.message
        if most is not None and self._house.streams_of(self.owner) >= most:
            return "concurrent_limit_exceeded", f"at most {most} streams at once"
        return None

    async def _finish(self, stream: streams.Stream) -> None:
        self._signaling.stream_runs(False, self._house.clock.monotonic())
        await self._broadcasts.end(stream.id)
        await self._takes.finish()

    async def _broadcast(self, stream: streams.Stream) -> None:
        url, token = self._broadcasts.begin(stream.id, self.stage)
        target = self.stage.painted + self._house.settings.broadcast_frames
        try:
            await self.stage.after(target)
        except MediaStreamError:
            return
        if self.stream is stream:
            self._take((url, token))

    async def _tell(self, message: dict[str, Any]) -> None:
        """Say it on ``streamerToClient``, as the faults want it."""
        fault = self._house.faults.take_message(message["type"])
        if fault is None:
            self.send_stream(json.dumps(message))
            return
        await self._house.clock.sleep(fault.delay_s)
        if fault.drop:
            return
        kept = {name: value for name, value in message.items() if name not in fault.without}
        text = fault.instead if fault.instead is not None else json.dumps({**kept, **fault.fields})
        for _ in range(1 + fault.twice):
            self.send_stream(text)

    # -- time and the end ----------------------------------------------------------------------

    async def _tick(self) -> None:
        clock = self._house.clock
        while True:
            await clock.sleep(TICK_S)
            now, due = clock.monotonic(), self._streams.due()
            if due is not None and now >= due:
                self._take(None)
            await self._signal(self._signaling.tick(now))

    async def _end(self) -> None:
        self._over.set()
        await self._scope.close()
        for action in self._streams.gone():
            if isinstance(action, streams.Finish):
                await self._broadcasts.end(action.stream.id)
        await self._takes.finish()
        self.stage.close()
        for peer in self._peers:
            await peer.close()

    # -- what a server does of its own accord --------------------------------------------------

    async def _say(self, message: dict[str, Any]) -> None:
        await self.send_signaling(json.dumps(message))

    async def send_signaling(self, text: str) -> None:
        """Send any text over the socket; nothing if that is closed."""
        if not self._socket.closed:
            await self._socket.send_str(text)

    def send_stream(self, text: str) -> None:
        """Send any text on ``streamerToClient``, once that is open."""
        if not self._peers:
            return
        try:
            self._peers[0].say(text)
        except UnavailableError as error:
            _log.warning("%s", error)

    def open_channel(self, label: str) -> None:
        """Open a further channel to the client (O39, O40)."""
        for peer in self._peers:
            peer.open(label)

    async def close_socket(self, code: int, reason: str) -> None:
        """Close the socket, and with it the connection (O33). The streamer is free at once, not
        only when the client has answered."""
        self._house.sessions.release(self.session.id)
        self.end_video()
        await self._socket.close(code=code, message=reason.encode())

    def fail_stream(self, reason: str, message: str) -> None:
        """The running stream breaks (O56)."""
        self._take(_Fail(reason, message))

    async def close_video(self) -> None:
        """The track ends and says goodbye, so that the client knows (D5); the connection stays."""
        for peer in self._peers:
            await peer.close_video()

    def end_video(self) -> None:
        """The track ends without a word: the client sees its last picture on; the connection
        stays."""
        for peer in self._peers:
            if peer.track is not None:
                peer.track.stop()

    async def close_peer(self) -> None:
        """The peer connection ends; the socket stays."""
        self._peer_ended = True
        for peer in self._peers:
            await peer.close()
