"""The avatar examples run against the stand-in, as programs of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from salon.testing.avatar import API_KEY, APP_ID, AVATAR_ID, AvatarStandIn

EXAMPLES = Path(__file__).parents[3] / "examples" / "avatarkit"
LIMIT = 60.0


@pytest.fixture
async def stand_in() -> AsyncIterator[AvatarStandIn]:
    async with AvatarStandIn() as stand_in:
        yield stand_in


async def begin(
    stand_in: AvatarStandIn, name: str, *arguments: str, **environment: str
) -> asyncio.subprocess.Process:
    known = {
        "AVATAR_CONSOLE_URL": stand_in.console_url,
        "AVATAR_INGRESS_URL": stand_in.ingress_url,
        "AVATAR_API_KEY": API_KEY,
        "AVATAR_APP_ID": APP_ID,
        "AVATAR_ID": AVATAR_ID,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        *arguments,
        env={**os.environ, **known, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(
    stand_in: AvatarStandIn, name: str, *arguments: str, **environment: str
) -> tuple[int | None, str, str]:
    program = await begin(stand_in, name, *arguments, **environment)
    async with asyncio.timeout(LIMIT):
        out, errors = await program.communicate()
    return program.returncode, out.decode(), errors.decode()


@pytest.mark.parametrize("more", [(), ("--opus",)])
async def test_one_clip(stand_in: AvatarStandIn, tmp_path: Path, more: tuple[str, ...]) -> None:
    out = tmp_path / "clip.frames"
    status, said, errors = await run(stand_in, "one_clip.py", "--out", str(out), *more)
    assert status == 0, errors
    assert "connection conn-" in said
    assert out.stat().st_size > 10_000


async def test_one_clip_that_fails_says_why(stand_in: AvatarStandIn) -> None:
    status, _, errors = await run(stand_in, "one_clip.py", AVATAR_ID="nobody")
    assert status == 1
    assert "avatarNotFound" in errors
    status, _, errors = await run(stand_in, "one_clip.py", AVATAR_API_KEY="")
    assert status == 1
    assert "missing: api_key" in errors


async def test_A109_A110_pool(stand_in: AvatarStandIn) -> None:
    status, said, errors = await run(
        stand_in, "pool.py", "--size", "20", "--rounds", "3", "--every", "0", "--seconds", "2"
    )
    assert status == 0, errors
    assert "20 connections" in said
    assert '"total_requests_served": 15' in said


async def test_A111_http_service(stand_in: AvatarStandIn) -> None:
    program = await begin(stand_in, "http_service.py", "--port", "0", "--seconds", "1")
    assert program.stdout is not None
    try:
        async with asyncio.timeout(LIMIT), aiohttp.ClientSession() as http:
            url = (await program.stdout.readline()).decode().strip()

            async def post(body: str) -> tuple[int, dict[str, Any]]:
                async with http.post(f"{url}/generate", data=body) as answer:
                    return answer.status, await answer.json()

            async with http.get(f"{url}/healthz") as answer:
                assert await answer.json() == {"ok": True}
            status, made = await post('{"sample_rate": 16000}')
            assert status == 200
            assert set(made) == {
                "sample_rate",
                "audio_format",
                "audio_base64",
                "connection_id",
                "req_id",
                "animation_messages_base64",
            }
            assert (made["sample_rate"], made["audio_format"]) == (16_000, "pcm_s16le_mono")
            assert made["animation_messages_base64"]
            for body, expected in (
                ("{", (400, "invalid_json")),
                ("{}", (400, "missing_sample_rate")),
                ('{"sample_rate": "x"}', (400, "invalid_sample_rate")),
                ('{"sample_rate": 11025}', (404, "unsupported_sample_rate")),
            ):
                status, refusal = await post(body)
                assert (status, refusal["error"]) == expected
            assert 16_000 in refusal["supported_sample_rates"]
            await stand_in.close()
            status, refusal = await post('{"sample_rate": 16000}')
            assert (status, refusal["error"]) == (502, "session_token_error")
    finally:
        program.terminate()
        async with asyncio.timeout(LIMIT):
            await program.communicate()


async def test_a_pool_that_fails_says_why(stand_in: AvatarStandIn) -> None:
    status, _, errors = await run(stand_in, "pool.py", "--size", "2", AVATAR_API_KEY="wrong")
    assert status == 1
    assert "API key is unknown" in errors
    assert "Traceback" not in errors
