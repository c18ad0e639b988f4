"""What a turn machine is told once: how to hear turns and when the caller may cut the agent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from salon.base import ConfigurationError
from salon.voice.turns.backchannel import BACKCHANNELS

WINDOW_MS = 32
"""Length of one voice activity window (512 samples at 16 kHz)."""

MAX_PRE_ROLL_MS = 2000


class InterruptionStrategy(StrEnum):
    """What speech over the agent does (V115)."""

    IMMEDIATE = "immediate"
    """Cut as soon as speech is detected."""
    CONFIRMED = "confirmed"
    """Cut once speech has lasted `min_speech_ms`; what is shorter is dropped (V116, V117)."""
    SEMANTIC = "semantic"
    """Cut on words that are more than a backchannel (V118, V244, V245)."""
    DISABLED = "disabled"
    """Never cut. The turn is reported all the same: whoever routes it queues it (V125)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnConfig:
    """How turns are heard. Times in ms, thresholds are speech probabilities.

    Raises `ConfigurationError` naming the field when a value makes no sense.
    """

    strategy: InterruptionStrategy = InterruptionStrategy.CONFIRMED
    min_speech_ms: int = 300
    """Speech over the agent that counts as meant (`CONFIRMED`; `SEMANTIC` when no words come)."""
    transcript_wait_ms: int = 1000
    """`SEMANTIC`: speech without words cuts after ``max(min_speech_ms, transcript_wait_ms)``. Set
    it to 0 when the recogniser gives no partial results (V244)."""
    allow_during_first_ms: int = 0
    """No interruption before that much of the agent's utterance has been heard (V124)."""
    threshold: float = 0.5
    """A window at least this probable starts speech."""
    end_threshold: float = 0.35
    """Once speech has started, a window at least this probable continues it."""
    end_silence_ms: int = 300
    """Silence that ends a turn, before anything is known of the speaker."""
    min_end_silence_ms: int = 200
    max_end_silence_ms: int = 700
    adaptive: bool = True
    """Adapt the end silence to the speaker, see `EndSilence`."""
    min_turn_ms: int = 90
    """A turn with less voiced speech than this is a false start."""
    pre_roll_ms: int = 200
    """How much before the onset an utterance begins: soft first consonants (V155)."""
    max_turn_ms: int = 30_000
    """A turn is cut off here; what follows is the next turn."""
    backchannels: frozenset[str] = BACKCHANNELS
    """`SEMANTIC`: words and phrases that only say "I am listening". Not used by a machine that was
    given a classifier."""
    speculate_after_ms: int | None = None
    """A pause this long, shorter than the end silence, asks for an answer to be prepared
    (`Speculate`). None: never."""

    def __post_init__(self) -> None:
        known = [str(member) for member in InterruptionStrategy]
        if self.strategy not in known:
            raise ConfigurationError(
                f"strategy is {self.strategy!r}; it must be one of {', '.join(known)}"
            )
        object.__setattr__(self, "strategy", InterruptionStrategy(self.strategy))
        self._check_thresholds()
        self._check_times()

    def _check_thresholds(self) -> None:
        if not 0 < self.threshold < 1:
            raise ConfigurationError(f"threshold is {self.threshold}; it must lie between 0 and 1")
        if not 0 < self.end_threshold <= self.threshold:
            raise ConfigurationError(
                f"end_threshold is {self.end_threshold}; it must be above 0 and at most threshold "
                f"({self.threshold})"
            )

    def _check_times(self) -> None:
        for name in ("min_speech_ms", "transcript_wait_ms", "allow_during_first_ms", "min_turn_ms"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 <= self.pre_roll_ms <= MAX_PRE_ROLL_MS:
            raise ConfigurationError(
                f"pre_roll_ms is {self.pre_roll_ms}; it must lie in 0..{MAX_PRE_ROLL_MS}"
            )
        if self.speculate_after_ms is not None and self.speculate_after_ms < WINDOW_MS:
            raise ConfigurationError(
                f"speculate_after_ms is {self.speculate_after_ms}; it must be at least {WINDOW_MS} "
                "(one window)"
            )
        if self.min_end_silence_ms < 2 * WINDOW_MS:
            raise ConfigurationError(
                f"min_end_silence_ms is {self.min_end_silence_ms}; it must be at least "
                f"{2 * WINDOW_MS} (two windows)"
            )
        if not self.min_end_silence_ms <= self.end_silence_ms <= self.max_end_silence_ms:
            raise ConfigurationError(
                f"end_silence_ms is {self.end_silence_ms}; it must lie between min_end_silence_ms "
                f"({self.min_end_silence_ms}) and max_end_silence_ms ({self.max_end_silence_ms})"
            )
        least = self.min_turn_ms + self.max_end_silence_ms
        if self.max_turn_ms < least:
            raise ConfigurationError(
                f"max_turn_ms is {self.max_turn_ms}; it must be at least min_turn_ms + "
                f"max_end_silence_ms ({least})"
            )
