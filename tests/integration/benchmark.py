"""Benchmarks that check what they leave behind, run small as tests."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def needs(*modules: str) -> None:
    """Skip this module where one is not installed; fail where everything has to be there."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return
    reason = f"install {', '.join(missing)}"
    if os.environ.get("SALON_REQUIRE_ALL"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


async def result_of(script: str, *arguments: str, limit_s: float) -> dict[str, Any]:
    """What the benchmark says as JSON; it is ended after so long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(BENCHMARKS / script),
        *arguments,
        "--json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit_s):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert output, errors.decode()
    result: dict[str, Any] = json.loads(output)
    return result
