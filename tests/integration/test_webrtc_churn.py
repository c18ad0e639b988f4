"""Calls over WebRTC that end in the middle, in every way, leave nothing behind."""

from __future__ import annotations

import pytest
from tests.integration.benchmark import needs, result_of

needs("aiortc")

CALLS = 100


@pytest.mark.slow
async def test_calls_ended_in_mid_media_leave_no_task_socket_thread_or_memory() -> None:
    small = ("--calls", str(CALLS), "--parallel", "10")
    result = await result_of("churn_webrtc.py", *small, limit_s=300.0)
    assert result["problems"] == []
    assert sum(result["endings"].values()) == CALLS
    assert set(result["endings"]) == {"hangup", "close", "vanish"}
    assert result["packets_received"] > CALLS
