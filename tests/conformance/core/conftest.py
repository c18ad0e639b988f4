"""Everything here runs in virtual time: a timeout costs nothing and a deadlock is an error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conformance.core.stage import Stage, staged

from salon.testing.fixtures import *  # noqa: F403 - hooks and fixtures for pytest


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A kit with an in-memory store."""
    async with staged() as stage:
        yield stage
