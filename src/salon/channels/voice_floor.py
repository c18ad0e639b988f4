"""Who speaks in a room: agents take turns, and wait while a person is speaking.

One agent is heard at a time. Another one's words wait for the floor, synthesized ahead, and so does
an answer whose first sound nobody has heard yet when somebody begins to speak (V243).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from salon.channels.voice_people import Caller
from salon.voice.hook_payloads import CancelReason
from salon.voice.playback import Playback
from salon.voice.speaking import Speech

MAX_WAITING = 16
"""Utterances that may wait for the floor of a room; beyond, the oldest is given up."""
STORE_WAIT_S = 5.0
"""What was said is waited for this long to be stored."""
REMEMBERED = 64
"""Of so many newest messages of a room it is known whether their answer was heard."""


@dataclass(slots=True, eq=False)
class Utterance:
    """What one agent says in a room."""

    speech: Speech
    agent: str
    """Channel id of whoever speaks."""
    answers: str | None = None
    """Participant whose words it answers."""
    tracks: dict[Caller, Playback] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    floor: asyncio.Event = field(default_factory=asyncio.Event)
    """It may be heard, or it is over."""
    reason: CancelReason | None = None
    """Why it ended before its end."""
    heard: str = ""
    played_ms: int = 0
    held_by: set[Caller] = field(default_factory=set)
    """Callers whose speech paused it."""

    @property
    def paused(self) -> bool:
        """It waits in the middle, and perhaps goes on."""
        return bool(self.held_by)

    @property
    def cut(self) -> bool:
        """It ended before its end."""
        return self.reason is not None

    @property
    def unheard(self) -> bool:
        """Nobody has heard anything of it yet."""
        self.note_heard()
        return self.played_ms == 0

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
        if self.tracks.pop(caller, None) is None:
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

    def __init__(self, on_empty: Callable[[], None] = lambda: None) -> None:
        self._on_empty = on_empty
        self.callers: list[Caller] = []
        self.current: Utterance | None = None
        self.waiting: deque[Utterance] = deque()
        self._talking: set[Caller] = set()
        self._asked: OrderedDict[str, str] = OrderedDict()
        """Who asked, by the id of messages whose answer nobody has heard yet."""
        self._superseded: OrderedDict[str, None] = OrderedDict()
        self._unstored: set[str] = set()
        self._idle: list[asyncio.Future[None]] = []

    @property
    def silent(self) -> bool:
        """No agent speaks or waits to."""
        return self.current is None and not self.waiting

    async def take(self, utterance: Utterance) -> bool:
        """Wait for the floor; False if the utterance was stopped before it had it."""
        self.waiting.append(utterance)
        if len(self.waiting) > MAX_WAITING:
            self.waiting[0].stop("explicit")
        self._next()
        await utterance.floor.wait()
        return not utterance.over.is_set()

    def leave(self, utterance: Utterance) -> None:
        """An utterance is over, whether it had the floor or not; idempotent."""
        if utterance in self.waiting:
            self.waiting.remove(utterance)
        if self.current is utterance:
            self.current = None
        if (event_id := utterance.speech.play_id) in self._unstored:
            asyncio.get_running_loop().call_later(STORE_WAIT_S, self.stored, event_id)
        self._next()

    def speaks(self, caller: Caller) -> None:
        """A person began to speak: what is not heard yet waits (V243)."""
        if caller.gone:
            return
        self._talking.add(caller)
        current = self.current
        if current is not None and current.unheard:
            current.pause(caller)

    def silence(self, caller: Caller) -> None:
        """A person has ended, and what they said is dealt with; idempotent."""
        if caller not in self._talking:
            return
        self._talking.remove(caller)
        if self.current is not None and self.current.unheard:
            self.current.resume(caller)
        self._next()

    def asked(self, participant_id: str, event_id: str) -> None:
        """A participant's message was routed: its answer is unheard so far."""
        self._asked[event_id] = participant_id
        while len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def who_asked(self, event_id: str | None) -> str | None:
        """The participant whose message this is, if its answer is still wanted."""
        return None if event_id is None else self._asked.get(event_id)

    def is_superseded(self, event_id: str | None) -> bool:
        """Whether its answer came too late: the participant went on talking."""
        return event_id is not None and event_id in self._superseded

    def stop(self, reason: CancelReason, *, heard_only: bool = False) -> bool:
        """Stop what is said and what waits to be; False if there is nothing. With `heard_only`
        what nobody has heard anything of stays."""
        stopped = [
            item
            for item in self._all()
            if not item.over.is_set() and not (heard_only and item.unheard)
        ]
        for item in stopped:
            item.stop(reason)
        return bool(stopped)

    def supersede(self, participant_id: str) -> None:
        """A participant went on before anything of an answer to them was heard: there will be one
        answer to all of it (V243)."""
        for event_id in [key for key, who in self._asked.items() if who == participant_id]:
            del self._asked[event_id]
            self._superseded[event_id] = None
        while len(self._superseded) > REMEMBERED:
            self._superseded.popitem(last=False)
        for item in self._all():
            if item.answers == participant_id and item.unheard:
                item.stop("superseded")

    def heard(self, event_id: str | None) -> None:
        """The answer to a message is heard: more words of its author interrupt it."""
        if event_id is not None:
            self._asked.pop(event_id, None)

    async def until_silent(self) -> None:
        """Wait until no agent speaks or waits to, and what they said is stored."""
        while not self.silent or self._unstored:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter

    def _all(self) -> list[Utterance]:
        return [*([self.current] if self.current is not None else []), *self.waiting]

    def _next(self) -> None:
        while self.current is None and self.waiting and not self._talking:
            utterance = self.waiting.popleft()
            if not utterance.over.is_set():
                self.current = utterance
                utterance.floor.set()
        self._tell_idle()

    def stores(self, event_id: str) -> None:
        """What is said as this event will be stored when it has been heard."""
        self._unstored.add(event_id)

    def stored(self, event_id: str) -> None:
        """It is stored, or it never will be; idempotent."""
        self._unstored.discard(event_id)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self.silent and not self._unstored:
            if not self.callers:
                self._on_empty()
            waiters, self._idle = self._idle, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
