"""The mailbox between the media plane and the event plane: ordered, bounded, counted."""

from __future__ import annotations

import asyncio

from salon.testing import virtual_time
from salon.voice.mailbox import Mailbox


@virtual_time
async def test_what_is_posted_is_read_in_order() -> None:
    box: Mailbox[int] = Mailbox()
    read: list[int] = []

    async def reader() -> None:
        async for item in box:
            read.append(item)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(reader())
        box.post(1)
        await asyncio.sleep(1)
        box.post(2)
        box.post(3)
        assert len(box) == 2
        await asyncio.sleep(1)
        assert read == [1, 2, 3]
        box.post(4)
        box.close()
        box.post(5)
    assert read == [1, 2, 3, 4]
    assert (box.posted, box.lost, box.overflowed) == (4, 0, False)


@virtual_time
async def test_beyond_its_bound_the_reader_is_told_after_what_was_kept() -> None:
    box: Mailbox[int] = Mailbox(bound=2)
    for item in range(5):
        box.post(item)
    assert [item async for item in box] == [0, 1]
    assert (box.posted, box.lost, box.overflowed) == (2, 3, True)
