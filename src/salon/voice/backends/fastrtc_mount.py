"""FastRTC's endpoints on a FastAPI application."""

# FastAPI reads the annotations of what is mounted, which name what is imported within the function:
# so they must not become text here.

import html
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from salon.base import MissingExtraError
from salon.voice.backends.auth import AuthCallback
from salon.voice.backends.fastrtc_desk import FastRTCDesk, SessionFactory, failed

if TYPE_CHECKING:
    from fastapi import FastAPI

    from salon.voice.backends.fastrtc import FastRTCVoiceBackend

_log = logging.getLogger("salon.voice")

MAX_BODY: Final = 262_144
_REFUSED: Final = 1008


def mount_fastrtc_voice(
    app: "FastAPI",
    backend: "FastRTCVoiceBackend",
    *,
    path: str = "/fastrtc",
    session_factory: SessionFactory | None = None,
    auth: AuthCallback | None = None,
    allow_anonymous: bool = False,
    concurrency_limit: int | None = 1,
) -> None:
    """Add ``{path}/webrtc/offer``, ``/websocket/offer``, ``/telephone/handler`` and
    ``/telephone/incoming`` to `app`.

    Every client's session comes from `session_factory`, called with the id that the client gave
    itself, before its connection is answered; without a factory it must have been made by
    ``backend.connect(..., metadata={"websocket_id": id})``. `auth` takes the HTTP request or the
    WebSocket before anything is set up for it; what it returns is in `auth_context` while the
    factory runs. At most `concurrency_limit` clients are connected at a time, None for any number.

    `ValueError` if neither `auth` is there nor `allow_anonymous` says that anybody may call, which
    is safe on a trusted network only. `MissingExtraError` without FastAPI.
    """
    try:
        from fastapi import Request, Response, WebSocket
        from fastapi.responses import JSONResponse
    except ImportError as error:
        raise MissingExtraError("serve", f"mounting voice endpoints ({error.name})") from None
    if auth is None and not allow_anonymous:
        raise ValueError(
            f"anybody could call at {path}: pass auth, or allow_anonymous=True on a trusted network"
        )
    if auth is None:
        _log.warning("voice endpoints at %s take calls from anybody", path)
    desk = FastRTCDesk(backend, session_factory, concurrency_limit)
    admit = _admission(auth)

    async def offer(request: Request) -> Response:
        refusal, known = await admit(request)
        if refusal is not None:
            return JSONResponse({"detail": refusal}, 403)
        body = await _body(request.stream())
        if body is None:
            return JSONResponse(failed("the body is too long or no JSON"), 400)
        return JSONResponse(await desk.offer(body, known))

    async def page(websocket: WebSocket) -> None:
        await serve(websocket, "page")

    async def telephone(websocket: WebSocket) -> None:
        await serve(websocket, "telephone")

    async def serve(websocket: WebSocket, kind: Literal["page", "telephone"]) -> None:
        refusal, known = await admit(websocket)
        if refusal is not None:
            await websocket.close(_REFUSED, refusal)
            return
        await websocket.accept()
        await desk.serve(websocket, kind, known)

    async def incoming(request: Request) -> Response:
        base = request.url.path.removesuffix("/telephone/incoming")
        url = html.escape(f"wss://{request.url.netloc}{base}/telephone/handler")
        text = f'<Response><Connect><Stream url="{url}"/></Connect></Response>'
        return Response(
            f'<?xml version="1.0" encoding="UTF-8"?>{text}', media_type="application/xml"
        )

    app.add_api_route(f"{path}/webrtc/offer", offer, methods=["POST"], response_model=None)
    app.add_api_route(f"{path}/telephone/incoming", incoming, methods=["POST"], response_model=None)
    app.add_api_websocket_route(f"{path}/websocket/offer", page)
    app.add_api_websocket_route(f"{path}/telephone/handler", telephone)


def _admission(
    auth: AuthCallback | None,
) -> Callable[[Any], Awaitable[tuple[str | None, dict[str, Any] | None]]]:
    """Why somebody may not come in, if so, and what is known of them."""

    async def admit(visitor: Any) -> tuple[str | None, dict[str, Any] | None]:
        if auth is None:
            return None, None
        try:
            known = await auth(visitor)
        except Exception:  # noqa: BLE001 - the outer edge to other people's code; logged there
            _log.exception("a voice client could not be checked")
            return "auth_error", None
        return ("unauthorized" if known is None else None), known

    return admit


async def _body(stream: Any) -> Any:
    """JSON of a request of bounded length; None if it is neither."""
    data = bytearray()
    async for part in stream:
        data += part
        if len(data) > MAX_BODY:
            return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
