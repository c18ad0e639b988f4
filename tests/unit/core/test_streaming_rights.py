"""An answer that forms goes on only to those who may have it (R70-R77, R124)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from salon.core.changes import RoomChanges
from salon.core.kit import RoomKit
from salon.core.ports.channel import StreamOutcome
from salon.models import Access, InboundResult

from .helpers import PATIENCE, ROOM, Agent, Screen, Stream, Transport, message, messages, room_with

Change = Callable[[RoomKit], Awaitable[Any]]

OF_ONE: dict[str, Change] = {
    "visibility of the agent": lambda kit: kit.set_visibility(ROOM, "bot", "sms,two"),
    "access": lambda kit: kit.set_access(ROOM, "one", Access.WRITE_ONLY),
    "muted output": lambda kit: kit.mute_output(ROOM, "one"),
    "detached": lambda kit: kit.detach_channel(ROOM, "one"),
}
OF_ALL: dict[str, Change] = {
    "muted agent": lambda kit: kit.mute(ROOM, "bot"),
    "access of the agent": lambda kit: kit.set_access(ROOM, "bot", Access.READ_ONLY),
    "detached agent": lambda kit: kit.detach_channel(ROOM, "bot"),
    "closed": lambda kit: kit.close_room(ROOM),
    "archived": lambda kit: kit.archive_room(ROOM),
}


class Scene:
    """Two screens, and an agent that stops after its first word."""

    def __init__(self) -> None:
        self.one, self.two = Screen("one"), Screen("two")
        self.go, self.on = asyncio.Event(), asyncio.Event()
        self.stream = Stream("first ", self.go, "second ", self.on, "third")
        self.bot = Agent(
            "bot", lambda event, _: self.stream() if event.source.channel_id == "sms" else None
        )

    async def begin(self, kit: RoomKit) -> asyncio.Task[InboundResult]:
        """Returns when the first word was heard."""
        await room_with(kit, Transport("sms"), self.one, self.two, self.bot)
        call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
        await self.heard(self.one, self.two)
        return call

    @staticmethod
    async def heard(*screens: Screen, count: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while any(len(screen.heard) < count for screen in screens):
                await asyncio.sleep(0)


async def ends(call: asyncio.Task[InboundResult]) -> InboundResult:
    return await asyncio.wait_for(call, PATIENCE)


@pytest.mark.parametrize("what", OF_ONE)
async def test_who_loses_the_right_to_an_answer_gets_no_more_of_it(kit: RoomKit, what: str) -> None:
    scene = Scene()
    call = await scene.begin(kit)
    await OF_ONE[what](kit)
    scene.go.set()
    await scene.heard(scene.two, count=2)
    while not scene.one.finished:
        await asyncio.sleep(0)  # told while the answer goes on
    scene.on.set()
    await ends(call)
    stored = (await messages(kit))[-1]
    assert scene.one.heard == ["first "]
    assert scene.one.finished == [(stored.id, None, None)]
    assert scene.one.bodies == ["hi"]
    assert scene.two.heard == ["first ", "second ", "third"]
    assert [(stored.id, event and event.text) for _, event, _ in scene.two.finished] == [
        (stored.id, "first second third")
    ]


@pytest.mark.parametrize("what", OF_ALL)
async def test_an_answer_that_will_be_refused_goes_on_to_nobody(kit: RoomKit, what: str) -> None:
    scene = Scene()
    call = await scene.begin(kit)
    await OF_ALL[what](kit)
    scene.go.set()
    scene.on.set()
    result = await ends(call)
    assert result.response_events == []
    for screen in (scene.one, scene.two):
        assert screen.heard == ["first "]
        assert [(event, error) for _, event, error in screen.finished] == [(None, None)]


async def test_an_answer_for_a_room_that_is_deleted_goes_on_to_nobody(kit: RoomKit) -> None:
    scene = Scene()
    call = await scene.begin(kit)
    await kit.delete_room(ROOM)
    scene.go.set()
    scene.on.set()
    await ends(call)
    assert scene.one.heard == scene.two.heard == ["first "]


async def test_who_gets_the_right_back_gets_the_stored_answer(kit: RoomKit) -> None:
    scene = Scene()
    call = await scene.begin(kit)
    await kit.mute_output(ROOM, "one")
    scene.go.set()
    await scene.heard(scene.two, count=2)
    await kit.unmute_output(ROOM, "one")
    scene.on.set()
    await ends(call)
    assert scene.one.heard == ["first "]
    assert [event for _, event, _ in scene.one.finished] == [None]
    assert scene.one.bodies == ["hi", "first second third"]


async def test_other_changes_end_nothing(kit: RoomKit) -> None:
    scene = Scene()
    call = await scene.begin(kit)
    await kit.update_binding_metadata(ROOM, "one", {"a": 1})
    await kit.create_room("other")
    await kit.attach_channel("other", "one")
    await kit.detach_channel("other", "one")
    scene.go.set()
    scene.on.set()
    await ends(call)
    assert scene.one.heard == scene.two.heard == ["first ", "second ", "third"]


async def test_what_was_not_read_before_is_not_read_after(kit: RoomKit) -> None:
    scene = Scene()
    slow = asyncio.Event()

    async def read(stream: Any) -> StreamOutcome:
        async for delta in stream:
            scene.one.heard.append(delta)
            await slow.wait()
        return StreamOutcome("cut short", interrupted=True)  # which is nobody's business any more

    scene.one.behave = read
    call = await scene.begin(kit)
    scene.go.set()
    await scene.heard(scene.two, count=2)
    await kit.mute_output(ROOM, "one")
    scene.on.set()
    await scene.heard(scene.two, count=3)
    slow.set()
    await ends(call)
    assert scene.one.heard == ["first "]
    assert (await messages(kit))[-1].text == "first second third"


def test_nothing_is_kept_of_rooms_that_nobody_watches() -> None:
    changes = RoomChanges()
    told: list[str] = []
    with changes.watched("r", lambda: told.append("a")), changes.watched("r", lambda: None):
        changes.tell("r")
        changes.tell("s")
    changes.tell("r")
    assert told == ["a"]
    assert changes._watchers == {}
