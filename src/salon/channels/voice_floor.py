"""Who speaks in a room: agents take turns, and wait while a person is speaking.

Each listener hears one agent at a time. Another one's words wait for the floor, synthesized ahead,
and so does an answer whose first sound nobody has heard yet when somebody begins to speak (V243).

What is said to some people alone has a floor of these people: it goes on beside what others are
told, and nobody but them holds it up or cuts it. What is meant for the room excludes whatever
anybody of its audience hears, and other things meant for the room. What shares listeners is heard
in the order in which it came.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from salon.channels.voice_people import Caller
from salon.voice.hook_payloads import CancelReason
from salon.voice.playback import Playback
from salon.voice.speaking import Speech

MAX_WAITING = 16
"""Utterances that may wait for the floor of a room, or of the same people alone; beyond, the oldest
of them is given up."""
STORE_WAIT_S = 5.0
"""What was said is waited for this long to be stored."""
REMEMBERED = 128
"""Of so many newest messages of a room it is known whether their answer was heard."""


@dataclass(slots=True)
class _Asked:
    """A message that may be answered."""

    by: str
    """Participant who said it, or began the chain of answers that it is part of."""
    answer: Literal["unheard", "heard", "superseded"] = "unheard"


@dataclass(slots=True, eq=False)
class Utterance:
    """What one agent says in a room."""

    speech: Speech
    agent: str
    """Channel id of whoever speaks."""
    audience: set[Caller] = field(default_factory=set)
    """Whom it is meant for, without those who hear no more of it."""
    private: bool = False
    """It is said to its audience alone, not to the room."""
    answers: str | None = None
    """Participant whose words it answers, or who began the chain of answers that it is part of."""
    tracks: dict[Caller, Playback] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    floor: asyncio.Event = field(default_factory=asyncio.Event)
    """It may be heard, or it is over."""
    reason: CancelReason | None = None
    """Why it ended before its end."""
    heard: str = ""
    played_ms: int = 0
    failed: bool = False
    """Something of it could not be said, which was told."""
    held_by: set[Caller] = field(default_factory=set)
    """Callers whose speech paused it."""

    @property
    def cut(self) -> bool:
        """It ended before its end."""
        return self.reason is not None

    @property
    def unheard(self) -> bool:
        """Nobody has heard anything of it yet."""
        self.note_heard()
        return self.played_ms == 0

    def concerns(self, caller: Caller) -> bool:
        """What this caller says matters to it: it is for the room, or for them."""
        return not self.private or caller in self.audience

    def excludes(self, other: Utterance) -> bool:
        """The two are not heard at the same time."""
        if not self.private and not other.private:
            return True
        return not self.audience.isdisjoint(other.audience)

    def note_heard(self) -> None:
        """Keep the longest part anyone has heard."""
        for playback in self.tracks.values():
            track = playback.speech
            if track is not None and track.played_ms >= self.played_ms:
                self.played_ms, self.heard = track.played_ms, track.heard()

    def drop(self, caller: Caller, reason: CancelReason) -> None:
        """One listener is gone; without listeners it is over."""
        self.resume(caller)
        self.note_heard()
        self.audience.discard(caller)
        if self.tracks.pop(caller, None) is None:
            if self.private and not self.audience:
                self.stop(reason)
            return
        if not self.tracks:
            self.stop(reason)
        else:
            self.check()

    def check(self) -> None:
        """It is over when nobody's playback runs any more."""
        if all(who.session.player.current is not track for who, track in self.tracks.items()):
            self.note_heard()
            self.end()

    def end(self) -> None:
        """Everything was heard."""
        self.over.set()
        self.floor.set()

    def stop(self, reason: CancelReason) -> None:
        """Nobody hears more of it."""
        if not self.over.is_set():
            self.note_heard()
            self.reason = reason
            self.end()

    def pause(self, because_of: Caller) -> None:
        """Hold it where it is, for everybody."""
        self.held_by.add(because_of)
        for caller, playback in self.tracks.items():
            if caller.session.player.current is playback:
                caller.session.pause()

    def resume(self, because_of: Caller) -> None:
        """Go on with it, if nobody else holds it."""
        if because_of not in self.held_by:
            return
        self.held_by.discard(because_of)
        if self.held_by:
            return
        for caller, playback in self.tracks.items():
            if caller.session.player.current is playback:
                caller.session.resume()


class Floor:
    """The voices of one room."""

    def __init__(self, on_empty: Callable[[Floor], None] = lambda _: None) -> None:
        self._on_empty = on_empty
        self.callers: list[Caller] = []
        self.speaking: list[Utterance] = []
        """What has the floor; no two of these share a listener."""
        self.waiting: deque[Utterance] = deque()
        self._talking: set[Caller] = set()
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        """By the id of the message."""
        self._unstored: set[str] = set()
        self._changed: list[asyncio.Future[None]] = []

    @property
    def silent(self) -> bool:
        """No agent speaks or waits to."""
        return not self.speaking and not self.waiting

    def heard_by(self, caller: Caller) -> Utterance | None:
        """What a caller is listening to."""
        return next((item for item in self.speaking if caller in item.tracks), None)

    def held_by(self, caller: Caller) -> list[Utterance]:
        """What a caller's speech has paused."""
        return [item for item in self.speaking if caller in item.held_by]

    async def take(self, utterance: Utterance) -> bool:
        """Wait for the floor; False if the utterance was stopped before it had it."""
        self.waiting.append(utterance)
        rivals = [
            item for item in self.waiting if _same_floor(item, utterance) and not item.over.is_set()
        ]
        if len(rivals) > MAX_WAITING:
            rivals[0].stop("explicit")
        self._next()
        await utterance.floor.wait()
        return not utterance.over.is_set()

    def leave(self, utterance: Utterance) -> None:
        """An utterance is over, whether it had the floor or not; idempotent."""
        if utterance in self.waiting:
            self.waiting.remove(utterance)
        if utterance in self.speaking:
            self.speaking.remove(utterance)
        if (event_id := utterance.speech.play_id) in self._unstored:
            asyncio.get_running_loop().call_later(STORE_WAIT_S, self.stored, event_id)
        self._next()

    def drop(self, caller: Caller, reason: CancelReason) -> None:
        """A caller hears no more of what they hear now; others do."""
        utterance = self.heard_by(caller)
        if utterance is not None:
            utterance.drop(caller, reason)
            self._next()

    def gone(self, caller: Caller) -> None:
        """A caller has left: nothing waits for them, and what nobody else hears is over."""
        if caller in self.callers:
            self.callers.remove(caller)
        self.silence(caller)
        for item in self._all():
            item.drop(caller, "disconnect")
        self._next()

    def speaks(self, caller: Caller) -> None:
        """A person began to speak: what is not heard yet waits (V243)."""
        if caller.gone:
            return
        self._talking.add(caller)
        for item in self.speaking:
            if item.concerns(caller) and item.unheard:
                item.pause(caller)

    def silence(self, caller: Caller) -> None:
        """A person has ended, and what they said is dealt with; idempotent."""
        if caller not in self._talking:
            if caller.gone:  # nothing may be left here after their last words
                self._tell()
            return
        self._talking.remove(caller)
        for item in self.held_by(caller):
            if item.unheard:
                item.resume(caller)
        self._next()

    def asked(self, participant_id: str, event_id: str) -> None:
        """A participant's message was routed: its answer is unheard so far."""
        self._remember(event_id, _Asked(participant_id))

    def answered(self, event_id: str, answer_id: str) -> None:
        """An agent's answer to a message is stored: replies to it come of the same participant's
        words, and are superseded with them."""
        question = self._asked.get(event_id)
        if question is not None:
            answer = _Asked(question.by)
            if question.answer == "superseded":
                answer.answer = "superseded"
            self._remember(answer_id, answer)

    def _remember(self, event_id: str, asked: _Asked) -> None:
        self._asked[event_id] = asked
        while len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def who_asked(self, event_id: str | None) -> str | None:
        """The participant who began what this message belongs to, if its answer is wanted."""
        question = self._asked.get(event_id or "")
        return question.by if question is not None and question.answer == "unheard" else None

    def is_superseded(self, event_id: str | None) -> bool:
        """Whether its answer came too late: the participant went on talking."""
        question = self._asked.get(event_id or "")
        return question is not None and question.answer == "superseded"

    def stop(
        self,
        reason: CancelReason,
        *,
        heard_only: bool = False,
        by: Collection[Caller] | None = None,
    ) -> bool:
        """Stop what is said and what waits to be; False if there is nothing. With `heard_only`
        what nobody has heard anything of stays, with `by` what is said to other people alone."""
        stopped = [
            item
            for item in self._all()
            if not item.over.is_set()
            and not (heard_only and item.unheard)
            and (by is None or not item.private or not item.audience.isdisjoint(by))
        ]
        for item in stopped:
            item.stop(reason)
        return bool(stopped)

    def cut(self, utterance: Utterance, by: Caller) -> None:
        """A caller interrupts what they hear. What is meant for the room stops for everybody, with
        what waits to be said (V120); of what is said to them alone nobody else knows."""
        if not utterance.private:
            self.stop("barge_in", by=(by,))
            return
        for item in self._all():
            if item.private and by in item.audience and not item.over.is_set():
                item.stop("barge_in")

    def dismiss(self, agent: str) -> None:
        """An agent, by its channel id, says nothing more here."""
        for item in self._all():
            if item.agent == agent:
                item.stop("explicit")

    def supersede(self, participant_id: str) -> None:
        """A participant went on before anything of an answer to them was heard, or of what agents
        say to each other because of them: there will be one answer to all of it (V243)."""
        for question in self._asked.values():
            if question.by == participant_id and question.answer == "unheard":
                question.answer = "superseded"
        for item in self._all():
            if item.answers == participant_id and item.unheard:
                item.stop("superseded")

    def heard(self, event_id: str | None) -> None:
        """The answer to a message is heard: more words of its author interrupt it."""
        question = self._asked.get(event_id or "")
        if question is not None and question.answer == "unheard":
            question.answer = "heard"

    async def until_silent(self, caller: Caller | None = None) -> None:
        """Wait until no agent speaks or waits to, and what they said is stored. With `caller` what
        is said to other people alone is not waited for."""
        while self._unstored or any(
            caller is None or item.concerns(caller) for item in self._all()
        ):
            await self._change()

    async def until_left(self, said: Collection[Utterance]) -> None:
        """Wait until these are over, and what was heard of them is stored."""
        while any(item in said for item in self._all()) or any(
            item.speech.play_id in self._unstored for item in said
        ):
            await self._change()

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(waiter)
        await waiter

    def _all(self) -> list[Utterance]:
        return [*self.speaking, *self.waiting]

    def _next(self) -> None:
        """Give the floor to whoever may have it. Who waits is not overtaken by what it excludes."""
        ahead = list(self.speaking)
        for item in tuple(self.waiting):
            if item.over.is_set():
                self.waiting.remove(item)
            elif any(map(item.excludes, ahead)) or any(map(item.concerns, self._talking)):
                ahead.append(item)
            else:
                self.waiting.remove(item)
                self.speaking.append(item)
                ahead.append(item)
                item.floor.set()
        self._tell()

    def stores(self, event_id: str) -> None:
        """What is said as this event will be stored when it has been heard."""
        self._unstored.add(event_id)

    def stored(self, event_id: str) -> None:
        """It is stored, or it never will be; idempotent."""
        self._unstored.discard(event_id)
        self._tell()

    def _tell(self) -> None:
        """Less is said than before, perhaps: let who waits for it look."""
        if self.silent and not self._unstored and not self.callers:
            self._on_empty(self)
        waiters, self._changed = self._changed, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _same_floor(one: Utterance, other: Utterance) -> bool:
    """Both are for the room, or for the same people."""
    if one.private or other.private:
        return one.private and other.private and one.audience == other.audience
    return True
