"""An HTTP service that turns a sample rate into a clip and its animation.

    python examples/avatarkit/http_service.py --port 8080
    curl -d '{"sample_rate": 16000}' http://127.0.0.1:8080/generate

`POST /generate` answers with `sample_rate`, `audio_format`, `audio_base64`, `connection_id`,
`req_id` and `animation_messages_base64`; `GET /healthz` with `{"ok": true}`. It listens on this
machine only.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from service import murmur, parser_for, session_settings

from salon.clients.avatarkit import (
    AnimationCollector,
    AvatarSDKError,
    SessionTokenError,
    new_avatar_session,
)

SAMPLE_RATES = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class Refusal(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **more}


def sample_rate_in(body: str) -> int:
    try:
        asked = json.loads(body)
    except ValueError:
        raise Refusal(400, "invalid_json") from None
    if not isinstance(asked, dict):
        raise Refusal(400, "invalid_json")
    if "sample_rate" not in asked:
        raise Refusal(400, "missing_sample_rate")
    rate = asked["sample_rate"]
    if type(rate) is not int:
        raise Refusal(400, "invalid_sample_rate")
    if rate not in SAMPLE_RATES:
        raise Refusal(404, "unsupported_sample_rate", supported_sample_rates=list(SAMPLE_RATES))
    return rate


class Generator:
    """One session for each clip."""

    def __init__(self, settings: dict[str, Any], seconds: float, timeout: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._timeout = timeout

    async def clip(self, rate: int) -> dict[str, Any]:
        sound = await asyncio.to_thread(murmur, self._seconds, rate)
        collector = AnimationCollector()
        session = new_avatar_session(
            **self._settings,
            expire_at=datetime.now(UTC) + timedelta(minutes=5),
            sample_rate=rate,
            transport_frames=collector.transport_frame,
            on_error=collector.on_error,
            on_close=collector.on_close,
        )
        try:
            await session.init()
            connection_id = await session.start()
            req_id = await session.send_audio(sound, end=True)
            await collector.wait(self._timeout)
        except SessionTokenError as error:
            raise Refusal(
                502, "session_token_error", code=error.code.value, message=error.message
            ) from error
        except AvatarSDKError as error:
            raise Refusal(502, "sdk_error", code=error.code.value, message=error.message) from error
        except (TimeoutError, BufferError, ValueError) as error:
            message = str(error) or "the animation did not come in time"
            raise Refusal(502, "request_failed", message=message) from error
        finally:
            await session.close()
        return {
            "sample_rate": rate,
            "audio_format": "pcm_s16le_mono",
            "audio_base64": base64.b64encode(sound).decode(),
            "connection_id": connection_id,
            "req_id": req_id,
            "animation_messages_base64": [
                base64.b64encode(data).decode() for data in collector.frames
            ],
        }


def make_app(generator: Generator) -> web.Application:
    async def generate(request: web.Request) -> web.Response:
        try:
            body = await request.read()
            rate = sample_rate_in(body.decode("utf-8", "replace"))
            return web.json_response(await generator.clip(rate))
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/generate", generate)
    app.router.add_get("/healthz", healthz)
    return app


async def serve(options: argparse.Namespace) -> None:
    generator = Generator(session_settings(options), options.seconds, options.timeout)
    over = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, over.set)
    runner = web.AppRunner(make_app(generator))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await over.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    parser = parser_for("an HTTP service for clips with animation")
    parser.add_argument("--port", type=int, default=8080, help="0 = any")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a clip")
    parser.add_argument("--timeout", type=float, default=45.0, help="seconds for the animation")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
