"""Everything here runs in virtual time: a timeout costs nothing and a deadlock is an error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from salon.core.kit import RoomKit
from salon.testing.fixtures import *  # noqa: F403 - hooks and fixtures for pytest


@pytest.fixture
async def kit() -> AsyncIterator[RoomKit]:
    async with RoomKit(shutdown_timeout=0) as kit:
        yield kit
