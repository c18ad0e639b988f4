"""Watching a broadcast by WHEP: no key and no client needed (O80-O85)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from salon.base import SYSTEM_CLOCK, Clock, TaskScope
from salon.clients.odyssey.addresses import ice_servers, origin_of, whep_url
from salon.clients.odyssey.callbacks import Callbacks
from salon.clients.odyssey.errors import (
    ApiKeyError,
    InvalidReplyError,
    OdysseyError,
    UnreachableError,
    plain_text,
)
from salon.clients.odyssey.feeds import Feed, Reader
from salon.clients.odyssey.handlers import (
    AudioFrameCallback,
    DisconnectedCallback,
    ErrorCallback,
    OdysseyEventHandlers,
    VideoFrameCallback,
)
from salon.clients.odyssey.inbox import MAX_SOUND
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.replies import read_body
from salon.clients.odyssey.types import AudioFrame, VideoFrame
from salon.transport.packets import IceServer, NegotiationError
from salon.transport.video_frame import ViewerFrame, ViewerSound, ViewerStatistics
from salon.transport.video_viewer import VideoViewer

CONFIG_S: Final = 5.0
GATHER_S: Final = 5.0
POST_S: Final = 10.0
CONNECTED_S: Final = 15.0
DELETE_S: Final = 5.0
DISCONNECTED_S: Final = 15.0
"""How long a connection may be without contact before it counts as lost."""
_MAX_ANSWER: Final = 256 * 1024
"""Longest answer, bytes."""


class SpectatorConnection:
    """A broadcast being watched; `connect_to_stream` makes one.

    It ends with `disconnect`, with the broadcast, or when contact is lost; `on_disconnected` is
    called once then (O84).
    """

    def __init__(
        self, callbacks: Callbacks, log: Log, servers: Sequence[IceServer], *, clock: Clock
    ) -> None:
        """Use `connect_to_stream` instead."""
        self._callbacks = callbacks
        self._log = log
        self._pictures: Feed[VideoFrame] = Feed(1)
        self._sounds: Feed[AudioFrame] = Feed(MAX_SOUND)
        self._tasks = TaskScope("odyssey spectator")
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resource: str | None = None
        self._connected = False
        self._ended = False
        self._contact: asyncio.TimerHandle | None = None
        self._closing: asyncio.Future[None] | None = None
        self._viewer = VideoViewer(
            ice_servers=servers,
            on_frame=self._picture,
            on_sound=self._sound,
            on_state=self._state,
            on_video_end=self._lost,
            gather_timeout_s=GATHER_S,
            clock=clock,
        )

    @property
    def is_connected(self) -> bool:
        """Whether pictures can come."""
        return self._connected

    @property
    def peer_connection(self) -> VideoViewer:
        """What receives: its `state`, `statistics()` and `request_key_frame()`."""
        return self._viewer

    def frames(self) -> Reader[VideoFrame]:
        """Pictures for ``async for``, always the newest; ends with the connection."""
        return self._pictures.reader()

    def audio(self) -> Reader[AudioFrame]:
        """Sound for ``async for``, if there is any; ends with the connection."""
        return self._sounds.reader()

    def statistics(self) -> ViewerStatistics:
        """Figures of the picture and its transport."""
        return self._viewer.statistics()

    async def disconnect(self) -> None:
        """Stop watching; safe to call twice. The server is told while connected (O84)."""
        was_connected = self._connected
        self._end()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(was_connected))
        await asyncio.shield(self._closing)
        await self._tasks.close()
        await self._callbacks.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    # -- making it --------------------------------------------------------------------------------

    async def open(self, http: aiohttp.ClientSession, url: str) -> None:
        """Offer to the endpoint `url`, and wait until pictures can come (O81)."""
        self._pictures.open()
        self._sounds.open()
        answer = await self._post(http, url, await self._viewer.offer())
        try:
            await self._viewer.accept(answer)
        except NegotiationError as error:
            raise InvalidReplyError(f"The WHEP answer can't be used: {error}") from error
        try:
            async with asyncio.timeout(CONNECTED_S):
                await self._ready
        except TimeoutError:
            text = "WebRTC connection timed out waiting for ICE"
            raise UnreachableError(text) from None
        self._viewer.request_key_frame()
        self._log.debug("connected")

    async def _post(self, http: aiohttp.ClientSession, url: str, offer: str) -> str:
        target = URL(url, encoded=True)
        try:
            async with http.post(
                target,
                data=offer.encode(),
                headers={"Content-Type": "application/sdp"},
                timeout=aiohttp.ClientTimeout(total=POST_S),
            ) as reply:
                if reply.status == 401:
                    raise ApiKeyError("Invalid spectator token", status=401)
                if reply.status == 404:
                    raise UnreachableError("Stream not found", status=404)
                if not 200 <= reply.status < 300:
                    text = f"WHEP connection failed: {reply.status}"
                    raise UnreachableError(text, status=reply.status)
                location = reply.headers.get("Location")
                if location:
                    self._resource = _resource(str(target), location)
                return (await read_body(reply, _MAX_ANSWER)).decode("utf-8", "replace")
        except OdysseyError:
            raise
        except TimeoutError:
            raise UnreachableError(f"WHEP connection failed: no answer in {POST_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            why = plain_text(error).replace(url, origin_of(url))
            raise UnreachableError(f"WHEP connection failed: {why}") from None

    # -- what comes -------------------------------------------------------------------------------

    def _picture(self, frame: ViewerFrame) -> None:
        made = VideoFrame(frame.data, frame.width, frame.height, frame.timestamp_ms)
        self._pictures.put(made)
        self._callbacks.video_frame(made)

    def _sound(self, sound: ViewerSound) -> None:
        made = AudioFrame(sound.samples, sound.rate, sound.timestamp_ms)
        self._sounds.put(made)
        self._callbacks.audio_frame(made)

    def _state(self, state: str) -> None:
        self._log.debug("the connection is %s", state)
        if self._contact is not None and state != "disconnected":
            self._contact.cancel()
            self._contact = None
        if state == "connected" and not self._ended:
            self._connected = True
            if not self._ready.done():
                self._ready.set_result(None)
        elif state == "disconnected" and self._contact is None:
            loop = asyncio.get_running_loop()
            self._contact = loop.call_later(DISCONNECTED_S, self._lost)
        elif state in ("failed", "closed"):
            if not self._ready.done() and not self._ended:
                self._ready.set_exception(UnreachableError("WebRTC connection failed"))
            self._lost()

    def _lost(self) -> None:
        """The broadcast is over, or contact is lost."""
        if self._connected and not self._ended:
            self._end()
            self._tasks.spawn(self._viewer.close(), name="close")

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._contact is not None:
            self._contact.cancel()
        self._pictures.close()
        self._sounds.close()
        if self._connected:
            self._connected = False
            self._callbacks.event("disconnected")

    async def _close(self, tell: bool) -> None:
        await self._viewer.close()
        if tell and self._resource is not None:
            await self._delete(self._resource)

    async def _delete(self, resource: str) -> None:
        timeout = aiohttp.ClientTimeout(total=DELETE_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.delete(URL(resource, encoded=True)) as reply,
            ):
                self._log.debug("the server answered the goodbye with %s", reply.status)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._log.debug("the server was not told: %s", plain_text(error))


async def connect_to_stream(
    webrtc_url: str,
    spectator_token: str,
    on_video_frame: VideoFrameCallback | None = None,
    on_disconnected: DisconnectedCallback | None = None,
    debug: bool = False,
    *,
    on_audio_frame: AudioFrameCallback | None = None,
    on_error: ErrorCallback | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> SpectatorConnection:
    """Watch the broadcast that `BroadcastInfo` describes. Callbacks may be functions or coroutine
    functions; what they raise goes to `on_error` as not fatal.

    `ValueError` for a token the server does not take and for what is no URL; `ConnectionError` if
    there is no such stream, no answer within 10 s, or no connection within 15 s of it (O83).
    """
    handlers = OdysseyEventHandlers(
        on_disconnected=on_disconnected,
        on_video_frame=on_video_frame,
        on_audio_frame=on_audio_frame,
        on_error=on_error,
    )
    log = Log("whep", "WHEP", debug=debug)
    url = whep_url(webrtc_url, spectator_token)
    async with aiohttp.ClientSession() as http:
        servers = await ice_servers(http, origin_of(webrtc_url), timeout_s=CONFIG_S)
        connection = SpectatorConnection(Callbacks(handlers, log), log, servers, clock=clock)
        try:
            await connection.open(http, url)
        except BaseException:
            await connection.disconnect()
            raise
    return connection


def _resource(posted: str, location: str) -> str | None:
    """Where to say goodbye: `Location` may be relative (O81). Only at the server that answered;
    what points elsewhere is not followed."""
    try:
        found = urljoin(posted, location)
        return found if origin_of(found) == origin_of(posted) else None
    except InvalidReplyError:
        return None
