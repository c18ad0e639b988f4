"""An answer that nobody takes live is read to its end all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from salon.core.streaming import StreamTee
from salon.models import ChannelType, EventSource, Room, RoomContext, RoomEvent, TextContent


class Words:
    def __init__(self, *words: str | BaseException) -> None:
        self.words = list(words)
        self.closed = False

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if not self.words:
            raise StopAsyncIteration
        word = self.words.pop(0)
        if word == "wait":
            await asyncio.Event().wait()
        if isinstance(word, BaseException):
            raise word
        return word

    async def aclose(self) -> None:
        self.closed = True


def tee() -> StreamTee:
    source = EventSource(channel_id="ai", channel_type=ChannelType.AI)
    event = RoomEvent(room_id="r", source=source, content=TextContent(body=""))

    async def nobody() -> list[object]:
        return []

    return StreamTee(event, nobody, RoomContext(Room(id="r")), nobody)  # type: ignore[arg-type]


async def test_all_of_it_is_kept() -> None:
    words = Words("one", " two")
    result = await tee().run(words)
    assert (result.text, result.error, result.metadata) == ("one two", None, {})
    assert words.closed


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_what_breaks_it_off_is_told_with_what_there_was(error: BaseException) -> None:
    words = Words("one", error)
    result = await tee().run(words)
    assert (result.text, result.metadata) == ("one", {"failed": True})
    assert isinstance(result.error, Exception)
    assert words.closed


async def test_a_cancelled_reader_closes_it() -> None:
    words = Words("one", "wait")
    task = asyncio.create_task(tee().run(words))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert words.closed
