"""What the sessions of a gateway share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from salon.base import Clock
from salon.gateway.bus import EventBus
from salon.gateway.commands import Command
from salon.gateway.companions import Companion
from salon.gateway.early import EARLY_SECONDS
from salon.gateway.ears import Ears
from salon.gateway.handlers import CallHandler, ControllerHandler
from salon.gateway.options import CallOption
from salon.gateway.query import CallQuery
from salon.gateway.rights import ALL_RIGHTS, CallRights
from salon.gateway.sounds import SoundLoader
from salon.gateway.voices import Voices
from salon.voice.engine import VoiceEngine
from salon.voice.events import TurnMeasured
from salon.voice.recorder import StereoRecorder

if TYPE_CHECKING:
    from salon.gateway.session import Session

Action = Callable[["Session", Any], Awaitable[None]]
"""Carries out one kind of command; a `SalonError` is told to the client (G32)."""


_BY_ENGINE: Any = None
"""Left to `SessionServices.engine`."""


@dataclass(slots=True)
class SessionServices:
    """What every session of a gateway shares.

    `voices` and `ears` choose among those of `engine` unless given. `rights_for` is asked while the
    connection is decided on. `invite_timeout` is how long a connection may wait before it invites,
    in seconds, 0 = for ever (G22); `early_seconds` how much sound from before that is kept (G43).
    """

    engine: VoiceEngine
    bus: EventBus
    sounds: SoundLoader
    handler_for: Callable[[CallQuery], CallHandler] = lambda _query: ControllerHandler()
    recorder_for: Callable[[Session, CallOption], StereoRecorder | None] = lambda _s, _o: None
    on_ended: Callable[[Session], None] = lambda _session: None
    on_answered: Callable[[Session], None] = lambda _session: None
    on_measured: Callable[[TurnMeasured], None] = lambda _turn: None
    pcm_out_rate: int = 16_000
    companions: Callable[[Session], tuple[Companion, ...]] = lambda _session: ()
    actions: Mapping[type[Command], Action] = field(default_factory=dict)
    find: Callable[[str], Session | None] = lambda _id: None
    """A live session by its id; the gateway sets it."""
    rights_for: Callable[[CallQuery], CallRights] = lambda _query: ALL_RIGHTS
    invite_timeout: float = 0.0
    early_seconds: float = EARLY_SECONDS
    voices: Voices = _BY_ENGINE
    ears: Ears = _BY_ENGINE

    def __post_init__(self) -> None:
        self.voices = self.voices or Voices(self.engine)
        self.ears = self.ears or Ears(self.engine)

    @property
    def clock(self) -> Clock:
        """The clock of all calls."""
        return self.engine.clock
