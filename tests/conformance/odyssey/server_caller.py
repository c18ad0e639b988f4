"""A client made of aiohttp and aiortc that does what the rules say and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from salon.testing.odyssey import OdysseyStandIn, Stamp, read_stamp
from salon.testing.odyssey.peer import allow_loopback

LIMIT_S: Final = 20.0
"""For anything to happen, on a busy machine."""


@dataclass(slots=True)
class Answered:
    """A reply: `body` is its JSON, or its text."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass(slots=True)
class Picture:
    """A frame that arrived."""

    width: int
    height: int
    stamp: Stamp | None


class Broker:
    """The HTTP side, as one account."""

    def __init__(self, server: OdysseyStandIn, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.token = ""

    async def ask(self, method: str, path: str, body: object = None, **more: Any) -> Answered:
        """One request with the access token, if there is one."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= more.pop("headers", {})
        url = path if path.startswith("http") else self.server.url + path
        async with self.http.request(method, url, json=body, headers=headers, **more) as reply:
            text = await reply.text(errors="replace")
            with contextlib.suppress(ValueError):
                return Answered(reply.status, json.loads(text), _lower(reply.headers))
            return Answered(reply.status, text, _lower(reply.headers))

    async def login(self, key: str | None = None) -> Broker:
        """Exchange a key for an access token."""
        reply = await self.ask("POST", "/auth/token", {"api_key": key or self.server.api_key})
        assert reply.status == 200, reply
        self.token = reply.body["access_token"]
        return self

    async def session(self) -> tuple[str, str, str]:
        """A session's id, signaling base and token."""
        session = (await self.ask("POST", "/sessions/request", {})).body
        minted = await self.ask("POST", "/sessions/token", {"session_id": session["session_id"]})
        return session["session_id"], session["signalling_url"], minted.body["session_token"]


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass(slots=True)
class Caller:
    """A client with its socket open. `said` is what came on ``streamerToClient``."""

    session_id: str
    socket: aiohttp.ClientWebSocketResponse
    peer: Any = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration(iceServers=[])))
    offer: str = ""
    said: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    channels: dict[str, Any] = field(default_factory=dict)
    video_over: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def next(self) -> dict[str, Any]:
        """The next message of the socket."""
        message: dict[str, Any] = await self.socket.receive_json(timeout=LIMIT_S)
        return message

    async def answer(self, *, without_candidates: bool = False) -> None:
        """Take the offer and answer it (O29, O38)."""
        offer = await self.next()
        assert offer["type"] == "offer"
        self.offer = offer["sdp"]
        self.peer.on("datachannel", self._channel)
        self.peer.on("track", self._track)
        await self.peer.setRemoteDescription(RTCSessionDescription(self.offer, "offer"))
        allow_loopback(self.peer.sctp.transport.transport)
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        sdp = self.peer.localDescription.sdp
        if without_candidates:
            lines = [line for line in sdp.splitlines() if not line.startswith("a=candidate")]
            sdp = "\r\n".join(line for line in lines if line != "a=end-of-candidates") + "\r\n"
        await self.socket.send_json({"type": "answer", "sdp": sdp})

    async def connect(self) -> Caller:
        """Answer, and wait until ``clientToStreamer`` is open."""
        await self.answer()
        await until(lambda: "clientToStreamer" in self.channels, "the channel opens")
        return self

    def _channel(self, channel: Any) -> None:
        self.channels[channel.label] = channel
        if channel.label == "streamerToClient":
            channel.on("message", lambda text: self.said.append(json.loads(text)))

    def _track(self, track: Any) -> None:
        self.tasks.append(asyncio.ensure_future(self._watch(track)))

    async def _watch(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                self.video_over = True
                return
            stamp = read_stamp(frame.to_ndarray(format="rgb24"))
            self.pictures.append(Picture(frame.width, frame.height, stamp))

    def say(self, kind: str, **fields: Any) -> None:
        """Send on ``clientToStreamer``."""
        self.channels["clientToStreamer"].send(json.dumps({"type": kind, **fields}))

    def start(self, prompt: str = "a harbour", **fields: Any) -> None:
        """As the Python client starts (O49)."""
        usual = {"portrait": True, "input_image_base64": None, "broadcast": False}
        self.say("interactive_stream_start", prompt=prompt, **{**usual, **fields})

    async def heard(self, count: int = 1) -> list[dict[str, Any]]:
        """All that was said, once that are so many messages."""
        await until(lambda: len(self.said) >= count, f"{count} messages, not {self.said}")
        return self.said

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.peer.close()
        await self.socket.close()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what


@contextlib.asynccontextmanager
async def calling(broker: Broker) -> AsyncIterator[Caller]:
    """A client whose socket has just opened."""
    session_id, base, token = await broker.session()
    url = f"{base}/client/{session_id}?token={token}"
    async with broker.http.ws_connect(url, max_msg_size=0) as socket:
        caller = Caller(session_id, socket)
        try:
            yield caller
        finally:
            await caller.close()
