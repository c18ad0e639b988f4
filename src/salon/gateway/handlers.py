"""Who drives a call: the connected program, or a room."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from salon.gateway.options import CallOption, VADOption
from salon.voice.events import MediaEvent
from salon.voice.hearing import HearingConfig
from salon.voice.turns import InterruptionStrategy, TurnConfig
from salon.voice.vad.segmenter import SegmenterConfig

if TYPE_CHECKING:
    from salon.gateway.session import Session


class CallHandler(ABC):
    """One per session. `begin` runs inside `invite`; `media` sees every media event in order."""

    room_id: str | None = None
    """The room the call is in, if it is in one."""

    @abstractmethod
    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        """Prepare for the call: what should be listened for. An exception fails the `invite`
        (G33)."""

    def media(self, event: MediaEvent) -> None:  # noqa: B027 - optional to override
        """A media event of the call; must return at once."""

    def interrupt(self) -> None:  # noqa: B027 - optional to override
        """The client asked for silence; what plays to this caller is cut already."""

    async def chat(self, text: str) -> bool:
        """Typed text of the caller (G283); False if nobody takes it."""
        del text
        return False

    async def end(self, reason: str) -> None:  # noqa: B027 - optional to override
        """The call is over."""


def segments(option: VADOption | None) -> SegmenterConfig | None:
    """What the `vad` option asks for; every type name but ``nop`` means the built-in detector
    (G62)."""
    if option is None:
        return None
    return SegmenterConfig(
        speech_padding_ms=option.speech_padding,
        silence_padding_ms=option.silence_padding,
        voice_threshold=option.voice_threshold,
        silence_timeout_ms=option.silence_timeout or None,
    )


def any_sound(option: VADOption | None) -> bool:
    """Whether all that is not digital silence is speech: ``nop`` (G62)."""
    return option is not None and option.type == "nop"


def start_of(session: Session, option: CallOption) -> Callable[[], bool] | None:
    """When recognition begins, if the call says so (G64); None: at once."""
    if option.asr is None or not option.asr.start_when_answer:
        return None
    return lambda: session.answered_at is not None


class ControllerHandler(CallHandler):
    """The connected program drives: Salon never speaks or interrupts unasked (G126)."""

    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        recognizer = session.recognizer(option)
        turns = TurnConfig(strategy=InterruptionStrategy.DISABLED) if recognizer else None
        return HearingConfig(
            segments=segments(option.vad),
            turns=turns,
            recognizer=recognizer,
            hints=session.services.engine.hints() if recognizer else HearingConfig().hints,
            language=option.asr.language if option.asr else None,
            any_sound=any_sound(option.vad),
            begin_at=start_of(session, option),
        )
