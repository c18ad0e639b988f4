"""From recognised words to a message of the room (parts 11 and 13 of the voice rules).

Per caller in order: ON_SPEECH_END, ON_TRANSCRIPTION, the turn detector, the room (V90).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial

from salon.base import RAISED, Clock, TaskScope
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_people import Caller
from salon.core.lanes import Lanes
from salon.models import HookTrigger
from salon.voice.events import Final
from salon.voice.foreign import is_ours
from salon.voice.hook_payloads import (
    SpeakerChangeEvent,
    TranscriptionEvent,
    TurnCompleteEvent,
    TurnIncompleteEvent,
)
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector
from salon.voice.speakers import SpokenBy
from salon.voice.turns.gate import GateAction, GateConfig, Judge, Route, TurnGate, TurnIncomplete

_log = logging.getLogger("salon.channels.voice")

JUDGE_TIMEOUT_S = 2.0
"""A turn detector that takes longer is not waited for: the turn counts as complete."""
TICK_S = 0.05
MAX_WAITING = 64
"""Turns of one caller that may wait to be routed; beyond, the newest is dropped and counted."""


@dataclass(frozen=True, slots=True)
class Words:
    """A finished turn on its way to the room."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None
    language: str | None = None
    sender_name: str | None = None
    participant_id: str | None = None
    speech_ms: int = 0
    """How long the speech lasted, without what lies before its onset; of several utterances the
    longest."""
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Line:
    """What is kept of one caller between two turns."""

    gate: TurnGate | None
    parts: list[Words] = field(default_factory=list)
    """What the gate keeps, unrouted."""
    ticking: asyncio.Task[None] | None = None


class Transcripts:
    """The way from `Final` to the room, for all callers of a channel.

    `route` takes a caller's finished turn; `unused` is told when words lead to nothing, `judged` a
    turn detector's name and how many ms it took, each time, `kept` what ON_TRANSCRIPTION left of
    words, nothing where it refused them.
    """

    def __init__(
        self,
        hooks: VoiceHooks,
        scope: TaskScope,
        clock: Clock,
        *,
        route: Callable[[Caller, Words], Awaitable[None]],
        unused: Callable[[Caller], None],
        judged: Callable[[str, float], None] = lambda _name, _took_ms: None,
        kept: Callable[[Caller, Final, str], None] = lambda _caller, _event, _text: None,
        detector: TurnDetector | None = None,
        incomplete_wait_ms: float = 1500.0,
    ) -> None:
        self._hooks = hooks
        self._scope = scope
        self._clock = clock
        self._route = route
        self._unused = unused
        self._judged = judged
        self._kept = kept
        self._detector = detector
        self._wait_ms = incomplete_wait_ms
        self._evaluating: asyncio.Future[TurnDecision] | None = None
        self._lanes = Lanes("voice turns")
        self._lines: dict[Caller, _Line] = {}
        self.dropped = 0

    async def close(self) -> None:
        """Give up what is under way, after a bounded wait."""
        await self._lanes.close(1.0)
        self._lines.clear()

    def forget(self, caller: Caller) -> None:
        """A caller is gone; what they said so far is still routed."""
        line = self._lines.pop(caller, None)
        if line is None:
            return
        if line.ticking is not None:
            line.ticking.cancel()
        if line.gate is not None:
            self._obey(caller, line, line.gate.flush(self._now()))

    def speech_started(self, caller: Caller) -> None:
        """The caller began to speak: an unfinished turn waits on (V241)."""
        line = self._line(caller)
        if line.gate is not None:
            self._obey(caller, line, line.gate.speech_started(self._now()))

    def speech_ended(self, caller: Caller) -> None:
        """The caller fell silent."""
        line = self._lines.get(caller)
        if line is not None and line.gate is not None:
            self._obey(caller, line, line.gate.speech_ended(self._now()))

    def no_words(self, caller: Caller) -> None:
        """What the caller said last brought no words."""
        line = self._lines.get(caller)
        if line is not None and line.gate is not None:
            self._obey(caller, line, line.gate.no_words(self._now()))

    def answered(self, room_id: str, text: str) -> None:
        """What an agent said, for the detector's history."""
        for caller, line in self._lines.items():
            if caller.room_id == room_id and line.gate is not None:
                line.gate.answered(text)

    def final(
        self, caller: Caller, event: Final, *, after: Callable[[], Awaitable[None]] | None = None
    ) -> asyncio.Future[None] | None:
        """Words of the caller; `after` is waited for first (V125). Done when the room or the turn
        detector has them; None if too much waits already."""

        async def job() -> None:
            if after is not None:
                await after()
            await self._heard(caller, event)

        return self._put(caller, job)

    def _put(
        self, caller: Caller, job: Callable[[], Awaitable[None]]
    ) -> asyncio.Future[None] | None:
        lane = (caller.room_id, caller.session.id)
        if self._lanes.waiting(lane) >= MAX_WAITING:
            self.dropped += 1
            self._unused(caller)
            return None
        future = self._lanes.put(lane, job)
        future.add_done_callback(_noticed)
        return future

    async def _heard(self, caller: Caller, event: Final) -> None:
        event = replace(event, text=_mended(event.text))
        asked = TranscriptionEvent(caller.line, event.text, event.language)
        extra: dict[str, object] = {}
        if isinstance(event, SpokenBy):
            extra = {"speaker_label": event.label, "speaker_epoch": event.epoch}
            asked = self._attributed(caller, event, asked)
        await self._hooks.told(caller)
        outcome = await self._hooks.ask(HookTrigger.ON_TRANSCRIPTION, caller.room_id, asked, caller)
        kept = outcome.payload
        self._kept(caller, event, "" if outcome.blocked else kept.text)
        if outcome.blocked or not kept.text.strip():
            self.no_words(caller)
            self._unused(caller)
            return
        words = Words(
            kept.text,
            event.start_ms,
            event.end_ms,
            event.confidence,
            event.language,
            kept.sender_name,
            kept.participant_id,
            event.end_ms - event.start_ms if event.speech_ms is None else event.speech_ms,
            extra,
        )
        line = self._line(caller)
        if line.gate is None:
            await self._route(caller, words)
            return
        line.parts.append(words)
        actions = line.gate.transcript(
            words.text, self._now(), max(0, event.end_ms - event.start_ms)
        )
        self._obey(caller, line, actions)

    def _attributed(
        self, caller: Caller, event: SpokenBy, asked: TranscriptionEvent
    ) -> TranscriptionEvent:
        """Who said it, for ON_TRANSCRIPTION; another speaker than before is told first (V235)."""
        if event.changed and event.label is not None:
            change = SpeakerChangeEvent(
                caller.line,
                event.label,
                None,
                event.is_new,
                source="stt",
                speaker_epoch=event.epoch,
            )
            self._hooks.tell(HookTrigger.ON_SPEAKER_CHANGE, caller, change)
        return replace(
            asked, speaker=event.label, speaker_epoch=event.epoch, sender_name=event.name
        )

    # -- the turn detector ------------------------------------------------------------------------

    def _line(self, caller: Caller) -> _Line:
        if caller.gone:  # what they said last is routed as it is, and nothing is kept of them
            return _Line(None)
        line = self._lines.get(caller)
        if line is None:
            gate = None
            if self._detector is not None:
                config = GateConfig(incomplete_wait_ms=self._wait_ms, session_id=caller.session.id)
                gate = TurnGate(config)
            line = self._lines[caller] = _Line(gate)
        return line

    def _obey(self, caller: Caller, line: _Line, actions: tuple[GateAction, ...]) -> None:
        for action in actions:
            match action:
                case Judge():
                    self._scope.spawn(self._judge(caller, line, action), name="turn detector")
                case TurnIncomplete():
                    self._hooks.tell(
                        HookTrigger.ON_TURN_INCOMPLETE,
                        caller,
                        TurnIncompleteEvent(caller.line, action.text, action.confidence),
                    )
                    self._unused(caller)
                case Route():
                    self._hooks.tell(
                        HookTrigger.ON_TURN_COMPLETE,
                        caller,
                        TurnCompleteEvent(caller.line, action.text, action.confidence),
                    )
                    self._put(caller, partial(self._routed, caller, line, action.text))
        due = line.gate is not None and line.gate.due_ms is not None
        if due and line.ticking is None and caller in self._lines:
            line.ticking = self._scope.spawn(self._tick(caller, line), name="turn gate")

    async def _tick(self, caller: Caller, line: _Line) -> None:
        gate = line.gate
        try:
            while gate is not None and (due := gate.due_ms) is not None:
                wait = (due - self._now()) / 1000
                await self._clock.sleep(min(max(wait, 0.005), TICK_S))
                self._obey(caller, line, gate.tick(self._now()))
        finally:
            line.ticking = None

    async def _judge(self, caller: Caller, line: _Line, action: Judge) -> None:
        gate, detector = line.gate, self._detector
        if gate is None or detector is None:
            return
        decision: TurnDecision | None = None
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(JUDGE_TIMEOUT_S):
                given: object = await self._evaluated(detector, action.context)
            if isinstance(given, TurnDecision):
                decision = given
            else:
                kind = type(given).__name__
                _log.error("turn detector %s gave %s, no decision", detector.name, kind)
        except TimeoutError:
            _log.warning("turn detector %s took too long", detector.name)
        except RAISED as error:
            if is_ours(error):
                raise
            _log.exception("turn detector %s failed", detector.name)
        self._judged(detector.name, (self._clock.monotonic() - began) * 1000)
        self._obey(caller, line, gate.decision(action.id, decision, self._now()))

    async def _evaluated(self, detector: TurnDetector, context: TurnContext) -> TurnDecision:
        """Never twice at once: one that took too long holds a single thread, not all of them."""
        while self._evaluating is not None and not self._evaluating.done():
            await asyncio.wait([self._evaluating])
        inside = partial(copy_context().run, detector.evaluate, context)
        evaluating = asyncio.get_running_loop().run_in_executor(None, inside)
        evaluating.add_done_callback(_seen)
        self._evaluating = evaluating
        return await asyncio.shield(evaluating)

    async def _routed(self, caller: Caller, line: _Line, text: str) -> None:
        await self._hooks.told(caller)
        parts, line.parts = line.parts, []
        if not parts:
            return
        if any(part.extra for part in parts):  # of several speakers: each is a message (V235)
            for part in parts:
                await self._route(caller, part)
            return
        first, last = parts[0], parts[-1]
        await self._route(
            caller,
            Words(
                text,
                first.start_ms,
                last.end_ms,
                min((p.confidence for p in parts if p.confidence is not None), default=None),
                last.language,
                last.sender_name,
                last.participant_id,
                max(part.speech_ms for part in parts),
            ),
        )

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1000)


def _mended(text: str) -> str:
    """Halves of characters put together; one alone, which no room takes, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _noticed(future: asyncio.Future[None]) -> None:
    """What fails here is logged; the caller goes on."""
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("words of a caller were not routed", exc_info=error)


def _seen(future: asyncio.Future[TurnDecision]) -> None:
    """Nobody may be there to ask what came of an evaluation that took too long."""
    if not future.cancelled():
        future.exception()
