"""A channel that hangs keeps nothing else open, and channels hear that rooms begin again (R140)."""

from __future__ import annotations

import asyncio

import pytest

from salon.channels.ai import AIChannel
from salon.core import RoomKit
from salon.core.memory.store import InMemoryStore
from salon.core.ports.channel import Channel
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelOutput,
    ChannelType,
    RoomContext,
    RoomEvent,
)
from salon.testing import MockAIProvider, virtual_time


class Closing(Channel):
    """Notes what it is told; `work` is its closing."""

    channel_type = ChannelType.SMS

    def __init__(self, channel_id: str, *, error: BaseException | None = None) -> None:
        super().__init__(channel_id)
        self.error = error
        self.closed = False
        self.rooms: list[str] = []

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        return NO_OUTPUT

    def on_room_ended(self, room_id: str, how: str) -> None:
        self.rooms.append(f"{room_id} {how}")

    def on_room_reopened(self, room_id: str) -> None:
        self.rooms.append(f"{room_id} reopened")

    async def close(self) -> None:
        if self.error is not None:
            raise self.error
        self.closed = True


class Hanging(Closing):
    async def close(self) -> None:
        await asyncio.Event().wait()


class HangingProvider(MockAIProvider):
    async def close(self) -> None:
        await asyncio.Event().wait()


class Store(InMemoryStore):
    closed = False

    async def close(self) -> None:
        self.closed = True


@virtual_time
async def test_R140_a_channel_that_hangs_or_cancels_itself_is_one_that_fails() -> None:
    store, last = Store(), Closing("last")
    kit = RoomKit(store)
    await kit.open()
    for channel in (Hanging("first"), Closing("second", error=asyncio.CancelledError()), last):
        kit.register_channel(channel)
    before = asyncio.get_running_loop().time()
    with pytest.raises(ExceptionGroup) as failed:
        await kit.close()
    assert asyncio.get_running_loop().time() - before == pytest.approx(30, abs=0.5)
    assert [type(error).__name__ for error in failed.value.exceptions] == [
        "TimeoutError",
        "RoomKitError",
    ]
    assert (last.closed, store.closed) == (True, True)


@virtual_time
async def test_R140_closing_can_be_cancelled() -> None:
    kit = RoomKit()
    await kit.open()
    kit.register_channel(Hanging("first"))
    closing = asyncio.create_task(kit.close())
    await asyncio.sleep(1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing


@virtual_time
async def test_an_agent_s_provider_that_hangs_is_given_up_after_five_seconds() -> None:
    provider, fallback = HangingProvider(["a"]), MockAIProvider(["b"])
    agent = AIChannel("agent", provider=provider, fallback_provider=fallback)
    before = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError, match="HangingProvider did not close within 5 s"):
        await agent.close()
    assert asyncio.get_running_loop().time() - before == pytest.approx(5, abs=0.1)


async def test_channels_hear_that_a_room_is_reopened() -> None:
    async with RoomKit() as kit:
        channel = Closing("sms")
        kit.register_channel(channel)
        kit.register_channel(AIChannel("agent", provider=MockAIProvider([])))
        await kit.create_room("room")
        await kit.close_room("room")
        await kit.reopen_room("room")
        await kit.reopen_room("room")
        assert channel.rooms == ["room closed", "room reopened"]
