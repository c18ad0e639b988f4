"""Who may be heard at once in a room: properties of its floor, and the cases behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.channels.voice_floor import MAX_WAITING, REMEMBERED, Floor, Utterance
from salon.channels.voice_people import Caller
from salon.voice.playback import Playback
from salon.voice.session import MediaSession
from salon.voice.speaking import Speech

NAMES = ("ann", "ben", "cid")


class Line:
    """What a floor sees of a call."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.player = SimpleNamespace(current=None)
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class House:
    """A floor and those who use it."""

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        self.emptied = 0
        self.floor = Floor(self._empty)
        self.callers = [Caller(cast(MediaSession, Line(name)), "room", name) for name in names]
        self.floor.callers.extend(self.callers)
        self.asked: list[Utterance] = []
        """In the order in which they asked for the floor."""
        self.granted: list[Utterance] = []
        self.tasks: list[asyncio.Task[None]] = []

    def _empty(self, _floor: Floor) -> None:
        self.emptied += 1

    async def say(self, *names: str, play_id: str = "", answers: str | None = None) -> Utterance:
        """To these alone, or to the room."""
        audience = {c for c in self.callers if c.participant_id in (names or NAMES)}
        speech = cast(Speech, SimpleNamespace(play_id=play_id))
        made = Utterance(speech, "agent", audience, private=bool(names), answers=answers)
        self.asked.append(made)
        self.tasks.append(asyncio.create_task(self._say(made)))
        await settle()
        return made

    async def _say(self, utterance: Utterance) -> None:
        if await self.floor.take(utterance):
            self.granted.append(utterance)
            for caller in utterance.audience & set(self.floor.callers):
                playback = cast(Playback, SimpleNamespace(speech=None))
                utterance.tracks[caller] = playback
                cast(Any, caller.session).player.current = playback
            await utterance.over.wait()
        for caller in utterance.tracks:
            cast(Any, caller.session).player.current = None
        self.floor.leave(utterance)

    def caller(self, name: str) -> Caller:
        return next(c for c in self.callers if c.participant_id == name)

    async def finish(self, utterance: Utterance) -> None:
        """It was heard."""
        utterance.end()
        await settle()

    def gone(self, caller: Caller) -> None:
        caller.gone = True
        self.floor.gone(caller)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def check(house: House, talking: set[Caller]) -> None:
    """What always holds."""
    floor = house.floor
    for one, other in combinations(floor.speaking, 2):
        assert not one.excludes(other), "two at once for one listener, or for the room"
    for caller in house.callers:
        heard = [item for item in floor.speaking if caller in item.tracks]
        assert len(heard) <= 1
        assert floor.heard_by(caller) is (heard[0] if heard else None)
    ahead = list(floor.speaking)
    for item in floor.waiting:
        blocked = any(map(item.excludes, ahead)) or any(map(item.concerns, talking))
        assert blocked, "it waits for nothing"
        ahead.append(item)
    for one, other in combinations(house.granted, 2):
        if one.excludes(other):
            assert house.asked.index(one) < house.asked.index(other), "overtaken"
    for item in floor.speaking:
        mine = {c for c in talking if item.concerns(c)}
        assert mine & item.audience <= item.held_by <= mine, (
            "those it concerns hold it, nobody else"
        )


Step = tuple[str, tuple[str, ...], int]
some = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple)
step = st.tuples(
    st.sampled_from(["say", "say", "talk", "hush", "end", "cut", "stop", "gone", "drop"]),
    some,
    st.integers(0, 8),
)


async def act(house: House, talking: set[Caller], what: Step) -> None:
    kind, names, number = what
    floor = house.floor
    who = house.callers[number % len(house.callers)]
    private = {item: item.over.is_set() for item in house.asked if not item.concerns(who)}
    match kind:
        case "say":
            await house.say(*names)
        case "talk":
            floor.speaks(who)
            talking |= {who} - {c for c in house.callers if c.gone}
        case "hush":
            floor.silence(who)
            talking -= {who}
        case "end" if floor.speaking:
            floor.speaking[number % len(floor.speaking)].end()
        case "cut" if (heard := floor.heard_by(who)) is not None:
            floor.cut(heard, who)
        case "stop":
            floor.stop("barge_in", by=(who,))
        case "drop":
            floor.drop(who, "explicit")
        case "gone" if number > 6:
            house.gone(who)
            talking -= {who}
    if kind in ("cut", "stop", "drop", "talk", "hush", "gone"):
        for item, over in private.items():
            assert item.over.is_set() == over, "somebody else's"
    await settle()


@settings(max_examples=150, deadline=None)
@given(st.lists(step, max_size=40))
def test_whatever_happens_nobody_hears_two_and_nothing_waits_for_nothing(
    steps: list[Step],
) -> None:
    async def run() -> None:
        house, talking = House(), set[Caller]()
        try:
            for what in steps:
                await act(house, talking, what)
                check(house, talking)
            for caller in house.callers:
                house.floor.silence(caller)
            for _ in house.asked:
                for item in tuple(house.floor.speaking):
                    await house.finish(item)
            assert house.floor.silent, "everybody had their turn"
            assert all(item.over.is_set() for item in house.asked)
        finally:
            await house.close()

    run_now(run())


@settings(max_examples=100, deadline=None)
@given(st.lists(some.filter(bool), min_size=1, max_size=10))
def test_disjoint_audiences_hear_side_by_side(audiences: list[tuple[str, ...]]) -> None:
    """Nobody talks: what has the floor at once is the greedy choice in the order of asking."""

    async def run() -> None:
        house = House()
        try:
            taken: list[set[str]] = []
            for names in audiences:
                made = await house.say(*names)
                free = all(set(names).isdisjoint(other) for other in taken)
                assert (made in house.floor.speaking) == free
                taken.append(set(names))
        finally:
            await house.close()

    run_now(run())


def run_now(job: Coroutine[Any, Any, None]) -> None:
    asyncio.run(job)


# -- cases ----------------------------------------------------------------------------------------


@pytest.fixture
async def house() -> Any:
    made = House()
    yield made
    await made.close()


async def test_what_is_for_the_room_waits_for_what_one_hears_and_is_not_overtaken(
    house: House,
) -> None:
    ann = await house.say("ann")
    room = await house.say()
    later = await house.say("ben")
    assert house.floor.speaking == [ann]
    await house.finish(ann)
    assert house.floor.speaking == [room]
    await house.finish(room)
    assert house.floor.speaking == [later]


async def test_V243_only_its_listener_holds_what_is_private(house: House) -> None:
    said = await house.say("ann")
    ann, ben = house.caller("ann"), house.caller("ben")
    house.floor.speaks(ben)
    assert said.held_by == set()
    house.floor.speaks(ann)
    assert said.held_by == {ann}
    assert house.floor.held_by(ann) == [said]
    assert house.floor.held_by(ben) == []
    house.floor.silence(ben)
    assert said.held_by == {ann}
    house.floor.silence(ann)
    assert said.held_by == set()


async def test_V120_a_cut_of_the_room_leaves_what_others_hear_alone(house: House) -> None:
    room, ann, ben = await house.say(), await house.say("ann"), await house.say("ben")
    house.floor.cut(room, house.caller("ann"))
    assert (room.reason, ann.reason, ben.reason) == ("barge_in", "barge_in", None)


async def test_a_cut_of_what_one_hears_leaves_the_room_alone(house: House) -> None:
    ann, again = await house.say("ann"), await house.say("ann")
    room, ben = await house.say(), await house.say("ben")
    house.floor.cut(ann, house.caller("ann"))
    assert (ann.reason, again.reason, room.reason, ben.reason) == (
        "barge_in",
        "barge_in",
        None,
        None,
    )
    await settle()
    assert house.floor.speaking == [room]


async def test_who_leaves_takes_along_what_only_they_would_hear(house: House) -> None:
    room = await house.say()
    ann, both = await house.say("ann"), await house.say("ann", "ben")
    house.gone(house.caller("ann"))
    await settle()
    assert (ann.reason, both.reason, room.reason) == ("disconnect", None, None)
    await house.finish(room)
    assert house.floor.speaking == [both]
    for name in ("ben", "cid"):
        house.gone(house.caller(name))
    await settle()
    assert both.reason == "disconnect"
    assert house.floor.silent
    assert house.emptied


async def test_a_listener_who_hears_no_more_frees_the_way(house: House) -> None:
    both, ann = await house.say("ann", "ben"), await house.say("ann")
    house.floor.drop(house.caller("ann"), "explicit")
    await settle()
    assert house.floor.speaking == [both, ann]
    house.floor.drop(house.caller("cid"), "explicit")  # hears nothing
    assert house.floor.speaking == [both, ann]


async def test_too_much_for_one_takes_nothing_from_the_others(house: House) -> None:
    first = await house.say()
    room, ben = await house.say(), await house.say("ben")
    mine = [await house.say("ann") for _ in range(MAX_WAITING + 2)]
    assert [item.reason for item in mine[:3]] == ["explicit", "explicit", None]
    assert [item.reason for item in (first, room, ben)] == [None] * 3
    theirs = [await house.say() for _ in range(MAX_WAITING)]
    reasons = [item.reason for item in (first, room, theirs[0], mine[2])]
    assert reasons == [None, "explicit", None, None], "the oldest that waits for the room"


async def test_V125_who_waits_for_silence_waits_for_what_they_hear(house: House) -> None:
    ann, ben = await house.say("ann"), await house.say("ben")
    mine = asyncio.create_task(house.floor.until_silent(house.caller("ann")))
    all_of_it = asyncio.create_task(house.floor.until_silent())
    await house.finish(ann)
    assert mine.done()
    assert not all_of_it.done()
    await house.finish(ben)
    assert all_of_it.done()


async def test_V243_superseded_is_only_what_answers_them(house: House) -> None:
    mine, ben = await house.say(answers="ann"), await house.say("ben")
    house.floor.supersede("ann")
    assert (mine.reason, ben.reason) == ("superseded", None)


async def test_V243_what_agents_say_to_each_other_belongs_to_who_began(house: House) -> None:
    floor = house.floor
    floor.asked("ann", "question")
    floor.answered("question", "answer")
    floor.heard("question")
    floor.answered("answer", "reply")
    floor.answered("unknown", "remark")
    asked = [floor.who_asked(item) for item in ("question", "answer", "reply", "remark")]
    assert asked == [None, "ann", "ann", None]
    floor.supersede("ben")
    assert not floor.is_superseded("reply")
    floor.supersede("ann")
    floor.answered("answer", "late")
    found = {item: floor.is_superseded(item) for item in ("question", "answer", "reply", "late")}
    assert found == {"question": False, "answer": True, "reply": True, "late": True}


async def test_only_the_newest_messages_are_remembered(house: House) -> None:
    house.floor.asked("ann", "0")
    for number in range(REMEMBERED):
        house.floor.answered(str(number), str(number + 1))
    assert house.floor.who_asked("0") is None
    assert house.floor.who_asked("1") == house.floor.who_asked(str(REMEMBERED)) == "ann"


async def test_who_is_gone_does_not_hold_the_floor(house: House) -> None:
    ann = house.caller("ann")
    house.gone(ann)
    house.floor.speaks(ann)
    assert (await house.say()) in house.floor.speaking


async def test_stop_says_whether_there_was_something_of_theirs(house: House) -> None:
    ben = await house.say("ben")
    assert not house.floor.stop("explicit", by=(house.caller("ann"),))
    assert not house.floor.stop("explicit", heard_only=True)
    assert house.floor.stop("explicit")
    assert ben.reason == "explicit"


async def test_one_agent_at_a_time_speaks_to_the_room_whoever_is_left_to_hear(
    house: House,
) -> None:
    room = await house.say()
    room.audience = {house.caller("ann")}
    other = await house.say()
    other.audience = {house.caller("ben")}
    house.floor.silence(house.caller("ben"))
    house.floor.drop(house.caller("ben"), "explicit")
    assert house.floor.speaking == [room]
