"""What a stand-in is set to before it starts; what may change while it runs is in `faults`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

API_KEY: Final = "ody_stand_in_key_0001"
"""A key that a stand-in on defaults knows."""
OTHER_KEY: Final = "ody_stand_in_key_0002"
"""A key of somebody else."""
SUSPENDED_KEY: Final = "ody_stand_in_key_0003"
"""A key that answers 403."""

SOCKET_BYTES: Final = 64 * 1024 * 1024 + 1024
"""A message on the signaling socket may have 64 MiB (O31)."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who an API key belongs to; `suspended` is the reason it is refused with 403 (O13)."""

    name: str
    suspended: str | None = None
    may_bypass: bool = True
    """Whether simulations of this account may switch prompt expansion off (O94)."""


def _accounts() -> dict[str, Account]:
    return {
        API_KEY: Account("tester"),
        OTHER_KEY: Account("other"),
        SUSPENDED_KEY: Account("former", suspended="API key has been suspended"),
    }


@dataclass(frozen=True, slots=True)
class StandInSettings:
    """Every limit of a server as a setting (checklist 12). None switches a limit off."""

    accounts: Mapping[str, Account] = field(default_factory=_accounts, repr=False)
    streamers: int = 4
    """Connections at once; a further one gets 503 (O17)."""
    image_to_video: bool = True
    regions: tuple[str, ...] = ("local",)
    access_token_s: int = 3600
    session_token_s: int = 600
    claim_s: float = 60.0
    """How long a streamer waits for the socket of a session."""
    tokenless: bool = False
    """Take sockets without a token, for a session id of the client's own making (O9)."""
    own_stun: bool = True
    """Answer STUN and name the responder in ``/config``; else its list is empty (O44)."""

    fps: int = 24
    portrait: tuple[int, int] = (704, 1280)
    """Width and height; a landscape picture has them the other way round (O61)."""
    expand_prompts: bool = False
    """Rewrite prompts unless a start says to bypass that."""

    silence_s: float = 40.0
    """A client that says nothing for so long is dropped (O35)."""
    idle_s: float | None = None
    """The same for a connection without a stream (O35)."""
    connection_s: float | None = None
    stream_s: float | None = None
    sessions_per_account: int | None = None
    streams_per_account: int | None = None
    queued_jobs: int | None = None
    simulation_s: float = 150.0
    """The longest script."""
    prompt_chars: int = 10_000
    image_bytes: int = 25 * 1024 * 1024
    image_pixels: int = 50_000_000

    record: bool = True
    url_s: int = 3600
    """How long a signed address of a file holds (O88)."""
    broadcast_frames: int = 3
    """So many frames after the start a broadcast is ready (O79)."""
    most_spectators: int = 8
    most_kept: int = 500
    """Recordings, jobs and telemetry events kept; the oldest go first."""

    def size(self, *, portrait: bool) -> tuple[int, int]:
        """Width and height of a picture."""
        width, height = self.portrait
        return (width, height) if portrait else (height, width)
