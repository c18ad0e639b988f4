"""What speech over the agent does: RoomKit's surface over the decisions of `salon.voice.turns`.

`InterruptionHandler` answers single questions and keeps nothing between them; a call is decided by
`TurnMachine` or `SegmentMachine`, configured with `turn_config_of` and `classifier_of`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from salon.base import RAISED, ConfigurationError
from salon.voice.pipeline.backchannel.base import (
    BackchannelContext,
    BackchannelDecision,
    BackchannelDetector,
)
from salon.voice.turns.config import MAX_PRE_ROLL_MS, WINDOW_MS, InterruptionStrategy, TurnConfig

__all__ = [
    "InterruptionConfig",
    "InterruptionDecision",
    "InterruptionHandler",
    "InterruptionStrategy",
    "classifier_of",
    "echoes",
    "interruption_of",
    "turn_config_of",
]

_log = logging.getLogger("salon.voice")

LOOK_AGAIN_MS = 100
"""When to look again at words that may still become a backchannel."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass
class InterruptionConfig:
    """How the caller interrupts the agent. Times in ms.

    Raises `ConfigurationError` naming the field when a value makes no sense.
    """

    strategy: InterruptionStrategy = InterruptionStrategy.CONFIRMED
    min_speech_ms: int = 300
    """Speech that counts as meant (`CONFIRMED`; `SEMANTIC` when no words come)."""
    allow_during_first_ms: int = 0
    """No interruption before that much of the answer has been heard (V124, X12)."""
    flush_partial_tts: bool = True
    """Drop what has not been played; False lets the sentence in the buffer play out (V120)."""
    keep_partial_transcript: bool = True
    """Store the part of the answer that was heard (V120, V242)."""
    backchannel_detector: BackchannelDetector | None = None
    """For `SEMANTIC`; None: the built-in word lists."""
    transcript_wait_ms: int = 1000
    """`SEMANTIC`: speech without words cuts after ``max(min_speech_ms, transcript_wait_ms)``, when
    the recogniser gives words while it listens (V244)."""
    echo_guard_ms: int = 6000
    """In the first so many ms of sound a session is played, words that merely repeat the answer are
    its echo, not the caller: an echo canceller has not settled yet. 0: never. Nothing is dropped
    for its time alone (X14)."""
    resume_false_interruption_ms: int | None = None
    """After a cut: if the speech brings no words within so many ms of its end, the agent goes on
    where it was cut. None: a cut is a cut."""

    def __post_init__(self) -> None:
        known = [str(member) for member in InterruptionStrategy]
        if self.strategy not in known:
            raise ConfigurationError(
                f"strategy is {self.strategy!r}; it must be one of {', '.join(known)}"
            )
        self.strategy = InterruptionStrategy(self.strategy)
        for name in (
            *("min_speech_ms", "allow_during_first_ms", "transcript_wait_ms", "echo_guard_ms"),
            "resume_false_interruption_ms",
        ):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigurationError(f"{name} is {value}; it must be 0 or more")


@dataclass
class InterruptionDecision:
    """The answer to one question. At most one of `should_interrupt`, `is_backchannel`, `is_echo`,
    `pending_confirmation` and `queue_speech` holds; none of them: the speech is ignored.

    `pending_confirmation`: ask again in `confirm_after_ms` if the speech still lasts (V116), or
    with the first words when `awaiting_transcript`.
    """

    should_interrupt: bool
    is_backchannel: bool = False
    is_echo: bool = False
    reason: str = ""
    pending_confirmation: bool = False
    confirm_after_ms: int = 0
    awaiting_transcript: bool = False
    queue_speech: bool = False


@dataclass(frozen=True, slots=True)
class _Question:
    speech_ms: int
    text: str
    transcript_expected: bool
    final: bool


class InterruptionHandler:
    """Decides about speech over the agent, whoever noticed it (V115).

    The detector is `backchannel_detector`, else the one of `config`, else the built-in word lists.
    """

    def __init__(
        self,
        config: InterruptionConfig,
        *,
        backchannel_detector: BackchannelDetector | None = None,
    ) -> None:
        self._config = config
        self._detector = backchannel_detector or config.backchannel_detector

    @property
    def config(self) -> InterruptionConfig:
        return self._config

    def evaluate(
        self,
        *,
        playback_position_ms: int,
        speech_duration_ms: int = 0,
        speech_text: str = "",
        transcript_expected: bool = False,
        response_text: str = "",
        session_played_ms: int | None = None,
        speech_final: bool = True,
    ) -> InterruptionDecision:
        """What the speech so far does.

        `playback_position_ms` counts the sound of this answer that was heard (X12),
        `session_played_ms` that of the whole session (None: unknown, taken as little).
        `transcript_expected`: words come while the speech lasts. `speech_final`: `speech_text` will
        not change. `response_text` is what the agent is saying; needed to tell echo.
        """
        config = self._config
        unsettled = session_played_ms is None or session_played_ms < config.echo_guard_ms
        if config.echo_guard_ms and unsettled and echoes(speech_text, response_text):
            return InterruptionDecision(False, is_echo=True, reason="repeats the answer")
        if config.strategy is InterruptionStrategy.DISABLED:
            return InterruptionDecision(False, queue_speech=True, reason="interruption disabled")
        early = config.allow_during_first_ms - playback_position_ms
        if early > 0:
            return InterruptionDecision(
                False,
                reason="too early in the answer",
                pending_confirmation=True,
                confirm_after_ms=early,
            )
        asked = _Question(
            speech_duration_ms, speech_text.strip(), transcript_expected, speech_final
        )
        if config.strategy is InterruptionStrategy.IMMEDIATE:
            return InterruptionDecision(True, reason="speech")
        if config.strategy is InterruptionStrategy.CONFIRMED:
            return self._confirmed(asked)
        return self._semantic(asked)

    def _confirmed(self, asked: _Question) -> InterruptionDecision:
        missing = self._config.min_speech_ms - asked.speech_ms
        if missing > 0:
            return InterruptionDecision(
                False, reason="too short", pending_confirmation=True, confirm_after_ms=missing
            )
        return InterruptionDecision(True, reason="lasted long enough")

    def _semantic(self, asked: _Question) -> InterruptionDecision:
        config = self._config
        wait = config.min_speech_ms
        if asked.transcript_expected:
            wait = max(wait, config.transcript_wait_ms)
        if not asked.text and (asked.speech_ms < wait or not asked.speech_ms):
            return InterruptionDecision(
                False,
                reason="neither words nor duration",
                pending_confirmation=True,
                confirm_after_ms=max(wait - asked.speech_ms, 1),
                awaiting_transcript=True,
            )
        decision = _ask(self._detector, asked.text, asked.speech_ms, asked.final)
        if decision.is_backchannel:
            return InterruptionDecision(False, is_backchannel=True, reason="backchannel")
        if decision.pending:
            return InterruptionDecision(
                False,
                reason="may still become a backchannel",
                pending_confirmation=True,
                confirm_after_ms=LOOK_AGAIN_MS,
                awaiting_transcript=True,
            )
        return InterruptionDecision(True, reason="no backchannel")


def echoes(speech_text: str, response_text: str) -> bool:
    """Whether the words of `speech_text` stand, in this order and without a gap, in
    `response_text`. The last word may be cut short. Without a word: False."""
    said = _WORD.findall(speech_text.casefold())
    answer = _WORD.findall(response_text.casefold())
    if not said:
        return False
    *whole, last = said
    return any(
        answer[at : at + len(whole)] == whole and answer[at + len(whole)].startswith(last)
        for at in range(len(answer) - len(whole))
    )


@lru_cache(maxsize=1)
def _built_in() -> BackchannelDetector:
    from salon.voice.pipeline.backchannel.phrases import PhraseBackchannelDetector

    return PhraseBackchannelDetector()


def _ask(
    detector: BackchannelDetector | None,
    text: str,
    speech_ms: int,
    final: bool,
    session_id: str = "",
) -> BackchannelDecision:
    asked = BackchannelContext(
        transcript=text or None,
        speech_duration_ms=float(speech_ms),
        session_id=session_id,
        is_final=final,
    )
    try:
        decision: object = (detector or _built_in()).classify(asked)
    except RAISED:  # detectors are plugged in; the call goes on (V204)
        _log.exception("backchannel detector %s failed", type(detector).__name__)
        return BackchannelDecision(is_backchannel=False)
    if not isinstance(decision, BackchannelDecision):
        _log.error("backchannel detector %s gave no decision", type(detector).__name__)
        return BackchannelDecision(is_backchannel=False)
    return decision


def classifier_of(
    detector: BackchannelDetector | None = None,
    *,
    session_id: str = "",
    answer: Callable[[], str] | None = None,
) -> Callable[[str, int, bool], BackchannelDecision]:
    """`detector` (None: the built-in word lists) in the shape the machines take
    (`turns.Classify`): words so far, ms of speech, whether the words are final.

    `answer` tells what the agent is saying, or nothing once its echo need not be feared: words that
    only repeat it are dropped like a backchannel, with the label ``echo`` (X14).
    """

    def classify(words: str, speech_ms: int, final: bool) -> BackchannelDecision:
        if answer is not None and words and echoes(words, answer()):
            return BackchannelDecision(is_backchannel=True, label="echo")
        return _ask(detector, words, speech_ms, final, session_id)

    return classify


def interruption_of(
    interruption: InterruptionConfig | None,
    *,
    enable_barge_in: bool = True,
    barge_in_threshold_ms: int | None = None,
) -> InterruptionConfig:
    """`interruption`, or what the legacy settings of a voice channel mean (X1, V247):
    nothing set is `CONFIRMED` after 300 ms without a threshold."""
    if interruption is not None:
        return interruption
    if not enable_barge_in:
        return InterruptionConfig(strategy=InterruptionStrategy.DISABLED)
    return InterruptionConfig(allow_during_first_ms=barge_in_threshold_ms or 0)


class VadSettings(Protocol):
    """The fields of `VADConfig` that matter to turns; None keeps the value of `base` (V239)."""

    @property
    def silence_threshold_ms(self) -> int | None: ...
    @property
    def speech_pad_ms(self) -> int | None: ...
    @property
    def min_speech_duration_ms(self) -> int | None: ...


def turn_config_of(
    interruption: InterruptionConfig | None,
    vad_settings: VadSettings | None = None,
    *,
    partials: bool = True,
    base: TurnConfig | None = None,
) -> TurnConfig:
    """The `TurnConfig` of these settings; the rest comes from `base`.

    `partials`: whether the recogniser gives words while it listens; if not, `SEMANTIC` does not
    wait for them (V244). A silence set by the user is kept to: it does not adapt to the speaker.
    """
    chosen = interruption or InterruptionConfig()
    config = replace(
        base or TurnConfig(),
        strategy=chosen.strategy,
        min_speech_ms=chosen.min_speech_ms,
        transcript_wait_ms=chosen.transcript_wait_ms if partials else 0,
        allow_during_first_ms=chosen.allow_during_first_ms,
    )
    if vad_settings is None:
        return config
    silence, pad = vad_settings.silence_threshold_ms, vad_settings.speech_pad_ms
    if silence is not None:
        silence = max(int(silence), 2 * WINDOW_MS)
        config = replace(
            config,
            end_silence_ms=silence,
            min_end_silence_ms=min(config.min_end_silence_ms, silence),
            max_end_silence_ms=max(config.max_end_silence_ms, silence),
            max_turn_ms=max(config.max_turn_ms, config.min_turn_ms + silence),
            adaptive=False,
        )
    if pad is not None:
        config = replace(config, pre_roll_ms=min(int(pad), MAX_PRE_ROLL_MS))
    if vad_settings.min_speech_duration_ms is not None:
        config = replace(config, min_turn_ms=int(vad_settings.min_speech_duration_ms))
    return config
