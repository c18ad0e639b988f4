"""A stand-in for an avatar service: console and ingress on loopback, with faults on demand.

Sans-IO below (`session`, `http`, `request`, `sound`, `animator`), aiohttp above (`stand_in`).
``python -m salon.testing.avatar`` runs one in a process of its own. Needs the extras "avatarkit"
and "voice" (numpy).
"""

from salon.base import MissingExtraError

try:
    from salon.testing.avatar.actions import Action, Close, Drop, Send, SendText
    from salon.testing.avatar.faults import (
        AnimationFault,
        Fail,
        Faults,
        HandshakeFault,
        HttpFault,
        RuntimeFault,
        console_body,
        console_error,
        ending,
        handshake_rows,
        nonsense,
        upgrade_error,
        upgrade_rows,
    )
    from salon.testing.avatar.record import RequestRecord, SessionRecord
    from salon.testing.avatar.session import AvatarServerSession
    from salon.testing.avatar.settings import (
        API_KEY,
        APP_ID,
        AVATAR_ID,
        PLAYBACK_CONTROL,
        PLAYBACK_STATE,
        App,
        AvatarSettings,
    )
    from salon.testing.avatar.stand_in import AvatarStandIn
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("aiohttp", "google", "numpy"):
        raise
    raise MissingExtraError("avatarkit,voice", "a stand-in for an avatar service") from error

__all__ = [
    "API_KEY",
    "APP_ID",
    "AVATAR_ID",
    "PLAYBACK_CONTROL",
    "PLAYBACK_STATE",
    "Action",
    "AnimationFault",
    "App",
    "AvatarServerSession",
    "AvatarSettings",
    "AvatarStandIn",
    "Close",
    "Drop",
    "Fail",
    "Faults",
    "HandshakeFault",
    "HttpFault",
    "RequestRecord",
    "RuntimeFault",
    "Send",
    "SendText",
    "SessionRecord",
    "console_body",
    "console_error",
    "ending",
    "handshake_rows",
    "nonsense",
    "upgrade_error",
    "upgrade_rows",
]
