"""What the sessions of a gateway share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salon.base import Clock
from salon.gateway.bus import EventBus
from salon.gateway.handlers import CallHandler, ControllerHandler
from salon.gateway.options import CallOption
from salon.gateway.query import CallQuery
from salon.gateway.sounds import SoundLoader
from salon.voice.engine import VoiceEngine
from salon.voice.events import TurnMeasured
from salon.voice.recorder import StereoRecorder

if TYPE_CHECKING:
    from salon.gateway.session import Session


@dataclass(slots=True)
class SessionServices:
    """What every session of a gateway shares."""

    engine: VoiceEngine
    bus: EventBus
    sounds: SoundLoader
    handler_for: Callable[[CallQuery], CallHandler] = lambda _query: ControllerHandler()
    recorder_for: Callable[[Session, CallOption], StereoRecorder | None] = lambda _s, _o: None
    on_ended: Callable[[Session], None] = lambda _session: None
    on_answered: Callable[[Session], None] = lambda _session: None
    on_measured: Callable[[TurnMeasured], None] = lambda _turn: None
    pcm_out_rate: int = 16_000

    @property
    def clock(self) -> Clock:
        """The clock of all calls."""
        return self.engine.clock
