"""Calls over WebRTC that end in the middle, in every way, leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("aiortc")

CHURN = Path(__file__).resolve().parents[2] / "benchmarks" / "churn_webrtc.py"
CALLS = 100
TIMEOUT_S = 150.0


@pytest.mark.slow
async def test_calls_ended_in_mid_media_leave_no_task_socket_thread_or_memory() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHURN),
        *("--calls", str(CALLS), "--parallel", "10", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert output, errors.decode()
    result = json.loads(output)
    assert result["problems"] == []
    assert sum(result["endings"].values()) == CALLS
    assert set(result["endings"]) == {"hangup", "close", "vanish"}
    assert result["packets_received"] > CALLS
