from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from salon.core.kit import RoomKit


@pytest.fixture
async def kit() -> AsyncIterator[RoomKit]:
    async with RoomKit(shutdown_timeout=0) as kit:
        yield kit
