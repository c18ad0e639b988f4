"""The doors of providers: no API key, but their own signature over the body as it came (R217)."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from salon.app.bodies import BodyTooLarge
from salon.app.house import House
from salon.app.intake import BusyError, Intake, WebhookCall
from salon.app.middleware import headers_of
from salon.app.problems import problem
from salon.app.routes.common import problems
from salon.providers.webhooks import WebhookPayloadError, WebhookSignatureError

_REFUSALS = problems(404, 408, 413, 422, 429, 503)
_REFUSALS.pop(401)


def webhooks(house: House, public_url: str | None) -> APIRouter:
    """``/webhooks/{channel_type}/{provider}`` and ``…/status``. `public_url` is what this server
    is called from outside, without a path."""
    router = APIRouter(prefix="/webhooks/{channel_type}/{provider}", tags=["webhooks"])

    async def serve(
        channel_type: str, provider: str, request: Request, *, status: bool
    ) -> Response:
        intake = house.intakes.find(channel_type, provider)
        if intake is None:
            return problem(404, "not found")
        if not house.ready:
            return problem(503, "not ready", headers={"Retry-After": "5"})
        call = WebhookCall(
            url=_public(request, public_url),
            headers=headers_of(request.scope),
            body=await _body(request, intake),
            status=status,
        )
        try:
            await house.intakes.take(intake, call)
        except WebhookSignatureError as error:
            if error.reason == "replayed":
                return _answer(intake)  # it was taken the first time
            if error.reason == "overloaded":
                return problem(503, "come again", headers={"Retry-After": "60"})
            return problem(403, "the signature does not fit")
        except WebhookPayloadError as error:
            return problem(422, str(error), error.code)
        except BusyError as error:
            return problem(503, str(error), headers={"Retry-After": "5"})
        return _answer(intake)

    @router.post("", summary="Take a message", response_class=Response, responses=_REFUSALS)
    async def inbound(channel_type: str, provider: str, request: Request) -> Response:
        """What a provider received for us. Repetitions are harmless."""
        return await serve(channel_type, provider, request, status=False)

    @router.post(
        "/status", summary="Take a delivery report", response_class=Response, responses=_REFUSALS
    )
    async def status(channel_type: str, provider: str, request: Request) -> Response:
        """What became of a message that we sent."""
        return await serve(channel_type, provider, request, status=True)

    return router


def _answer(intake: Intake) -> Response:
    return Response(intake.reply.body, media_type=intake.reply.media_type)


async def _body(request: Request, intake: Intake) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > intake.max_bytes:
            raise BodyTooLarge(intake.max_bytes)
    return bytes(body)


def _public(request: Request, public_url: str | None) -> str:
    """The URL that the provider was given, as it signed it."""
    base = public_url or f"{request.url.scheme}://{request.url.netloc}"
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.split(b"?", 1)[0].decode("latin-1")
    query = request.scope.get("query_string", b"").decode("latin-1")
    return f"{base.rstrip('/')}{path}{'?' + query if query else ''}"
