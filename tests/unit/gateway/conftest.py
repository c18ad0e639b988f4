"""Everything here runs in virtual time, on scripted engines, without sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from salon.gateway import Gateway
from salon.testing import CallPair, MockTextToSpeech, scripted_engine, scripted_gateway
from salon.testing.fixtures import *  # noqa: F403 - hooks and fixtures for pytest
from salon.voice.engine import VoiceEngine


@pytest.fixture
async def engine() -> AsyncIterator[VoiceEngine]:
    async with scripted_engine(["first words", "second words", "third words"]) as made:
        yield made


@pytest.fixture
async def gateway(engine: VoiceEngine) -> AsyncIterator[Gateway]:
    async with scripted_gateway(engine, max_calls=10) as made:
        yield made


@pytest.fixture
async def call(gateway: Gateway) -> CallPair:
    """A connected client that has sent nothing yet."""
    return CallPair.connect(gateway.acceptor, "/ws?id=call-1")


@pytest.fixture
def voice(engine: VoiceEngine) -> MockTextToSpeech:
    found = engine.synthesizers[""]
    assert isinstance(found, MockTextToSpeech)
    return found
