"""A client for prompt-driven live video, compatible with the published Python one (O3).

    client = Odyssey(api_key)
    await client.connect(on_video_frame=show)
    await client.start_stream("a lighthouse in a storm", portrait=False)
    await client.interact("the storm calms down")
    await client.disconnect()

Needs the extra "odyssey" (`aiohttp`, `websockets`, `aiortc`); images as arrays or to be resized
also Pillow.
"""

try:
    from salon.clients.odyssey.client import Odyssey
    from salon.clients.odyssey.config import (
        COMPATIBLE_VERSION,
        AdvancedConfig,
        ClientConfig,
        DevConfig,
    )
    from salon.clients.odyssey.credentials import ClientCredentials
    from salon.clients.odyssey.errors import (
        AccountSuspendedError,
        ConcurrentLimitReachedError,
        MonthlyLimitReachedError,
        OdysseyAuthError,
        OdysseyConnectionError,
        OdysseyError,
        OdysseyStreamError,
        OdysseyUsageError,
        RateLimitError,
        StreamDurationExceededError,
    )
    from salon.clients.odyssey.feeds import OdysseyEvent
    from salon.clients.odyssey.handlers import (
        AudioFrameCallback,
        BroadcastReadyCallback,
        ConnectedCallback,
        DisconnectedCallback,
        ErrorCallback,
        InteractAcknowledgedCallback,
        OdysseyEventHandlers,
        StatusChangeCallback,
        StreamEndedCallback,
        StreamErrorCallback,
        StreamStartedCallback,
        VideoFrameCallback,
    )
    from salon.clients.odyssey.spectator import SpectatorConnection, connect_to_stream
    from salon.clients.odyssey.statistics import ClientStatistics
    from salon.clients.odyssey.types import (
        AudioFrame,
        BroadcastInfo,
        ConnectionStatus,
        Recording,
        SimulationJobDetail,
        SimulationJobInfo,
        SimulationJobsList,
        SimulationJobStatus,
        SimulationStream,
        StreamerCapabilities,
        StreamRecordingInfo,
        StreamRecordingsList,
        VideoFrame,
    )
except ModuleNotFoundError as error:
    from salon.base import MissingExtraError

    if error.name is None or error.name.startswith("salon"):
        raise
    raise MissingExtraError("odyssey", f"the interactive-video client ({error.name})") from None

__version__ = COMPATIBLE_VERSION
"""The version of the published client whose interface this is."""

__all__ = [
    "AccountSuspendedError",
    "AdvancedConfig",
    "AudioFrame",
    "AudioFrameCallback",
    "BroadcastInfo",
    "BroadcastReadyCallback",
    "ClientConfig",
    "ClientCredentials",
    "ClientStatistics",
    "ConcurrentLimitReachedError",
    "ConnectedCallback",
    "ConnectionStatus",
    "DevConfig",
    "DisconnectedCallback",
    "ErrorCallback",
    "InteractAcknowledgedCallback",
    "MonthlyLimitReachedError",
    "Odyssey",
    "OdysseyAuthError",
    "OdysseyConnectionError",
    "OdysseyError",
    "OdysseyEvent",
    "OdysseyEventHandlers",
    "OdysseyStreamError",
    "OdysseyUsageError",
    "RateLimitError",
    "Recording",
    "SimulationJobDetail",
    "SimulationJobInfo",
    "SimulationJobStatus",
    "SimulationJobsList",
    "SimulationStream",
    "SpectatorConnection",
    "StatusChangeCallback",
    "StreamDurationExceededError",
    "StreamEndedCallback",
    "StreamErrorCallback",
    "StreamRecordingInfo",
    "StreamRecordingsList",
    "StreamStartedCallback",
    "StreamerCapabilities",
    "VideoFrame",
    "VideoFrameCallback",
    "__version__",
    "connect_to_stream",
]
