"""What a program may be told: the callbacks of a client and their types (section 14).

Each may be a plain function, called at once on the event loop, or a coroutine function, whose
coroutines run one after another in the order of the events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from salon.clients.odyssey.types import AudioFrame, BroadcastInfo, ConnectionStatus, VideoFrame

_Done: TypeAlias = Awaitable[None] | None

ConnectedCallback: TypeAlias = Callable[[], _Done]
DisconnectedCallback: TypeAlias = Callable[[], _Done]
VideoFrameCallback: TypeAlias = Callable[[VideoFrame], _Done]
AudioFrameCallback: TypeAlias = Callable[[AudioFrame], _Done]
StreamStartedCallback: TypeAlias = Callable[[str], _Done]
"""With the stream id."""
StreamEndedCallback: TypeAlias = Callable[[], _Done]
InteractAcknowledgedCallback: TypeAlias = Callable[[str], _Done]
"""With the prompt as applied."""
BroadcastReadyCallback: TypeAlias = Callable[[BroadcastInfo], _Done]
StreamErrorCallback: TypeAlias = Callable[[str, str], _Done]
"""With reason and message."""
ErrorCallback: TypeAlias = Callable[[Exception, bool], _Done]
"""With the exception, and whether the connection is lost by it."""
StatusChangeCallback: TypeAlias = Callable[[ConnectionStatus, str | None], _Done]
"""With the status, and a text about it."""


@dataclass(slots=True)
class OdysseyEventHandlers:
    """All callbacks of one connection; None is not called.

    `on_connected` and `on_disconnected` come in pairs, one of each for every connection that came
    about (D1). Without `on_video_frame` pictures are still decoded.
    """

    on_connected: ConnectedCallback | None = None
    on_disconnected: DisconnectedCallback | None = None
    on_video_frame: VideoFrameCallback | None = None
    on_stream_started: StreamStartedCallback | None = None
    on_stream_ended: StreamEndedCallback | None = None
    on_interact_acknowledged: InteractAcknowledgedCallback | None = None
    on_broadcast_ready: BroadcastReadyCallback | None = None
    on_stream_error: StreamErrorCallback | None = None
    on_error: ErrorCallback | None = None
    on_status_change: StatusChangeCallback | None = None
    on_audio_frame: AudioFrameCallback | None = None
