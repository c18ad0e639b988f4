"""A stand-in server on defaults but for a small picture, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.conformance.odyssey.server_caller import Broker, Caller, calling

from salon.testing.odyssey import OdysseyStandIn, StandInSettings

SMALL = (176, 320)


@pytest.fixture
def settings() -> StandInSettings:
    return StandInSettings(portrait=SMALL, fps=12)


@pytest.fixture
async def server(settings: StandInSettings) -> AsyncIterator[OdysseyStandIn]:
    async with OdysseyStandIn(settings) as running:
        yield running


@pytest.fixture
async def anybody(server: OdysseyStandIn) -> AsyncIterator[Broker]:
    """Nobody in particular: without a token."""
    async with aiohttp.ClientSession() as http:
        yield Broker(server, http)


@pytest.fixture
async def broker(anybody: Broker) -> Broker:
    """Logged in."""
    return await anybody.login()


@pytest.fixture
async def caller(broker: Broker) -> AsyncIterator[Caller]:
    """Connected, channels open."""
    async with calling(broker) as made:
        yield await made.connect()
