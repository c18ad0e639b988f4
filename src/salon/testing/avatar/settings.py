"""What the stand-in serves, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

API_KEY: Final = "stand-in-key"
APP_ID: Final = "stand-in-app"
AVATAR_ID: Final = "stand-in-avatar"

PCM_RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Hz of PCM (A37)."""
OPUS_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Hz of Ogg Opus (A37)."""

PLAYBACK_CONTROL: Final = "playback_control"
PLAYBACK_STATE: Final = "playback_state"


@dataclass(frozen=True, slots=True)
class App:
    """The owner of an API key (A6). Without `credits` its sessions are denied (A22)."""

    app_id: str
    credits: bool = True


def _one_app() -> Mapping[str, App]:
    return MappingProxyType({API_KEY: App(APP_ID)})


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarSettings:
    """Settings of a stand-in. Limits that are None are off (A68)."""

    apps: Mapping[str, App] = field(default_factory=_one_app, repr=False)
    """API key to the app that owns it."""
    avatars: frozenset[str] = frozenset({AVATAR_ID})
    """Ids of avatars that exist."""
    handshake_timeout_s: float = 10.0
    """How long the first message may take (A36)."""
    batch_frames: int = 25
    """Most keyframes in one message (A53)."""
    pace: float | None = None
    """Keyframes leave at so many times real time, counted from the request's first sound; None: as
    soon as they are known."""
    extension: bool = True
    """Whether animation carries the open form besides FLAME (A122)."""
    livekit_egress: bool = True
    """Whether LiveKit egress is taken. The stand-in joins no room: it keeps the time of playout and
    sends the signals of it (A103)."""
    capabilities: tuple[str, ...] = ()
    """Named in the confirmation of an egress session: `PLAYBACK_CONTROL`, `PLAYBACK_STATE`."""
    pause_timeout_s: float = 60.0
    """How long playout may be held (A61)."""
    max_sessions: int | None = None
    """Sessions at once; one more is refused with 4003."""
    max_session_s: float | None = None
    """Length of a session; then 4002."""
    idle_timeout_s: float | None = None
    """Time without sound after which the session is ended."""
    max_message_bytes: int = 8 << 20
    """Longest message taken; a longer one closes with 1009 (A41)."""
    max_waiting_bytes: int = 32 << 20
    """Sound of one session that may wait to be worked on; more closes with 1008."""
    max_waiting_requests: int = 64
    """Requests of one session that may wait; more closes with 1008."""
    ping_interval_s: float = 25.0
    """Own pings (A19)."""
    compress: bool = False
    """Whether permessage-deflate is taken when offered."""

    def __post_init__(self) -> None:
        if self.batch_frames < 1:
            raise ValueError(f"batch_frames must be at least 1, not {self.batch_frames}")
        if self.pace is not None and self.pace <= 0:
            raise ValueError(f"pace must be above 0, not {self.pace}")
