"""What a bridge is told, what it tells, and the shapes of what can be hung into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from salon.base import ConfigurationError

if TYPE_CHECKING:
    from salon.media.frame import AudioChunk, AudioFrame
    from salon.voice.backends.session import VoiceSession
    from salon.voice.hook_payloads import BridgeAudioEvent
    from salon.voice.pipeline.mixer.base import MixerProvider

MixingStrategy = Literal["forward", "mix"]

BridgeFrameFilter = Callable[["VoiceSession", "AudioFrame"], "AudioFrame | None"]
"""Source and frame; gives the frame to bridge, or None to drop it."""
BridgeFrameProcessor = Callable[["VoiceSession", "AudioFrame"], "AudioChunk"]
"""Target and frame; gives the chunk for the target's backend: the outbound stages (V134)."""
BridgeAudioFilter = Callable[["BridgeAudioEvent"], "AudioFrame | None"]
"""What BEFORE_BRIDGE_AUDIO is about as a plain function, for work on every frame."""
Deliver = Callable[["VoiceSession", "AudioFrame"], None]
"""Target and what it hears, at the target's rate."""


class BridgeFullError(ConfigurationError, RuntimeError):
    """One more session than the room's strategy or `max_participants` allows (V138)."""

    code = "bridge_full"


@dataclass
class AudioBridgeConfig:
    """`enabled=False`: members are kept, sound is not moved. ``forward`` is for two parties, each
    frame goes to the other one; ``mix`` is for up to `max_participants`, each hears the sum of all
    others. `mixer` replaces the built-in sum, at a call per listener and window.

    `ConfigurationError` for another strategy or less than 2 participants.
    """

    enabled: bool = True
    max_participants: int = 10
    mixing_strategy: MixingStrategy = "forward"
    mixer: MixerProvider | None = None

    def __post_init__(self) -> None:
        if self.mixing_strategy not in ("forward", "mix"):
            raise ConfigurationError(
                f'mixing_strategy is {self.mixing_strategy!r}, not "forward" or "mix"'
            )
        if self.max_participants < 2:
            raise ConfigurationError(f"max_participants is {self.max_participants}, not 2 or more")

    @property
    def places(self) -> int:
        """How many sessions a room takes."""
        return 2 if self.mixing_strategy == "forward" else self.max_participants


@dataclass(frozen=True, slots=True)
class SourceStatistics:
    """One source's queue: frames waiting, times it ran dry, frames dropped because it was full,
    frames taken out against delay."""

    depth: int
    underruns: int
    overflows: int
    shed: int

    def plus(self, other: SourceStatistics) -> SourceStatistics:
        """Both together."""
        return SourceStatistics(
            self.depth + other.depth,
            self.underruns + other.underruns,
            self.overflows + other.overflows,
            self.shed + other.shed,
        )


@dataclass(frozen=True, slots=True)
class BridgeStatistics:
    """Figures since the bridge was made; `underruns`, `overflows` and `shed` are sums of
    `SourceStatistics`, of those who left as well.

    `frames` came in; `unknown` of them from sessions that are not members, `blocked` were dropped
    by a filter. `windows` are rooms' windows in which somebody was heard. `untaken` were mixed and
    not fetched before the next, `undelivered` piled up before a slow target, `delivery_failures`
    raised there. `filter_failures` raised or gave no frame, `slow_filters` took over 1 ms.
    """

    sessions: int
    rooms: int
    frames: int
    unknown: int
    blocked: int
    windows: int
    untaken: int
    undelivered: int
    delivery_failures: int
    filter_failures: int
    slow_filters: int
    underruns: int
    overflows: int
    shed: int
