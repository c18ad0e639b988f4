"""Published avatar SDKs, unmodified, against the stand-in: they are told two URLs and nothing else.

Each runs in a process of its own, because their generated modules register the same names.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.conftest import until

from salon.testing.avatar import (
    API_KEY,
    APP_ID,
    AVATAR_ID,
    AnimationFault,
    App,
    AvatarSettings,
    AvatarStandIn,
    RuntimeFault,
    console_error,
    ending,
    nonsense,
    upgrade_error,
)
from salon.testing.avatar.animation import decode

SCRIPT = Path(__file__).with_name("avatar_sdk.py")
PACKAGES = ("avatarkit", "spatius")
OPUS_BINDINGS = {"avatarkit": "opuslib", "spatius": "opuslib_next"}
RATE = 16_000
MIB = 1 << 20
RUN_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What an SDK's process reported."""

    raised: dict[str, Any] | None
    connection_id: str | None
    ids: list[str]
    frames: list[tuple[bytes, bool]]
    errors: list[dict[str, Any]]

    def keyframes(self, req_id: str) -> int:
        """Keyframes of one request."""
        said = [decode(data) for data, _ in self.frames]
        return sum(len(one.animation.keyframes) for one in said if one.req_id == req_id)

    def order(self) -> list[tuple[str, bool]]:
        """Id and end of every message."""
        return [(decode(data).req_id, last) for data, last in self.frames]


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    need(name)
    return name


@pytest.fixture
async def stand_in() -> AsyncIterator[AvatarStandIn]:
    async with AvatarStandIn() as running:
        yield running


def need(module: str) -> None:
    """Skip where an SDK is missing, but fail where all is required."""
    if find_spec(module) is None:
        if os.environ.get("SALON_REQUIRE_ALL"):
            pytest.fail(f"{module} is not installed")
        pytest.skip(f"{module} is not installed")


def clip(folder: Path, seconds: float) -> str:
    """A file of PCM that grows louder and softer."""
    at = np.arange(int(RATE * seconds)) / RATE
    sound = 9000 * np.sin(2 * np.pi * 180 * at) * (1 + np.sin(2 * np.pi * 2 * at)) / 2
    path = folder / "clip.pcm"
    path.write_bytes(sound.astype("<i2").tobytes())
    return str(path)


async def run(package: str, stand_in: AvatarStandIn, **case: Any) -> Ran:
    """One session of an SDK in a process of its own."""
    session = {
        "avatar_id": AVATAR_ID,
        "app_id": APP_ID,
        "api_key": API_KEY,
        "console_endpoint_url": stand_in.console_url,
        "ingress_endpoint_url": stand_in.ingress_url,
        "sample_rate": RATE,
    } | case.pop("session", {})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        package,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ) | {"OTEL_SDK_DISABLED": "true"},
    )
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            out, complaints = await process.communicate(
                json.dumps(case | {"session": session}).encode()
            )
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()[-3000:]
    found = json.loads(out)
    assert found["outside"] == [], "the SDK looked for something beyond loopback"
    frames = [(base64.b64decode(data), last) for data, last in found["frames"]]
    return Ran(found["raised"], found["connection_id"], found["ids"], frames, found["errors"])


async def test_T15_A1_a_session_from_token_to_close(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    ran = await run(package, stand_in, sound=clip(tmp_path, 3.685), piece=640)
    assert ran.raised is None
    assert ran.errors == []
    record = stand_in.records[0]
    assert ran.connection_id == record.connection_id
    assert [asked.status for asked in stand_in.asked] == [200]
    assert ran.keyframes(ran.ids[0]) == 92
    assert [last for _, last in ran.frames].count(True) == 1
    assert ran.frames[-1][1]
    assert record.requests[ran.ids[0]].audio_messages == 185
    await until(lambda: record.closed_at is not None, "the session is closed")


async def test_A15_credentials_in_the_query(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    ran = await run(package, stand_in, sound=clip(tmp_path, 0.4), session={"use_query_auth": True})
    assert ran.raised is None
    assert ran.keyframes(ran.ids[0]) == 10


async def test_A97_ogg_opus_is_as_long_as_what_was_encoded(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    need(OPUS_BINDINGS[package])
    ran = await run(package, stand_in, sound=clip(tmp_path, 3.685), piece=640, opus=True)
    assert ran.raised is None
    assert ran.errors == []
    assert ran.keyframes(ran.ids[0]) == 92
    assert stand_in.records[0].requests[ran.ids[0]].audio_s == pytest.approx(3.685)


async def test_A49_two_requests_are_answered_in_order(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    ran = await run(package, stand_in, sound=clip(tmp_path, 2.0), requests=2)
    first, second = ran.ids
    assert first != second
    order = ran.order()
    assert [order.index((first, True)), order.index((second, True))] == [1, 3]
    assert order == sorted(order, key=lambda one: (one[0] != first, one[1]))
    assert ran.keyframes(first) == ran.keyframes(second) == 50


async def test_A46_an_empty_request_is_answered(package: str, stand_in: AvatarStandIn) -> None:
    ran = await run(package, stand_in)
    assert ran.raised is None
    assert ran.order() == [(ran.ids[0], True)]
    assert ran.keyframes(ran.ids[0]) == 0


async def test_A60_an_interrupted_request_ends_at_once(package: str, tmp_path: Path) -> None:
    async with AvatarStandIn(AvatarSettings(pace=1.0, batch_frames=1)) as stand_in:
        ran = await run(package, stand_in, sound=clip(tmp_path, 30.0), interrupt=True)
        assert ran.raised is None
        spoken, interrupted = ran.ids
        assert spoken == interrupted
        assert [last for _, last in ran.frames].count(True) == 1
        assert ran.frames[-1][1]
        assert 0 < ran.keyframes(spoken) < 400
        assert stand_in.records[0].requests[spoken].interrupted


async def test_A18_a_clip_of_two_minutes_stays_below_a_mebibyte(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    ran = await run(package, stand_in, sound=clip(tmp_path, 120.0))
    assert ran.raised is None
    assert ran.errors == []
    assert ran.keyframes(ran.ids[0]) == 3000
    assert max(len(data) for data, _ in ran.frames) < MIB // 4
    assert sum(len(data) for data, _ in ran.frames) > MIB


async def test_A18_a_message_above_a_mebibyte_ends_the_session(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    stand_in.faults.animation = AnimationFault(batch_frames=3000)
    ran = await run(package, stand_in, sound=clip(tmp_path, 120.0), until="error")
    assert stand_in.records[0].largest_message > MIB
    assert ran.frames == []
    assert ran.errors[0]["code"] == "connectionClosed"
    assert ran.errors[0]["close_code"] == 1009


async def test_A122_the_extension_passes_unseen(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    ran = await run(package, stand_in, sound=clip(tmp_path, 1.0))
    assert ran.errors == []
    said = decode(ran.frames[0][0])
    assert len(said.blendshapes.names) == 52
    assert len(said.blendshapes.frames) == len(said.animation.keyframes) == 25


async def test_A87_a_wrong_key(package: str, stand_in: AvatarStandIn) -> None:
    ran = await run(package, stand_in, session={"api_key": "wrong"})
    assert ran.raised is not None
    assert ran.raised["type"] == "SessionTokenError"
    assert ran.raised["code"] == "sessionTokenExpired"
    assert "Invalid API key" in ran.raised["text"]


async def test_A5_an_expiry_in_the_past(package: str, stand_in: AvatarStandIn) -> None:
    ran = await run(package, stand_in, expires_s=-60)
    assert ran.raised is not None
    assert ran.raised["code"] == "invalidRequest"
    assert ran.raised["http_status"] == 400
    assert "Invalid Argument - expire_at must be in the future" in ran.raised["text"]


async def test_A8_an_error_body_of_the_console(package: str, stand_in: AvatarStandIn) -> None:
    stand_in.faults.console = console_error(503, "BUSY", "Busy", "try later")
    ran = await run(package, stand_in)
    assert ran.raised is not None
    assert ran.raised["code"] == "serverError"
    assert ran.raised["text"].endswith("(HTTP 503): Busy - try later")


async def test_A22_an_unknown_avatar(package: str, stand_in: AvatarStandIn) -> None:
    ran = await run(package, stand_in, session={"avatar_id": "nobody"})
    assert ran.raised is not None
    assert (ran.raised["code"], ran.raised["http_status"]) == ("avatarNotFound", 404)
    assert ran.raised["raw_body"] == '{"message":"Avatar not found: nobody"}\n'


async def test_A22_another_app(package: str, stand_in: AvatarStandIn) -> None:
    ran = await run(package, stand_in, session={"app_id": "another"})
    assert ran.raised is not None
    assert (ran.raised["code"], ran.raised["http_status"]) == ("appIDMismatch", 400)


async def test_A22_no_credits(package: str) -> None:
    poor = AvatarSettings(apps={API_KEY: App(APP_ID, credits=False)})
    async with AvatarStandIn(poor) as stand_in:
        ran = await run(package, stand_in)
    assert ran.raised is not None
    assert (ran.raised["code"], ran.raised["http_status"]) == ("creditsExhausted", 402)


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "Invalid session token", "sessionTokenInvalid"),
        (401, "session token expired", "sessionTokenExpired"),
        (429, "slow down", "invalidRequest"),
        (503, "down", "serverError"),
    ],
)
async def test_A24_statuses_of_a_refused_upgrade(
    package: str, stand_in: AvatarStandIn, status: int, message: str, code: str
) -> None:
    stand_in.faults.upgrade = upgrade_error(status, message)
    ran = await run(package, stand_in)
    assert ran.raised is not None
    assert (ran.raised["code"], ran.raised["http_status"]) == (code, status)
    assert ran.raised["phase"] == "websocket_connect"


@pytest.mark.parametrize("opus", [False, True])
async def test_A37_an_unsupported_sample_rate(
    package: str, stand_in: AvatarStandIn, opus: bool
) -> None:
    if opus:
        need(OPUS_BINDINGS[package])
    rate = 44_100 if opus else 12_000
    ran = await run(package, stand_in, session={"sample_rate": rate}, opus=opus)
    assert ran.raised is not None
    assert ran.raised["code"] == "unsupportedSampleRate"
    assert ran.raised["phase"] == "websocket_handshake"


async def test_A102_egress_without_credentials(package: str, stand_in: AvatarStandIn) -> None:
    room = {"url": "ws://127.0.0.1:1", "room_name": "r", "publisher_id": "p"}
    ran = await run(package, stand_in, livekit=room)
    assert ran.raised is not None
    assert ran.raised["code"] == "invalidEgressConfig"
    assert "missing livekit credentials" in ran.raised["text"]


async def test_A62_an_error_then_a_close(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    stand_in.faults.runtime.append(RuntimeFault(1, ending(4001, "credits exhausted")))
    ran = await run(package, stand_in, sound=clip(tmp_path, 1.0), until="error")
    assert ran.errors[0]["code"] == "creditsExhausted"
    assert ran.errors[0]["req_id"] == ran.ids[0]


async def test_A66_nonsense_does_not_end_a_session(
    package: str, stand_in: AvatarStandIn, tmp_path: Path
) -> None:
    stand_in.faults.runtime.append(RuntimeFault(1, nonsense()))
    ran = await run(package, stand_in, sound=clip(tmp_path, 1.0))
    assert [error["code"] for error in ran.errors] == ["protocolError"]
    assert ran.keyframes(ran.ids[0]) == 25
