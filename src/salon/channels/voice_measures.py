"""How long the answers to callers took, and what was heard besides: spans, metrics, and the newest
turns of each room (V210, V211).

Everything told is an id, a count or a time, never a word or a digit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from salon.channels.voice_people import Caller
from salon.core.ports.telemetry import Attr, SpanKind
from salon.core.telemetry import NO_TRACER, PastSpan, Tracer
from salon.voice.engine import VoiceEngine
from salon.voice.events import (
    Dtmf,
    Final,
    MediaEvent,
    TurnDropped,
    TurnEnded,
    TurnMeasured,
)
from salon.voice.stt.base import SpeechToText
from salon.voice.tts.base import TextToSpeech

MAX_TURNS = 100
"""Of a room; older ones go."""
MAX_ROOMS = 1000
"""Whose turns are kept; beyond, the room that has been without a turn for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class MeasuredTurn:
    """The answer to one turn of a caller. `ended_at` is the end of their speech; the stages are ms
    after it, each at least as late as the one before: the words were known, the agent's first word
    came, the voice's first sound, the first frame on its way to the caller."""

    room_id: str
    channel_id: str
    session_id: str
    participant_id: str
    index: int
    """Of the turn in its session."""
    ended_at: datetime
    recognised_ms: int
    first_word_ms: int
    first_sound_ms: int
    first_audio_ms: int
    stt: str | None = None
    """The recogniser's name, where it is certain; the voice's."""
    tts: str | None = None

    @property
    def stt_ms(self) -> int:
        """What each part took: the pause and recognition ..."""
        return self.recognised_ms

    @property
    def ai_ms(self) -> int:
        """... the room and the agent up to the first word ..."""
        return self.first_word_ms - self.recognised_ms

    @property
    def tts_ms(self) -> int:
        """... the voice up to its first sound ..."""
        return self.first_sound_ms - self.first_word_ms

    @property
    def playout_ms(self) -> int:
        """... and the wait for the floor and the next frame."""
        return self.first_audio_ms - self.first_sound_ms

    def at(self, ms: int) -> datetime:
        """The instant of a stage."""
        return self.ended_at + timedelta(milliseconds=ms)


@dataclass(slots=True)
class _Line:
    """What was counted on one line."""

    heard: int = 0
    """Stretches of speech of which it is known whether they held words."""
    wordless: int = 0
    barge_ins: int = 0
    backchannels: int = 0
    digits: int = 0


class VoiceMeasures:
    """Measures the lines of one channel, between `join` and `leave` of each."""

    def __init__(
        self,
        channel_id: str,
        engine: VoiceEngine,
        recognizer: SpeechToText | None = None,
        synthesizer: TextToSpeech | None = None,
    ) -> None:
        self._channel_id = channel_id
        self._engine = engine
        self._stt = recognizer
        self._tts = synthesizer
        self._tracer: Tracer = NO_TRACER
        self._lines: dict[Caller, _Line] = {}
        self._rooms: OrderedDict[str, deque[MeasuredTurn]] = OrderedDict()

    def bind(self, tracer: Tracer) -> None:
        """Tell this one."""
        self._tracer = tracer

    def join(self, caller: Caller) -> None:
        """A line is there."""
        self._lines[caller] = _Line()

    def leave(self, caller: Caller) -> None:
        """It is gone: what was counted on it is told. Idempotent."""
        line = self._lines.pop(caller, None)
        if line is None:
            return
        self._metric("pipeline.barge_in_count", line.barge_ins)
        self._metric("salon.voice.dtmf", line.digits)
        self._metric("salon.voice.backchannels", line.backchannels)
        if line.heard:
            self._metric("pipeline.vad_false_positive_rate", line.wordless / line.heard)
        if line.barge_ins:
            self._metric("pipeline.backchannel_rate", line.backchannels / line.barge_ins)

    def forget_room(self, room_id: str) -> None:
        """A room is no more; one that is made later under its id begins without turns."""
        self._rooms.pop(room_id, None)
        for caller in [caller for caller in self._lines if caller.room_id == room_id]:
            self.leave(caller)

    def turns(self, room_id: str) -> tuple[MeasuredTurn, ...]:
        """The newest turns of a room, oldest first."""
        return tuple(self._rooms.get(room_id, ()))

    # -- what happens -----------------------------------------------------------------------------

    def take(self, caller: Caller, event: MediaEvent) -> None:
        """One event of a line."""
        line = self._lines.get(caller)
        if line is None:
            return
        match event:
            case TurnEnded():
                lasted = max(0, event.end_ms - event.start_ms)
                self._metric("salon.voice.speech_duration", lasted, "ms")
            case TurnDropped():
                line.heard += 1
                if event.backchannel:
                    line.backchannels += 1
                else:
                    line.wordless += 1
            case Final():
                line.heard += 1
                if event.text.strip():
                    self._recognised(caller, event)
                else:
                    line.wordless += 1
            case Dtmf():
                line.digits += 1
            case TurnMeasured():
                self._measured(caller, event)
            case _:
                pass

    def judged(self, detector: str, took_ms: float) -> None:
        """A turn detector has judged, failed or been given up."""
        self._metric("pipeline.turn_detector_latency_ms", took_ms, "ms", detector)

    def barged_in(self, caller: Caller) -> None:
        """What a caller said cut the agent."""
        line = self._lines.get(caller)
        if line is not None:
            line.barge_ins += 1

    def _recognised(self, caller: Caller, event: Final) -> None:
        turn = caller.session.hearing.last_turn
        if turn is not None and turn.index == event.index and turn.recognised is not None:
            took = max(0.0, turn.recognised - turn.speech_end) * 1000
            self._metric("pipeline.stt_latency_ms", took, "ms", self._recognizer())

    def _measured(self, caller: Caller, event: TurnMeasured) -> None:
        stt, tts = self._recognizer(), self._synthesizer()
        recognised = max(0, event.recognised_ms)
        word = max(recognised, event.first_word_ms)
        sound = max(word, event.first_sound_ms)
        ago = self._engine.clock.monotonic() - event.speech_end
        turn = MeasuredTurn(
            caller.room_id,
            self._channel_id,
            caller.session.id,
            caller.participant_id,
            event.index,
            self._engine.clock.now() - timedelta(seconds=ago),
            recognised,
            word,
            sound,
            max(sound, event.first_audio_ms),
            stt,
            tts,
        )
        self._keep(turn)
        self._metric("pipeline.tts_latency_ms", turn.tts_ms, "ms", tts)
        self._metric("salon.voice.turn_latency", turn.first_audio_ms, "ms")
        if self._tracer.on:
            self._tracer.record(
                _spans(turn),
                room_id=turn.room_id,
                channel_id=turn.channel_id,
                session_id=turn.session_id,
            )

    def _recognizer(self) -> str | None:
        """Its name; None where a call may have chosen among several."""
        if self._stt is not None:
            return self._stt.name
        offered = {engine.name for engine in self._engine.recognizers.values()}
        return offered.pop() if len(offered) == 1 else None

    def _synthesizer(self) -> str | None:
        voice = self._tts or self._engine.synthesizers.get("")
        return None if voice is None else voice.name

    def _keep(self, turn: MeasuredTurn) -> None:
        kept = self._rooms.get(turn.room_id)
        if kept is None:
            kept = self._rooms[turn.room_id] = deque(maxlen=MAX_TURNS)
            if len(self._rooms) > MAX_ROOMS:
                self._rooms.popitem(last=False)
        else:
            self._rooms.move_to_end(turn.room_id)
        kept.append(turn)

    def _metric(self, name: str, value: float, unit: str = "", provider: str | None = None) -> None:
        if not self._tracer.on:
            return
        told = {Attr.CHANNEL_ID: self._channel_id}
        if provider is not None:
            told[Attr.PROVIDER] = provider
        self._tracer.metric(name, value, unit=unit, attributes=told)


def _spans(turn: MeasuredTurn) -> PastSpan:
    """A turn as a tree: its parts follow each other from the end of the speech on."""

    def part(kind: SpanKind, name: str, start: int, end: int, provider: str | None) -> PastSpan:
        told: dict[str, object] = {"latency_ms": end - start}
        if provider is not None:
            told[Attr.PROVIDER] = provider
        return PastSpan(kind, name, turn.at(start), turn.at(end), told)

    known, word = turn.recognised_ms, turn.first_word_ms
    sound, audio = turn.first_sound_ms, turn.first_audio_ms
    return PastSpan(
        SpanKind.VOICE_TURN,
        "voice.turn",
        turn.ended_at,
        turn.at(audio),
        {"latency_ms": audio, "turn.index": turn.index},
        (
            part(SpanKind.STT_TRANSCRIBE, "stt_transcribe", 0, known, turn.stt),
            part(SpanKind.CUSTOM, "ai_first_token", known, word, None),
            part(SpanKind.TTS_SYNTHESIZE, "tts_synthesize", word, sound, turn.tts),
            part(SpanKind.CUSTOM, "playout", sound, audio, None),
        ),
    )
