"""What is left of calls that ended: nothing that would wait for the cyclic collector, which stops
every other call while it takes thousands of them apart."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.gateway.test_media_pass import OPTION, FakeServer

from salon.gateway.bridging import Bridges
from salon.gateway.cleaning import Cleaning
from salon.gateway.media_pass import MediaPass
from salon.gateway.subscription import Subscription
from salon.testing import CallPair, scripted_gateway, tone
from salon.voice.engine import VoiceEngine

INVITES: dict[str, dict[str, Any]] = {
    "plain": {},
    "detected": {"vad": {}},
    "recognised": {"vad": {}, "asr": {}, "tts": {}},
    "cleaned": {"vad": {}, "agc": {}},
    "passed on": {"mediaPass": OPTION},
}


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The cyclic collector does not run."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("option", INVITES.values(), ids=INVITES)
@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.usefixtures("uncollected")
async def test_a_call_that_ended_is_gone_at_once(
    engine: VoiceEngine, option: dict[str, Any], polite: bool
) -> None:
    bridges, server = Bridges(), FakeServer()

    def companions(session: Any) -> tuple[Any, ...]:
        own = (Cleaning(), Subscription(), MediaPass(server))
        return (*bridges.companions(session), *own)

    async with scripted_gateway(engine, companions=companions) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=a")
        await call.invite(**option)
        await call.send_audio(tone(800))
        if "tts" in option:
            call.send({"command": "tts", "text": "Hello. How are you?", "streaming": True})
            await call.expect("trackStart", trackId="server-side-track")
            await asyncio.sleep(0.3)
        session = gateway.get("a")
        assert session is not None
        left = {kind: weakref.ref(part) for kind, part in _parts(session).items()}
        del session
        if polite:
            call.send({"command": "hangup"})
            await call.closed()
        else:
            call.vanish()
        await asyncio.sleep(6)
        for end in (call.socket, call):  # they keep each other; a FrameSocket does not
            vars(end).clear()
        server.links.clear()
        assert [kind for kind, part in left.items() if part() is not None] == []


def _parts(session: Any) -> dict[str, Any]:
    parts = {"session": session, "media": session.media, "track": session.track}
    return parts | {companion.name: companion for companion in session.companions}
