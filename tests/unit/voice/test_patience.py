"""How long others are waited for."""

from __future__ import annotations

import asyncio

from salon.testing import virtual_time
from salon.voice.patience import Patience

LIMIT_S = 10.0


class Watched:
    """Notes when it was late."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.began = asyncio.get_running_loop().time()
        self.patience = Patience(LIMIT_S, self._late)

    def _late(self) -> None:
        self.late.append(round(asyncio.get_running_loop().time() - self.began, 3))


@virtual_time
async def test_what_does_not_come_in_time_is_late_once() -> None:
    watched = Watched()
    watched.patience.wait()
    assert watched.patience.waiting
    await asyncio.sleep(60)
    assert watched.late == [LIMIT_S]


@virtual_time
async def test_what_comes_in_time_is_never_late_and_each_wait_counts_from_its_own_begin() -> None:
    watched = Watched()
    for _ in range(20):
        watched.patience.wait()
        await asyncio.sleep(3)
        watched.patience.came()
    assert not watched.patience.waiting
    assert watched.late == []
    watched.patience.wait()
    await asyncio.sleep(60)
    assert watched.late == [60 + LIMIT_S]


@virtual_time
async def test_waiting_again_does_not_prolong_a_wait() -> None:
    watched = Watched()
    for _ in range(11):
        watched.patience.wait()
        await asyncio.sleep(1)
    assert watched.late == [LIMIT_S]


@virtual_time
async def test_after_close_nothing_is_late() -> None:
    watched = Watched()
    watched.patience.wait()
    watched.patience.close()
    watched.patience.close()
    watched.patience.wait()
    await asyncio.sleep(60)
    assert watched.late == []
    assert not watched.patience.waiting
