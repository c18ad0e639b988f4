"""The WebRTC side of a session: picture and sound in, the two channels (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from salon.clients.odyssey.types import AudioFrame, VideoFrame
from salon.transport.packets import IceServer
from salon.transport.video_frame import ViewerFrame, ViewerSound, ViewerStatistics
from salon.transport.video_link import DataLink
from salon.transport.video_viewer import VideoViewer

TO_STREAMER: Final = "clientToStreamer"
FROM_STREAMER: Final = "streamerToClient"


class LinkEvents(Protocol):
    """What a link tells, on the event loop."""

    def video_announced(self) -> None: ...

    def channel_opened(self) -> None: ...

    def message(self, text: str) -> None: ...

    def video_ended(self) -> None: ...

    def state_changed(self, state: str) -> None: ...

    def picture(self, frame: VideoFrame) -> None: ...

    def sound(self, frame: AudioFrame) -> None: ...


class StreamLink:
    """One peer connection, for one offer. After `mute` it tells nothing more."""

    def __init__(
        self,
        events: LinkEvents,
        ice_servers: Sequence[IceServer],
        make_viewer: Callable[..., VideoViewer] = VideoViewer,
    ) -> None:
        self._events: LinkEvents | None = events
        self._channel: DataLink | None = None
        self._viewer = make_viewer(
            ice_servers=ice_servers,
            on_frame=self._picture,
            on_sound=self._sound,
            on_link=self._link,
            on_video=lambda: self._tell(lambda events: events.video_announced()),
            on_video_end=lambda: self._tell(lambda events: events.video_ended()),
            on_state=lambda state: self._tell(lambda events: events.state_changed(state)),
        )

    @property
    def channel_bytes(self) -> int | None:
        """The longest message the streamer takes; None while its channel is not open (O50)."""
        channel = self._channel
        return channel.max_message_bytes if channel is not None and channel.ready else None

    async def answer(self, offer: str) -> str:
        """Answer the streamer's offer. `NegotiationError` if it can't be."""
        return await self._viewer.answer(offer)

    def add_candidate(self, candidate: str, mid: str | None, index: int | None) -> None:
        """A candidate of the streamer (O42)."""
        self._viewer.add_candidate(candidate, mid, index)

    def send(self, text: str) -> None:
        """Send on `clientToStreamer`. A `ConnectionError` if it is not open."""
        if self._channel is None:
            raise ConnectionError("Client to streamer channel not open")
        self._channel.send(text)

    def statistics(self) -> ViewerStatistics:
        """Figures of the picture and its transport."""
        return self._viewer.statistics()

    def mute(self) -> None:
        """Tell nothing more."""
        self._events = None

    async def close(self) -> None:
        """Let go of everything; bounded and idempotent."""
        self.mute()
        await self._viewer.close()

    def _tell(self, what: Callable[[LinkEvents], None]) -> None:
        if self._events is not None:
            what(self._events)

    def _picture(self, frame: ViewerFrame) -> None:
        if self._events is not None:
            self._events.picture(
                VideoFrame(frame.data, frame.width, frame.height, frame.timestamp_ms)
            )

    def _sound(self, sound: ViewerSound) -> None:
        if self._events is not None:
            self._events.sound(AudioFrame(sound.samples, sound.rate, sound.timestamp_ms))

    def _link(self, link: DataLink) -> None:
        if link.label == FROM_STREAMER:
            link.on_message = lambda text: self._tell(lambda events: events.message(text))
        elif link.label == TO_STREAMER and self._channel is None:
            self._channel = link
            if link.ready:
                self._tell(lambda events: events.channel_opened())
            else:
                link.on_open = lambda: self._tell(lambda events: events.channel_opened())
