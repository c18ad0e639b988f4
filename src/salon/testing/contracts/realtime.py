"""The contract of `RealtimeBackend`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import pytest

from salon.base import UnavailableError
from salon.realtime import EphemeralEvent, EphemeralEventType, RealtimeBackend, room_topic
from salon.testing.contracts.samples import START

PATIENCE_S: Final = 10.0
"""How long an event may take to arrive before a test gives up on it."""


def make_ephemeral(name: str = "1", room_id: str = "room") -> EphemeralEvent:
    """A typing event, told apart by its id."""
    return EphemeralEvent(
        id=name,
        room_id=room_id,
        type=EphemeralEventType.TYPING_START,
        user_id="ann",
        channel_id="page",
        data={"name": "Ann", "nested": {"list": [1, None, "å"]}},
        timestamp=START + timedelta(milliseconds=250),
    )


class Inbox:
    """A subscriber that keeps what it gets, and can be made to hang at its first event."""

    def __init__(self, *, hang: bool = False) -> None:
        self.events: list[EphemeralEvent] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self._changed = asyncio.Event()
        if not hang:
            self.gate.set()

    async def __call__(self, event: EphemeralEvent) -> None:
        self.entered.set()
        await self.gate.wait()
        self.events.append(event)
        self._changed.set()

    @property
    def names(self) -> list[str]:
        """The ids of what came."""
        return [event.id for event in self.events]

    async def until(self, name: str) -> None:
        """Wait for an event."""
        async with asyncio.timeout(PATIENCE_S):
            while name not in self.names:
                self._changed.clear()
                await self._changed.wait()


class RealtimeContract:
    """Give it a `realtime` fixture: a new, usable backend per test, closed by the fixture."""

    async def test_R219_a_subscriber_gets_what_is_published(
        self, realtime: RealtimeBackend
    ) -> None:
        inbox = Inbox()
        await realtime.subscribe("topic", inbox)
        await realtime.publish("topic", make_ephemeral())
        await inbox.until("1")
        assert inbox.events == [make_ephemeral()]

    async def test_R219_each_subscriber_of_a_channel_gets_it_and_no_other(
        self, realtime: RealtimeBackend
    ) -> None:
        here, too, elsewhere = Inbox(), Inbox(), Inbox()
        ids = [
            await realtime.subscribe("topic", here),
            await realtime.subscribe("topic", too),
            await realtime.subscribe("other", elsewhere),
        ]
        assert len(set(ids)) == 3
        await realtime.publish("topic", make_ephemeral("1"))
        await realtime.publish("other", make_ephemeral("2"))
        for inbox, name in ((here, "1"), (too, "1"), (elsewhere, "2")):
            await inbox.until(name)
            assert inbox.names == [name]

    async def test_R219_rooms_have_channels_of_their_own(self, realtime: RealtimeBackend) -> None:
        room, topic, other = Inbox(), Inbox(), Inbox()
        await realtime.subscribe_to_room("room", room)
        await realtime.subscribe("room:room", topic)
        await realtime.subscribe_to_room("else", other)
        await realtime.publish_to_room("room", make_ephemeral("1"))
        await realtime.publish_to_room("else", make_ephemeral("2", "else"))
        await realtime.publish(room_topic("room"), make_ephemeral("3"))
        await room.until("3")
        await topic.until("3")
        await other.until("2")
        assert (room.names, topic.names, other.names) == (["1", "3"], ["1", "3"], ["2"])

    async def test_R220_nothing_is_kept_for_latecomers(self, realtime: RealtimeBackend) -> None:
        early, late = Inbox(), Inbox()
        await realtime.subscribe("topic", early)
        await realtime.publish("topic", make_ephemeral("before"))
        await early.until("before")
        await realtime.subscribe("topic", late)
        await realtime.publish("topic", make_ephemeral("after"))
        await late.until("after")
        assert late.names == ["after"]

    async def test_R222_order_is_kept(self, realtime: RealtimeBackend) -> None:
        inbox = Inbox()
        await realtime.subscribe("topic", inbox)
        names = [str(number) for number in range(50)]
        for name in names:
            await realtime.publish("topic", make_ephemeral(name))
        await inbox.until(names[-1])
        assert inbox.names == names

    async def test_R222_a_hanging_subscriber_delays_neither_publisher_nor_others(
        self, realtime: RealtimeBackend
    ) -> None:
        stuck, well = Inbox(hang=True), Inbox()
        await realtime.subscribe("topic", stuck)
        await realtime.subscribe("topic", well)
        async with asyncio.timeout(PATIENCE_S):
            for name in ("1", "2", "3"):
                await realtime.publish("topic", make_ephemeral(name))
        await well.until("3")
        assert (stuck.names, well.names) == ([], ["1", "2", "3"])
        stuck.gate.set()
        await stuck.until("3")
        assert stuck.names == ["1", "2", "3"]

    async def test_R222_a_slow_subscriber_loses_the_oldest(self, realtime: RealtimeBackend) -> None:
        stuck, well = Inbox(hang=True), Inbox()
        await realtime.subscribe("topic", stuck)
        await realtime.subscribe("topic", well)
        await realtime.publish("topic", make_ephemeral("first"))
        async with asyncio.timeout(PATIENCE_S):
            await stuck.entered.wait()
        names = [str(number) for number in range(150)]
        for name in names:
            await realtime.publish("topic", make_ephemeral(name))
            await well.until(name)
        stuck.gate.set()
        await stuck.until(names[-1])
        assert stuck.names == ["first", *names[-100:]]
        assert well.names == ["first", *names]

    async def test_R222_a_failing_subscriber_fails_alone_and_goes_on(
        self, realtime: RealtimeBackend
    ) -> None:
        inbox, seen = Inbox(), Inbox()

        async def fail(event: EphemeralEvent) -> None:
            await seen(event)
            raise ZeroDivisionError("meant")

        await realtime.subscribe("topic", fail)
        await realtime.subscribe("topic", inbox)
        for name in ("1", "2"):
            await realtime.publish("topic", make_ephemeral(name))
        await inbox.until("2")
        await seen.until("2")
        assert inbox.names == seen.names == ["1", "2"]

    async def test_R222_unsubscribe_says_whether_there_was_something(
        self, realtime: RealtimeBackend
    ) -> None:
        gone, stays = Inbox(), Inbox()
        subscription = await realtime.subscribe("topic", gone)
        await realtime.subscribe("topic", stays)
        assert await realtime.unsubscribe(subscription) is True
        assert await realtime.unsubscribe(subscription) is False
        assert await realtime.unsubscribe("unknown") is False
        await realtime.publish("topic", make_ephemeral())
        await stays.until("1")
        assert gone.names == []

    async def test_R222_a_callback_may_end_its_own_subscription(
        self, realtime: RealtimeBackend
    ) -> None:
        own: list[str] = []
        once, stays = Inbox(), Inbox()

        async def unsubscribe(event: EphemeralEvent) -> None:
            await realtime.unsubscribe(own[0])
            await asyncio.sleep(0)  # where a cancellation would strike
            await once(event)

        own.append(await realtime.subscribe("topic", unsubscribe))
        await realtime.subscribe("topic", stays)
        for name in ("1", "2"):
            await realtime.publish("topic", make_ephemeral(name))
        await once.until("1")
        await stays.until("2")
        assert once.names == ["1"]

    async def test_a_callback_may_publish(self, realtime: RealtimeBackend) -> None:
        inbox = Inbox()

        async def pass_on(event: EphemeralEvent) -> None:
            await realtime.publish("out", event)

        await realtime.subscribe("in", pass_on)
        await realtime.subscribe("out", inbox)
        await realtime.publish("in", make_ephemeral())
        await inbox.until("1")

    async def test_close_ends_everything_and_may_come_twice(
        self, realtime: RealtimeBackend
    ) -> None:
        stuck = Inbox(hang=True)
        await realtime.subscribe("topic", stuck)
        await realtime.publish("topic", make_ephemeral())
        async with asyncio.timeout(PATIENCE_S):
            await stuck.entered.wait()
            await realtime.close()
            await realtime.close()
        await realtime.publish("topic", make_ephemeral("2"))
        stuck.gate.set()
        assert stuck.names == []
        with pytest.raises(UnavailableError):
            await realtime.subscribe("topic", stuck)
