"""The end of a call for what goes along with it: G112, G321."""

from __future__ import annotations

import asyncio

from salon.gateway.commands import HangupReason
from salon.gateway.companions import Companion
from salon.gateway.events import Event, HangupEvent
from salon.testing import CallPair, scripted_gateway
from salon.voice.engine import VoiceEngine


class _Failing(Companion):
    async def end(self, reason: HangupReason | str) -> None:
        raise LookupError(str(reason))


class _Slow(Companion):
    def __init__(self, told: list[str]) -> None:
        self._told = told

    def event(self, event: Event) -> None:
        if isinstance(event, HangupEvent):
            self._told.append("hangup")

    async def end(self, reason: HangupReason | str) -> None:
        await asyncio.sleep(0.2)
        self._told.append(f"ended: {reason}")


async def test_G321_one_that_fails_leaves_another_its_time(engine: VoiceEngine) -> None:
    told: list[str] = []
    async with scripted_gateway(
        engine, companions=lambda _session: (_Failing(), _Slow(told))
    ) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send({"command": "hangup"})
        await call.closed()
    assert told == ["ended: system", "hangup"]
