"""What a voice may know of the conversation it speaks in (V237, V238).

Per session, in memory only, bounded by turns and seconds of sound, gone with the session.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from salon.media.frame import AudioChunk, AudioFrame


class TTSContextLevel(StrEnum):
    """How much an engine uses; each level includes those before it."""

    NONE = "none"
    SELF = "self"
    """What it said itself."""
    TEXT = "text"
    """What everybody said."""
    AUDIO = "audio"
    """And how it sounded."""


@dataclass(frozen=True)
class TTSContextConfig:
    """`max_turns` (1 or more) and `max_audio_seconds` (0 or more) bound one session's memory;
    sound is kept only with `include_audio`. `ValueError` for other bounds."""

    enabled: bool = True
    include_audio: bool = False
    max_turns: int = 20
    max_audio_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.max_turns < 1:
            raise ValueError(f"max_turns is {self.max_turns}; it must be 1 or more")
        if self.max_audio_seconds < 0:
            raise ValueError(f"max_audio_seconds is {self.max_audio_seconds}; it must not be < 0")


@dataclass(frozen=True)
class ConversationTurn:
    """One turn. `played_ms` and `interrupted` are known of assistant turns."""

    turn_id: str
    role: Literal["user", "assistant"]
    participant_id: str
    text: str
    audio: AudioFrame | None = None
    played_ms: int | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class TTSContext:
    """The turns before the one to be spoken, oldest first. `context_id` is the session's."""

    context_id: str
    turns: tuple[ConversationTurn, ...]
    next_turn_id: str


class AssistantTurnRecorder:
    """Keeps the sound of one answer while it is made, if it is to be kept at all."""

    def __init__(
        self, session_id: str, turn_id: str, *, keep_audio: bool, max_seconds: float
    ) -> None:
        self.session_id = session_id
        self.turn_id = turn_id
        self._keep_audio = keep_audio
        self._max_seconds = max_seconds
        self._audio = bytearray()
        self._format: tuple[int, int] | None = None

    def add(self, chunk: AudioChunk) -> None:
        """The next chunk. Sound of changing formats or over `max_seconds` is given up whole."""
        if not self._keep_audio or not chunk.data:
            return
        made = chunk.sample_rate, chunk.channels
        self._format = self._format or made
        most = self._max_seconds * made[0] * made[1] * 2
        if made != self._format or len(self._audio) + len(chunk.data) > most:
            self._keep_audio = False
            self._audio.clear()
            return
        self._audio += chunk.data

    def audio_until(self, played_ms: int) -> AudioFrame | None:
        """The first `played_ms` of the sound; None if there is none."""
        if self._format is None:
            return None
        rate, channels = self._format
        size = min(rate * played_ms // 1000 * channels * 2, len(self._audio))
        size -= size % (2 * channels)
        return AudioFrame(bytes(self._audio[:size]), rate, channels) if size > 0 else None


class TTSContextStore:
    """The turns of the sessions that are open; calls for others change nothing.

    For use on the event loop.
    """

    def __init__(
        self,
        config: TTSContextConfig,
        level: TTSContextLevel,
        *,
        make_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config = config
        self._level = level
        self._make_id = make_id
        self._turns: dict[str, list[ConversationTurn]] = {}
        self._dtmf: set[str] = set()

    @property
    def keeps_audio(self) -> bool:
        """Only at level `AUDIO` and with `include_audio`."""
        return self._level is TTSContextLevel.AUDIO and self._config.include_audio

    def open(self, session_id: str) -> None:
        """The session begins; one that is open keeps its turns."""
        self._turns.setdefault(session_id, [])

    def release(self, session_id: str) -> None:
        """The session is over: nothing of it stays."""
        self._turns.pop(session_id, None)
        self._dtmf.discard(session_id)

    def sessions(self) -> list[str]:
        """The open ones."""
        return list(self._turns)

    def turns(self, session_id: str) -> tuple[ConversationTurn, ...]:
        """Oldest first."""
        return tuple(self._turns.get(session_id, ()))

    def audio_seconds(self, session_id: str) -> float:
        """Sound kept of the session."""
        return sum(_seconds(turn) for turn in self._turns.get(session_id, ()))

    def note_dtmf(self, session_id: str) -> None:
        """A key was pressed while the user spoke."""
        if session_id in self._turns:
            self._dtmf.add(session_id)

    def take_dtmf(self, session_id: str) -> bool:
        """Whether one was since the last call."""
        seen = session_id in self._dtmf
        self._dtmf.discard(session_id)
        return seen

    def add_user_turn(
        self,
        session_id: str,
        participant_id: str,
        text: str,
        *,
        audio: bytes | None = None,
        sample_rate: int = 16000,
        text_changed: bool = False,
        dtmf_seen: bool = False,
    ) -> None:
        """What a person said, 16-bit mono `audio`. The sound goes where a hook changed the text
        or a key was heard in it (V238)."""
        frame = None
        if audio and self.keeps_audio and not text_changed and not dtmf_seen:
            frame = AudioFrame(audio[: len(audio) // 2 * 2], sample_rate)
        turn = ConversationTurn(self._make_id(), "user", participant_id, text, frame)
        self._add(session_id, turn)

    def begin_assistant_turn(self, session_id: str) -> tuple[TTSContext, AssistantTurnRecorder]:
        """The context for the answer that comes now, as far as the level allows, and its
        recorder."""
        turns = self.turns(session_id)
        if self._level is TTSContextLevel.NONE:
            turns = ()
        elif self._level is TTSContextLevel.SELF:
            turns = tuple(turn for turn in turns if turn.role == "assistant")
        turn_id = self._make_id()
        recorder = AssistantTurnRecorder(
            session_id,
            turn_id,
            keep_audio=self.keeps_audio,
            max_seconds=self._config.max_audio_seconds,
        )
        return TTSContext(session_id, turns, turn_id), recorder

    def commit_assistant_turn(
        self,
        recorder: AssistantTurnRecorder,
        participant_id: str,
        text: str,
        *,
        played_ms: int,
        interrupted: bool,
    ) -> None:
        """The answer was heard, or its beginning. Of one nobody heard nothing stays (V238)."""
        if played_ms <= 0 or not text:
            return
        turn = ConversationTurn(
            recorder.turn_id,
            "assistant",
            participant_id,
            text,
            recorder.audio_until(played_ms),
            played_ms,
            interrupted,
        )
        self._add(recorder.session_id, turn)

    def _add(self, session_id: str, turn: ConversationTurn) -> None:
        turns = self._turns.get(session_id)
        if turns is None:
            return
        turns.append(turn)
        del turns[: -self._config.max_turns]
        over = self.audio_seconds(session_id) - self._config.max_audio_seconds
        for index, old in enumerate(turns):
            if over <= 0:
                break
            if old.audio is not None:
                over -= _seconds(old)
                turns[index] = replace(old, audio=None)


def _seconds(turn: ConversationTurn) -> float:
    return turn.audio.duration_ms / 1000 if turn.audio is not None else 0.0
