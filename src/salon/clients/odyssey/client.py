"""`Odyssey`: prompt-driven live video."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from salon.base import SYSTEM_CLOCK, Clock
from salon.clients.odyssey import recordings, simulations
from salon.clients.odyssey.broker import Broker
from salon.clients.odyssey.config import ClientConfig, make_config
from salon.clients.odyssey.credentials import ClientCredentials
from salon.clients.odyssey.driver import SessionDriver
from salon.clients.odyssey.errors import (
    MissingApiKeyError,
    OdysseyError,
    OdysseyStreamError,
    connect_error,
)
from salon.clients.odyssey.feeds import OdysseyEvent, Reader
from salon.clients.odyssey.handlers import OdysseyEventHandlers
from salon.clients.odyssey.images import ImageInput, image_data_url
from salon.clients.odyssey.inbox import Inbox
from salon.clients.odyssey.messages import StreamRequest
from salon.clients.odyssey.pending import CallKind
from salon.clients.odyssey.plans import BrokerPlan, CredentialsPlan, DirectPlan, Plan
from salon.clients.odyssey.retry import RetrySchedule
from salon.clients.odyssey.session import SessionCore
from salon.clients.odyssey.statistics import ClientStatistics
from salon.clients.odyssey.telemetry import Telemetry
from salon.clients.odyssey.types import (
    AudioFrame,
    ConnectionStatus,
    Recording,
    SimulationJobDetail,
    SimulationJobInfo,
    SimulationJobsList,
    SimulationJobStatus,
    StreamerCapabilities,
    StreamRecordingsList,
    VideoFrame,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salon.clients.odyssey.handlers import (
        AudioFrameCallback,
        BroadcastReadyCallback,
        ConnectedCallback,
        DisconnectedCallback,
        ErrorCallback,
        InteractAcknowledgedCallback,
        StatusChangeCallback,
        StreamEndedCallback,
        StreamErrorCallback,
        StreamStartedCallback,
        VideoFrameCallback,
    )
    from salon.clients.odyssey.simulations import Script

START_S: Final = 60.0
"""Longest wait for `stream_started`; a server may rewrite the prompt first."""
INTERACT_S: Final = 30.0
"""Longest wait for `update_acknowledged`."""
END_S: Final = 30.0
"""Longest wait for `stream_ended`."""


class Odyssey:
    """A client of the interactive-video service: one connection, streams one after another.

    ``Odyssey(api_key, **settings)`` takes the fields of `ClientConfig`; versions up to 1.1.1 passed
    ``dev=DevConfig(...)``, which still works (O1). `enable_telemetry` is off unless asked for
    (O105). As an async context manager it disconnects at the end. For one event loop.
    """

    def __init__(
        self,
        api_key: str = "",
        *,
        enable_telemetry: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        **settings: Any,
    ) -> None:
        self._config: ClientConfig = make_config(api_key, settings)
        self._clock = clock
        self._broker = Broker(self._config, clock=clock)
        self._telemetry = Telemetry(self._config, enabled=enable_telemetry)
        self._core = SessionCore(RetrySchedule.of(self._config.advanced))
        debug = self._config.debugging
        self._inbox = Inbox(self._core, self._telemetry, debug=debug, clock=clock)
        self._driver = SessionDriver(
            self._core, self._broker, self._inbox, debug=debug, clock=clock
        )

    # -- connecting -------------------------------------------------------------------------------

    async def connect(
        self,
        on_connected: ConnectedCallback | None = None,
        on_disconnected: DisconnectedCallback | None = None,
        on_video_frame: VideoFrameCallback | None = None,
        on_stream_started: StreamStartedCallback | None = None,
        on_stream_ended: StreamEndedCallback | None = None,
        on_interact_acknowledged: InteractAcknowledgedCallback | None = None,
        on_broadcast_ready: BroadcastReadyCallback | None = None,
        on_stream_error: StreamErrorCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_status_change: StatusChangeCallback | None = None,
        *,
        on_audio_frame: AudioFrameCallback | None = None,
        reconnect: bool = False,
    ) -> bool:
        """Connect and return True (O62) when a stream can be started: within 30 s of the open
        socket (O74).

        Callbacks may be functions or coroutine functions; functions are called at once, before the
        call they answer returns (O54). With `reconnect` a connection that is lost is made anew,
        with a new session: the status is RECONNECTING meanwhile, streams must be started again.
        It is not for a server that says goodbye (close code 1000) or that the time is up.

        Raises `OdysseyAuthError`, `OdysseyConnectionError`, `OdysseyUsageError` (section 9). While
        connected it returns at once and the callbacks stay those of before (O64). Cancelled, it
        disconnects.
        """
        handlers = OdysseyEventHandlers(
            on_connected,
            on_disconnected,
            on_video_frame,
            on_stream_started,
            on_stream_ended,
            on_interact_acknowledged,
            on_broadcast_ready,
            on_stream_error,
            on_error,
            on_status_change,
            on_audio_frame,
        )
        direct = self._config.direct
        plan = DirectPlan(self._config.dev) if direct else BrokerPlan(self._broker)
        return await self._connect(plan, handlers, reconnect)

    async def connect_with_credentials(
        self,
        credentials: ClientCredentials,
        on_connected: ConnectedCallback | None = None,
        on_disconnected: DisconnectedCallback | None = None,
        on_video_frame: VideoFrameCallback | None = None,
        on_stream_started: StreamStartedCallback | None = None,
        on_stream_ended: StreamEndedCallback | None = None,
        on_interact_acknowledged: InteractAcknowledgedCallback | None = None,
        on_broadcast_ready: BroadcastReadyCallback | None = None,
        on_stream_error: StreamErrorCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_status_change: StatusChangeCallback | None = None,
        *,
        on_audio_frame: AudioFrameCallback | None = None,
        reconnect: bool = False,
    ) -> bool:
        """As `connect`, with credentials made elsewhere: no key, no call to the HTTP interface. A
        reconnect uses the same token, as long as the server takes it."""
        handlers = OdysseyEventHandlers(
            on_connected,
            on_disconnected,
            on_video_frame,
            on_stream_started,
            on_stream_ended,
            on_interact_acknowledged,
            on_broadcast_ready,
            on_stream_error,
            on_error,
            on_status_change,
            on_audio_frame,
        )
        return await self._connect(CredentialsPlan(credentials), handlers, reconnect)

    async def _connect(self, plan: Plan, handlers: OdysseyEventHandlers, reconnect: bool) -> bool:
        try:
            await self._driver.connect(
                plan, reconnect=reconnect, begun=lambda: self._inbox.begin(handlers)
            )
        except OdysseyError as error:
            if self.current_status is ConnectionStatus.FAILED:
                self._telemetry.failure(error, self.current_status, self.current_session_id)
            raise
        return True

    async def create_client_credentials(self) -> ClientCredentials:
        """A session for somebody else to connect to with `connect_with_credentials`, for as long as
        its `expires_in` (s) says. Needs a key: `ValueError` without; else raises as `connect`."""
        self._config.require_api_key()
        try:
            async with self._broker.hold():
                grant = await self._broker.request_session()
                token = await self._broker.session_token(grant.session_id)
            return ClientCredentials(
                grant.signaling_url, token.value, token.expires_in, grant.capabilities
            )
        except MissingApiKeyError:
            raise
        except (OdysseyError, ValueError) as error:
            failure = connect_error(error)
            if failure is error:
                raise
            raise failure from error

    async def disconnect(self) -> None:
        """End whatever there is and let go of it; safe in any state (O63). Calls that wait fail
        with `OdysseyConnectionError`. Coroutines of callbacks get 5 s, then they are cancelled; one
        that calls this itself is not waited for by another that does.
        If this call is cancelled the connection is over all the same; what still closes does so by
        itself, and another call waits for it."""
        session_id = self.current_session_id
        await self._driver.disconnect()
        self._telemetry.disconnected(session_id)
        await self._telemetry.close()
        await self._inbox.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    # -- streams ----------------------------------------------------------------------------------

    async def start_stream(
        self,
        prompt: str = "",
        portrait: bool = True,
        image: ImageInput | None = None,
        image_path: str | None = None,
        bypass_prompt_expansion: bool | None = None,
        broadcast: bool = False,
        *,
        timeout: float | None = START_S,
    ) -> str:
        """Start a stream, upright 704x1280 or lying 1280x704 (O61), and return its id.

        `image` is what it begins with: a path, a data URL, bytes, a Pillow image or uint8[h, w, 3].
        `OdysseyStreamError` unless connected (O60), if the service said that the streamer takes no
        images (D14), if it refuses, or after `timeout` s (None: no limit); `OdysseyUsageError` for
        a limit of the account (O77); `ValueError` for what is no image; `OdysseyConnectionError` if
        the connection ends meanwhile.
        """
        if image_path is not None:
            text = "image_path is deprecated: give the path as image"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            image = image_path if image is None else image
        self._core.require_connected(CallKind.START)
        data_url = None
        if image is not None:
            self._require_images()
            data_url = await image_data_url(image, portrait=portrait)
            self._core.require_connected(CallKind.START)
        request = StreamRequest(prompt, portrait, data_url, bypass_prompt_expansion, broadcast)
        stream_id = await self._driver.call(
            lambda stream, now, limit: stream.start(
                request, now, channel_bytes=limit, timeout_s=timeout
            )
        )
        return stream_id or ""

    def _require_images(self) -> None:
        known = self.capabilities
        if known is not None and known.stated and not known.image_to_video:
            raise OdysseyStreamError(
                "Cannot start stream: this streamer takes no images (image_to_video is false)"
            )

    async def interact(self, prompt: str, *, timeout: float | None = INTERACT_S) -> str:
        """Change the running stream by `prompt`; returns the prompt as applied.

        Several may wait; they are answered in order (D6). Errors as for `start_stream`;
        `ConnectionError` if the channel to the streamer is closed (O51).
        """
        self._core.require_connected(CallKind.INTERACT)
        applied = await self._driver.call(
            lambda stream, now, limit: stream.interact(
                prompt, now, channel_bytes=limit, timeout_s=timeout
            )
        )
        return applied or ""

    async def end_stream(self, *, timeout: float | None = END_S) -> None:
        """End the running stream; the connection stays. Errors as for `interact`."""
        self._core.require_connected(CallKind.END)
        await self._driver.call(
            lambda stream, now, limit: stream.end(now, channel_bytes=limit, timeout_s=timeout)
        )

    # -- what comes -------------------------------------------------------------------------------

    def frames(self) -> Reader[VideoFrame]:
        """Pictures for ``async for``: always the newest, `missed` counts the ones between. It ends
        when the connection ends for good, and at once if there is none under way."""
        return self._inbox.pictures.reader()

    def audio(self) -> Reader[AudioFrame]:
        """Sound for ``async for``, if the stream has any; at most a second behind. Ends as
        `frames` does."""
        return self._inbox.sounds.reader()

    def events(self) -> Reader[OdysseyEvent]:
        """What the callbacks are told, from now on, for ``async for``. Ends as `frames` does, after
        the last event."""
        return self._inbox.events.reader()

    @property
    def is_connected(self) -> bool:
        """Whether a stream can be started."""
        return self.current_status is ConnectionStatus.CONNECTED

    @property
    def current_status(self) -> ConnectionStatus:
        """Where the connection stands."""
        return self._core.status

    @property
    def current_session_id(self) -> str | None:
        """The id of the session; None before one is known and after `disconnect`."""
        return self._core.session_id

    @property
    def last_applied_prompt(self) -> str | None:
        """What the streamer made of the last prompt (O53)."""
        return self._core.last_applied_prompt

    @property
    def capabilities(self) -> StreamerCapabilities | None:
        """What the streamer can do (O20); None if the session did not come from the service."""
        session = self._driver.session
        return session.capabilities if session is not None else None

    def statistics(self) -> ClientStatistics:
        """Figures of the connection so far."""
        link = self._driver.link
        viewer = link.statistics() if link is not None else None
        dropped = viewer.video.dropped if viewer is not None else 0
        return ClientStatistics(
            frames=self._inbox.frames,
            frames_dropped=dropped + self._inbox.callbacks.frames_dropped,
            callbacks_dropped=self._inbox.callbacks.events_dropped,
            late_answers=self._core.stream.pending.late,
            ignored=self._core.ignored + self._core.stream.ignored,
            viewer=viewer,
        )

    # -- recordings and simulations ---------------------------------------------------------------

    async def get_recording(self, stream_id: str) -> Recording:
        """The files of a stream; see `recordings`. Needs a key, no connection."""
        return await recordings.get_recording(self._broker, stream_id)

    async def list_stream_recordings(
        self, limit: int | None = None, offset: int | None = None
    ) -> StreamRecordingsList:
        """A page of the streams of this key, newest first."""
        return await recordings.list_stream_recordings(self._broker, limit=limit, offset=offset)

    async def simulate(
        self,
        *,
        script: Script | None = None,
        scripts: Sequence[Script] | None = None,
        script_url: str | None = None,
        portrait: bool = True,
        bypass_prompt_expansion: bool | None = None,
    ) -> SimulationJobDetail:
        """Have a script, or several, rendered offline (O92, O93)."""
        return await simulations.simulate(
            self._broker,
            script=script,
            scripts=scripts,
            script_url=script_url,
            portrait=portrait,
            bypass_prompt_expansion=bypass_prompt_expansion,
        )

    async def get_simulate_status(self, job_id: str) -> SimulationJobDetail:
        """How far a job is, and its streams (O95)."""
        return await simulations.get_simulate_status(self._broker, job_id)

    async def list_simulations(
        self,
        *,
        status: SimulationJobStatus | str | None = None,
        active: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> SimulationJobsList:
        """A page of the jobs of this key (O96)."""
        return await simulations.list_simulations(
            self._broker, status=status, active=active, limit=limit, offset=offset
        )

    async def cancel_simulation(self, job_id: str) -> SimulationJobInfo:
        """Cancel a job that has not begun (O97)."""
        return await simulations.cancel_simulation(self._broker, job_id)
