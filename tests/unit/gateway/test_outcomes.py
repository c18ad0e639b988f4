"""How a call ended, as its figures count it: G20, G54."""

from __future__ import annotations

import asyncio

import pytest

from salon.gateway import Session
from salon.gateway.commands import HangupReason
from salon.testing import CallPair, scripted_gateway
from salon.voice.engine import VoiceEngine


@pytest.mark.parametrize(
    ("code", "outcome"), [(1000, "completed"), (1001, "completed"), (1006, "lost"), (1011, "lost")]
)
async def test_G20_who_closes_is_not_lost(engine: VoiceEngine, code: int, outcome: str) -> None:
    ended: list[Session] = []
    async with scripted_gateway(engine, on_ended=ended.append) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.close(code)
        await asyncio.sleep(1)
    assert [(session.reason, session.outcome) for session in ended] == [("caller", outcome)]


async def test_G54_nobody_who_hangs_up_later_changes_the_reason(engine: VoiceEngine) -> None:
    ended: list[Session] = []
    async with scripted_gateway(engine, on_ended=ended.append) as gateway:
        call = CallPair.connect(gateway.acceptor, "/ws?id=one")
        await call.invite()
        session = gateway.get("one")
        assert session is not None
        session.hangup(HangupReason.REFER)
        session.hangup(HangupReason.FAILED, outcome="failed")
        await session.done.wait()
        assert await call.closed() == 1000
    assert [(one.reason, one.outcome) for one in ended] == [("refer", "completed")]
    assert [event["reason"] for event in call.of("hangup")] == ["refer"]
