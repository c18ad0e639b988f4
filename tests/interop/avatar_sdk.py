"""Drives a published avatar SDK, unmodified, for test_avatarkit_sdk.py: one package per process.

    python avatar_sdk.py PACKAGE < case.json > result.json

The case names endpoints and credentials, the sound (a file of PCM) and what to do with it. Nothing
but loopback can be reached from here: other names and addresses are refused and reported.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import ipaddress
import json
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ANSWER_TIMEOUT_S = 60.0
outside: list[str] = []
_look_up = socket.getaddrinfo


def only_loopback(host: Any, *rest: Any, **options: Any) -> Any:
    """`socket.getaddrinfo` for loopback alone."""
    name = host.decode() if isinstance(host, bytes) else host
    try:
        near = name in (None, "", "localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        near = False
    if not near:
        outside.append(str(name))
        raise socket.gaierror(socket.EAI_NONAME, "only loopback can be reached")
    return _look_up(host, *rest, **options)


class Heard:
    """What the callbacks were told."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bool]] = []
        self.errors: list[dict[str, Any]] = []
        self.closes = 0
        self.changed = asyncio.Event()

    def frame(self, data: bytes, last: bool) -> None:
        self.frames.append((data, last))
        self.changed.set()

    def error(self, error: Exception) -> None:
        self.errors.append(facts(error))
        self.changed.set()

    def close(self) -> None:
        self.closes += 1
        self.changed.set()

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def ends(self) -> int:
        return sum(last for _, last in self.frames)


def facts(error: Exception) -> dict[str, Any]:
    """The public fields of an error."""
    names = ("phase", "http_status", "server_code", "raw_body", "close_code", "req_id")
    found = {name: getattr(error, name, None) for name in names}
    code = getattr(error, "code", None)
    kind = type(error).__name__
    return {"type": kind, "code": getattr(code, "value", code), "text": str(error), **found}


def session_of(kit: Any, case: dict[str, Any], heard: Heard) -> Any:
    """A session as a user makes it."""
    options: dict[str, Any] = dict(
        case["session"],
        expire_at=datetime.now(UTC) + timedelta(seconds=case.get("expires_s", 300)),
        transport_frames=heard.frame,
        on_error=heard.error,
        on_close=heard.close,
    )
    if case.get("opus"):
        options["audio_format"] = kit.AudioFormat.OGG_OPUS
        options["ogg_opus_encoder"] = kit.OggOpusEncoderConfig()
    if "livekit" in case:
        options["livekit_egress"] = kit.LiveKitEgressConfig(**case["livekit"])
    return kit.new_avatar_session(**options)


async def act(session: Any, case: dict[str, Any], heard: Heard) -> list[str]:
    """Send the requests; the ids in order."""
    sound = Path(case["sound"]).read_bytes() if case.get("sound") else b""
    ids: list[str] = []
    piece = case.get("piece") or max(1, len(sound))
    for _ in range(case.get("requests", 1)):
        starts = range(0, len(sound), piece) or range(1)
        for at in starts:
            end = at == starts[-1] and not case.get("interrupt")
            req_id = await session.send_audio(sound[at : at + piece], end=end)
        ids.append(req_id)
    if case.get("interrupt"):
        await heard.until(lambda: len(heard.frames) >= 1)
        ids.append(await session.interrupt())
    return ids


async def run(kit: Any, case: dict[str, Any]) -> dict[str, Any]:
    """One session from the token to its end, or to the error that ended it."""
    heard = Heard()
    session = session_of(kit, case, heard)
    result: dict[str, Any] = {"raised": None, "ids": [], "connection_id": None}
    try:
        await session.init()
        result["connection_id"] = await session.start()
        result["ids"] = await act(session, case, heard)
        if case.get("until") == "error":
            await heard.until(lambda: heard.errors)
        else:
            await heard.until(lambda: heard.ends() >= case.get("requests", 1))
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises is the result
        result["raised"] = facts(error)
    finally:
        await session.close()
    frames = [[base64.b64encode(data).decode(), last] for data, last in heard.frames]
    return result | {"frames": frames, "errors": heard.errors, "closes": heard.closes}


def main() -> int:
    socket.getaddrinfo = only_loopback
    kit = importlib.import_module(sys.argv[1])
    if hasattr(kit, "configure_telemetry"):
        kit.configure_telemetry("")  # before any session: it exports to its maker otherwise
    case = json.load(sys.stdin)
    result = asyncio.run(run(kit, case))
    json.dump(result | {"version": kit.__version__, "outside": outside}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
