"""Wards for `soak_voice.py`: channels whose engines fail, and the people in their rooms."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faulty_lines import Ear, bounded
from faulty_voice import Faults, FaultyAgent, FaultySTT, FaultyTTS, FaultyTurnDetector, faulty_hook

from salon.base import new_id
from salon.channels.ai import AIChannel
from salon.channels.voice import VoiceChannel
from salon.channels.voice_floor import Utterance
from salon.core import RoomKit
from salon.media.frame import SAMPLE_RATE, Samples
from salon.models import HookTrigger
from salon.testing.speech import speak
from salon.transport.ticker import Ticker
from salon.voice.backends.session import VoiceSession
from salon.voice.engine import VoiceEngine
from salon.voice.stt.adapt import recognizer_of
from salon.voice.tts.adapt import voice_of
from salon.voice.vad.batch import BatchedVad
from salon.voice.vad.model import SileroModel

PATIENCE_S = 3.0
"""What engines are given to answer."""
HOOK_S = 2.0
SETTLE_S = 6.0
"""After the end of the faults in a ward; what hangs is given up within it."""
PAUSE_S = 0.8
"""Silence after what is said."""
ANSWER_S = 12.0
"""A question has to be answered, audibly, within this of its end."""
ROOM_S = (30.0, 60.0)
"""How long rooms last. What has been said there is kept for as long, so that after this time the
process holds as much as it ever will; but one room of each ward lasts to the end."""
SHOWN_S = 10.0
"""The room is told of an agent's failure within this, if it lasts as long; hooks that hang hold up
what is said before."""
LEAVE_S = 20.0
"""Who leaves has left within this, whatever hangs."""
VOICES = (("slt", "What are your opening hours today?"), ("rms", "Tell me something about it."))
VARIABLE = re.compile(r"[0-9a-f]+(?:-[0-9a-f]+){2,}|[0-9a-f]{8,}|[0-9.]+")
"""What differs between lines that say the same."""


class Journal(logging.Handler):
    """Everything logged, by its words; the first of each kind is kept whole."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self._form = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        kind = type(record.exc_info[1]).__name__ if record.exc_info else "-"
        words = VARIABLE.sub("N", record.getMessage())[:140]
        key = f"{record.name}: {words} [{kind}]"
        self.counts[key] += 1
        if key not in self.first:
            self.first[key] = self._form.format(record)

    def count(self, *parts: str) -> int:
        """Lines that have all of these in it."""
        return sum(n for key, n in self.counts.items() if all(part in key for part in parts))


@dataclass
class Tally:
    """What happened."""

    actions: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    """What was told of faults, by engine."""
    messages: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    probes: int = 0
    unusable: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    rss: list[tuple[float, float]] = field(default_factory=list)


class World:
    """What all wards share."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tally = Tally()
        self.unshown: dict[str, dict[object, float]] = {}
        """By room: failures of agents that the room was not told of yet, and since when."""
        self.kit = RoomKit(process_timeout=10.0)
        self.engine = VoiceEngine(vad=BatchedVad(SileroModel.load()), ticker=Ticker())
        pause = np.zeros(int(PAUSE_S * SAMPLE_RATE), dtype=np.int16)
        self.questions: list[Samples] = [
            np.concatenate((speak(text, voice=voice), pause)) for voice, text in VOICES
        ]
        self.nod: Samples = np.concatenate((speak("Uh huh.", voice="slt"), pause))
        self.answer = speak("This is what there is to say.", voice="awb")

    def told(self, engine: str, what: object) -> None:
        """Words about a fault, without what differs from time to time."""
        words = f"{type(what).__name__}: {what}" if isinstance(what, BaseException) else str(what)
        self.tally.messages[f"{engine}: {VARIABLE.sub('N', words)[:100]}"] += 1

    def over(self, room_id: str) -> None:
        """A room is about to end. Of a failure of the last moments its people need not have heard;
        those who look after agents have, by the framework's event."""
        now = time.monotonic()
        late = sum(now - since > SHOWN_S for since in self.unshown.pop(room_id, {}).values())
        if late:
            self.tally.failures["failure of an agent that its room was not told of"] += late


@dataclass(eq=False)
class Person:
    """Somebody on a line."""

    room: Room
    session: VoiceSession
    ear: Ear

    def say(self, sound: Samples) -> None:
        self.room.ward.backend.say(self.session, sound)


@dataclass(eq=False)
class Room:
    """One place for `size` people; its room is now and then another one."""

    ward: Ward
    size: int
    room_id: str = ""
    closes_at: float = math.inf
    """Monotonic seconds."""
    people: list[Person] = field(default_factory=list)
    door: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is furnished, or cleared."""


class Ward:
    """One channel with its own engines, agents and rooms."""

    def __init__(self, world: World, name: str, sizes: tuple[int, ...], *, agents: int = 1) -> None:
        self.world = world
        self.name = name
        self.faults = Faults(random.Random(f"{world.seed}{name}"))
        self.rooms = [Room(self, size) for size in sizes]
        self.agents = [FaultyAgent(self.faults, f"{name}-agent-{n}") for n in range(agents)]
        self.ticker = world.engine.ticker
        self.turn: FaultyTurnDetector | None = None
        self.hooks: tuple[HookTrigger, ...] = ()
        self.backend: Any = None
        self.channel: VoiceChannel
        self.busy = 0
        """Actions under way."""

    def open(self, backend: Any, channel: VoiceChannel) -> None:
        """Put it together."""
        self.backend, self.channel = backend, channel
        kit = self.world.kit
        kit.register_channel(channel)
        for agent in self.agents:
            kit.register_channel(
                AIChannel(
                    agent.name, provider=agent, silence_timeout=PATIENCE_S, max_context_events=6
                )
            )

    @property
    def tts(self) -> Any:
        return voice_of(
            FaultyTTS(self.faults, f"{self.name}-tts", self.world.answer), chunk_timeout=PATIENCE_S
        )

    def stt(self, provider: FaultySTT) -> Any:
        return recognizer_of(provider, answer_timeout=PATIENCE_S)

    # -- rooms ------------------------------------------------------------------------------------

    async def furnish(self, room: Room) -> None:
        """Open a room, with agents; people come by themselves."""
        kit, room_id = self.world.kit, f"{self.name}-{new_id()}"
        await kit.create_room(room_id)
        await kit.attach_channel(room_id, self.name)
        for agent in self.agents:
            await kit.attach_channel(room_id, agent.name)
        for trigger in self.hooks:
            kit.hook(trigger, name=f"{self.name} {trigger}", timeout=HOOK_S, room_id=room_id)(
                faulty_hook(self.faults, HOOK_S)
            )
        room.room_id = room_id
        if room is not self.rooms[0]:
            room.closes_at = time.monotonic() + self.faults.dice.uniform(*ROOM_S)

    async def close_room(self, room: Room) -> None:
        """Close it or delete it, with people in it; they leave then."""
        async with room.door:
            if room.room_id:
                await self._clear(room)

    async def _clear(self, room: Room) -> None:
        tally, dice = self.world.tally, self.faults.dice
        how = dice.choice(("close", "delete"))
        tally.actions[f"{how} room"] += 1
        kit, old = self.world.kit, room.room_id
        self.world.over(old)
        if how == "close":
            await self.bounded("close room", kit.close_room(old))
            await asyncio.sleep(dice.uniform(0, 1))
        else:
            await self.bounded("delete room", kit.delete_room(old))
        for person in list(room.people):
            await self.leave(person)
        if how == "close":
            await self.bounded("delete room", kit.delete_room(old))
        self.world.unshown.pop(old, None)
        for agent in self.agents:
            agent.asked.pop(old, None)
        room.room_id = ""

    # -- people -----------------------------------------------------------------------------------

    async def join(self, room: Room) -> Person | None:
        """Somebody comes, unless the transport fails."""
        async with room.door:
            if not room.room_id:
                await self.furnish(room)
            return await self._enter(room)

    async def _enter(self, room: Room) -> Person | None:
        kit, dice, room_id = self.world.kit, self.faults.dice, room.room_id
        session: VoiceSession | None = None

        async def come() -> None:
            nonlocal session
            session = await kit.join(room_id, self.name)

        error = await bounded(PATIENCE_S + 1, come())
        if error is not None or session is None:
            self.world.tally.seen["connect"] += 1
            self.world.told("connect", error)
            return None
        self.world.tally.actions["join"] += 1
        if dice.random() < 0.5:
            self.backend.close_microphone(session)
        person = Person(room, session, self.backend.ears[session.id])
        room.people.append(person)
        return person

    async def leave(self, person: Person, *, vanish: bool = False) -> None:
        """Somebody goes, politely or not."""
        if person not in person.room.people:
            return
        person.room.people.remove(person)
        self.world.tally.actions["vanish" if vanish else "leave"] += 1
        if vanish:
            await self.backend.vanish(person.session)
            return
        await self.bounded("leave", self.world.kit.leave(person.session), told="disconnect")

    async def bounded(self, what: str, work: Any, *, told: str | None = None) -> None:
        """Do something that must not last. An error is an explicit answer; no end is none."""
        error = await bounded(LEAVE_S, work)
        if isinstance(error, TimeoutError):
            self.world.tally.failures[f"{what} did not end within {LEAVE_S:.0f} s"] += 1
        elif error is not None and told is None:
            self.world.tally.failures[f"{what}: {type(error).__name__}: {error}"] += 1
        if error is not None and told is not None:
            self.world.tally.seen[told] += 1
            self.world.told(told, error)

    async def live(self, room: Room, until: Callable[[], bool]) -> None:
        """The life of one place in a room while `until` is not reached: whoever is here does this
        and that; while nothing is broken they hold their peace."""
        dice, tally = self.faults.dice, self.world.tally
        person: Person | None = None
        while not until():
            if not self.faults.on:
                await asyncio.sleep(0.2)
                continue
            if person is None or person not in room.people:
                if len(room.people) < room.size:
                    person = await self.join(room)
                await asyncio.sleep(dice.uniform(0.2, 1.0))
                continue
            action = dice.choices(
                ("ask", "barge", "nod", "wait", "leave", "vanish", "close room"),
                (40, 15, 6, 20, 5, 6, 1.5),
            )[0]
            if time.monotonic() > room.closes_at and room.people[0] is person:
                action = "close room"
            if action not in ("leave", "vanish", "close room"):
                tally.actions[action] += 1
            await self.act(person, action)

    async def act(self, person: Person, action: str) -> None:
        """One thing somebody does."""
        dice = self.faults.dice
        match action:
            case "ask" | "barge":
                person.say(dice.choice(self.world.questions))
                await asyncio.sleep(dice.uniform(3, 7))
                if action == "barge":
                    person.say(dice.choice(self.world.questions))
                    await asyncio.sleep(dice.uniform(1, 3))
            case "nod":
                person.say(self.world.nod)
                await asyncio.sleep(1)
            case "leave" | "vanish":
                if dice.random() < 0.5:
                    person.say(dice.choice(self.world.questions))
                    await asyncio.sleep(dice.uniform(0.2, 4))  # in mid-speech, or in mid-answer
                await self.leave(person, vanish=action == "vanish")
            case "close room":
                if person.room.people[:1] == [person]:
                    await self.close_room(person.room)
            case _:
                await asyncio.sleep(dice.uniform(0.5, 3))

    # -- while nothing is broken ------------------------------------------------------------------

    async def seasons(self, until: Callable[[], bool], faulty: float, offset: float) -> None:
        """Faults for a while, then none and a question in every room; again and again."""
        first = True
        while not until():
            self.faults.on = True
            await asyncio.sleep(offset if first else faulty)
            first = False
            if until():
                break
            self.faults.on = False
            await self.probe_all()
        self.faults.on = False

    async def probe_all(self) -> None:
        """A question in every room."""
        for room in self.rooms:
            for person in room.people:
                self.backend.shut_up(person.session)
        await asyncio.sleep(SETTLE_S)
        await asyncio.gather(*(self.probe(room) for room in self.rooms))

    async def probe(self, room: Room) -> None:
        """Whoever is there longest (or, in an empty room, a newcomer) asks, and must hear it."""
        tally = self.world.tally
        async with room.door:  # whoever closes it still is done with that
            person = room.people[0] if room.people else None
        person = person or await self.join(room)
        if person is None:
            tally.unusable.append(f"{self.name}: nobody can join")
            return
        tally.probes += 1
        asked = [agent.asked[room.room_id] for agent in self.agents]
        question = self.world.questions[0]
        person.ear.listen()
        person.say(question)
        await asyncio.sleep(len(question) / SAMPLE_RATE - PAUSE_S)
        began = time.monotonic()
        while not person.ear.answered:
            if time.monotonic() - began > ANSWER_S or person not in room.people:
                tally.unusable.append(self.why(room, person, asked))
                break
            await asyncio.sleep(0.05)
        else:
            tally.latencies.append(time.monotonic() - began)
        person.ear.listening = False

    def why(self, room: Room, person: Person, asked: list[int]) -> str:
        """How far a question came that was not answered."""
        now = [agent.asked[room.room_id] for agent in self.agents]
        line = self.channel._lines.get(person.session.id)
        floor = self.channel._rooms.floors.get(room.room_id)
        facts = [
            f"agents asked {[b - a for a, b in zip(asked, now, strict=True)]}",
            f"heard {person.ear.sound}/{person.ear.frames} frames with sound",
            f"{person.ear.hits} of the tone",
            f"state {person.session.state}",
            "no line" if line is None else f"left={line.left} packets={line.leg.packets_in}",
            "no floor"
            if floor is None
            else f"floor {len(floor.speaking)} speaking, "
            f"{len(floor.waiting)} waiting, {len(floor._talking)} talking",
            *([] if floor is None else map(_described, (*floor.speaking, *floor.waiting))),
        ]
        return f"{self.name}: no answer within {ANSWER_S:.0f} s: {', '.join(facts)}"


def _described(item: Utterance) -> str:
    """What has the floor, or waits for it."""
    whose = "of somebody's question" if item.answers else "of no open question"
    item.note_heard()
    return f"{item.agent} {whose}, heard {item.played_ms} ms, {len(item.held_by)} hold it"
