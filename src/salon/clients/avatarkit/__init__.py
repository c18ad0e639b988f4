"""Client of the avatar session protocol: sound in, animation out.

Needs the extra "avatarkit" (aiohttp, websockets, protobuf); encoding Ogg Opus needs libopus and
numpy too (extra "voice"). `__all__` has the names of the published SDK (A88); the pool and its
collector (A109) are public besides.
"""

from salon.base import MissingExtraError

try:
    from salon.clients.avatarkit.avatar_session import AvatarSession, new_avatar_session
    from salon.clients.avatarkit.collector import AnimationCollector as AnimationCollector
    from salon.clients.avatarkit.errors import (
        AvatarSDKError,
        AvatarSDKErrorCode,
        SessionTokenError,
    )
    from salon.clients.avatarkit.logid import generate_log_id
    from salon.clients.avatarkit.pool import AvatarConnectionPool as AvatarConnectionPool
    from salon.clients.avatarkit.pool import PooledConnection as PooledConnection
    from salon.clients.avatarkit.session_config import (
        AgoraEgressConfig,
        AudioFormat,
        LiveKitEgressConfig,
        OggOpusEncoderConfig,
        SessionConfig,
        SessionConfigBuilder,
    )
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("aiohttp", "google", "websockets"):
        raise
    raise MissingExtraError("avatarkit", "an avatar session") from error

__version__ = "0.1.7"
"""The release of the protocol's published SDK whose surface this is."""

__all__ = [
    "AgoraEgressConfig",
    "AudioFormat",
    "AvatarSDKError",
    "AvatarSDKErrorCode",
    "AvatarSession",
    "LiveKitEgressConfig",
    "OggOpusEncoderConfig",
    "SessionConfig",
    "SessionConfigBuilder",
    "SessionTokenError",
    "generate_log_id",
    "new_avatar_session",
]
