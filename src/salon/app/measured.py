"""How fast a room's callers were answered, as the HTTP interface tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import ceil

from pydantic import BaseModel

from salon.channels.voice import MeasuredTurn, VoiceChannel
from salon.core.ports.channel import Channel


class TurnOut(BaseModel):
    """The answer to one turn of a caller: ms from the end of their speech (`ended_at`) until the
    words were known, the agent's first word came, the voice's first sound, and the first frame was
    on its way. A room token is told no call and no engines."""

    index: int
    channel_id: str
    session_id: str | None
    participant_id: str
    ended_at: datetime
    recognised_ms: int
    first_word_ms: int
    first_sound_ms: int
    first_audio_ms: int
    stt: str | None
    tts: str | None

    @classmethod
    def of(cls, turn: MeasuredTurn, *, guest: bool) -> TurnOut:
        """A turn as it is shown."""
        return cls(
            index=turn.index,
            channel_id=turn.channel_id,
            session_id=None if guest else turn.session_id,
            participant_id=turn.participant_id,
            ended_at=turn.ended_at,
            recognised_ms=turn.recognised_ms,
            first_word_ms=turn.first_word_ms,
            first_sound_ms=turn.first_sound_ms,
            first_audio_ms=turn.first_audio_ms,
            stt=None if guest else turn.stt,
            tts=None if guest else turn.tts,
        )


class Spread(BaseModel):
    """So many ms or less took half of the turns, and 19 of 20 (nearest rank)."""

    p50: int
    p95: int

    @classmethod
    def of(cls, values: Iterable[int]) -> Spread:
        """Of one value or more."""
        ranked = sorted(values)
        return cls(p50=_at(ranked, 0.50), p95=_at(ranked, 0.95))


def _at(ranked: Sequence[int], share: float) -> int:
    return ranked[ceil(share * len(ranked)) - 1]


class UntilStages(BaseModel):
    """From the end of the speech until each stage."""

    recognised: Spread
    first_word: Spread
    first_sound: Spread
    first_audio: Spread


class PartsTook(BaseModel):
    """What each part added: the pause and recognition; the room and the agent; the voice; the wait
    for the floor and the next frame."""

    stt: Spread
    ai: Spread
    tts: Spread
    playout: Spread


class TurnsOut(BaseModel):
    """The newest turns of a room, oldest first. `until` and `parts` are null without any."""

    turns: list[TurnOut]
    until: UntilStages | None
    parts: PartsTook | None

    @classmethod
    def of(cls, turns: Sequence[MeasuredTurn], *, guest: bool) -> TurnsOut:
        """Turns as they are shown."""
        shown = [TurnOut.of(turn, guest=guest) for turn in turns]
        if not turns:
            return cls(turns=shown, until=None, parts=None)
        until = UntilStages(
            recognised=Spread.of(turn.recognised_ms for turn in turns),
            first_word=Spread.of(turn.first_word_ms for turn in turns),
            first_sound=Spread.of(turn.first_sound_ms for turn in turns),
            first_audio=Spread.of(turn.first_audio_ms for turn in turns),
        )
        parts = PartsTook(
            stt=Spread.of(turn.stt_ms for turn in turns),
            ai=Spread.of(turn.ai_ms for turn in turns),
            tts=Spread.of(turn.tts_ms for turn in turns),
            playout=Spread.of(turn.playout_ms for turn in turns),
        )
        return cls(turns=shown, until=until, parts=parts)


def turns_of(channels: Iterable[Channel], room_id: str) -> list[MeasuredTurn]:
    """What all voice channels measured in a room, oldest first."""
    found = [
        turn
        for channel in channels
        if isinstance(channel, VoiceChannel)
        for turn in channel.measured_turns(room_id)
    ]
    return sorted(found, key=lambda turn: turn.ended_at)
