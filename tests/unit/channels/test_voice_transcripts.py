"""From words to the room: what waits, and what becomes of a turn of several parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from salon.base import TaskScope
from salon.channels.voice_hooks import VoiceHooks
from salon.channels.voice_people import Caller
from salon.channels.voice_transcripts import MAX_WAITING, Transcripts, Words
from salon.testing import VirtualClock, virtual_time
from salon.voice.backends.session import VoiceSession
from salon.voice.events import Final
from salon.voice.pipeline.turn import TurnDecision
from salon.voice.pipeline.turn.mock import MockTurnDetector


@dataclass(eq=False)
class Person:
    """As much of a caller as is looked at."""

    room_id: str = "room"
    gone: bool = False
    line: VoiceSession = field(default_factory=lambda: VoiceSession("line", "room", "ann", "voice"))

    @property
    def session(self) -> VoiceSession:
        return self.line


@dataclass
class Outcome:
    payload: Any
    blocked: bool = False


class Hooks:
    """Allow everything, once `open` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def told(self, _caller: Caller) -> None:
        await self.open.wait()

    async def ask(self, _trigger: object, _room: str, payload: Any, _caller: Caller) -> Outcome:
        return Outcome(payload)

    def tell(self, *_: object) -> None:
        pass


class Desk:
    """`Transcripts`, what they routed and what they said leads to nothing."""

    def __init__(self, scope: TaskScope, **options: Any) -> None:
        self.hooks = Hooks()
        self.caller = cast(Caller, Person())
        self.routed: list[Words] = []
        self.unused = 0
        self.transcripts = Transcripts(
            cast(VoiceHooks, self.hooks),
            scope,
            VirtualClock(),
            route=self._route,
            unused=self._unused,
            **options,
        )

    async def _route(self, _caller: Caller, words: Words) -> None:
        self.routed.append(words)

    def _unused(self, _caller: Caller) -> None:
        self.unused += 1


@asynccontextmanager
async def desk_of(**options: Any) -> AsyncIterator[Desk]:
    scope = TaskScope("test")
    desk = Desk(scope, **options)
    try:
        yield desk
    finally:
        await desk.transcripts.close()
        await scope.close()


def said(index: int, text: str, confidence: float | None = None, *, ms: int = 400) -> Final:
    start = index * 1000
    return Final(index, text, start, start + ms, confidence)


@virtual_time
async def test_of_too_many_turns_that_wait_the_newest_are_dropped_and_counted() -> None:
    async with desk_of() as desk:
        desk.hooks.open.clear()
        put = [
            desk.transcripts.final(desk.caller, said(number, str(number)))
            for number in range(MAX_WAITING + 3)
        ]
        assert [future is None for future in put] == [False] * MAX_WAITING + [True] * 3
        assert (desk.transcripts.dropped, desk.unused) == (3, 3)
        desk.hooks.open.set()
        await asyncio.wait([future for future in put if future is not None])
        assert [words.text for words in desk.routed] == [str(n) for n in range(MAX_WAITING)]
        last = desk.transcripts.final(desk.caller, said(99, "there is room again"))
        assert last is not None
        await last


@virtual_time
async def test_a_turn_of_several_parts_is_as_sure_as_the_least_sure_and_lasts_from_the_first() -> (
    None
):
    detector = MockTurnDetector([TurnDecision(False), TurnDecision(False), TurnDecision(True)])
    async with desk_of(detector=detector) as desk:
        parts = [said(0, "I", 0.9), said(1, "would like", 0.4, ms=700), said(2, "tea", 0.8, ms=300)]
        for part in parts:
            desk.transcripts.speech_started(desk.caller)
            desk.transcripts.speech_ended(desk.caller)
            desk.transcripts.final(desk.caller, part)
            await asyncio.sleep(0.2)
        (words,) = desk.routed
        assert words.text == "I would like tea"
        assert (words.start_ms, words.end_ms) == (0, 2300)
        assert (words.confidence, words.speech_ms) == (0.4, 700)
