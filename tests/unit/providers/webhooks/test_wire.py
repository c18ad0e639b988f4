"""Signed webhooks both ways over real HTTP: what one application sends, another takes."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.integration.twilio_service import serve

from salon.models import ChannelType, EventSource, InboundMessage, RoomEvent, TextContent
from salon.providers.webhooks import (
    HTTPProviderConfig,
    WebhookError,
    WebhookHTTPProvider,
)


def event(body: str) -> RoomEvent:
    source = EventSource(channel_id="ch1", channel_type=ChannelType.WEBHOOK)
    return RoomEvent(room_id="r1", source=source, content=TextContent(body=body))


class Peer:
    """Takes webhooks as a user of the package would."""

    def __init__(self, secret: str) -> None:
        self.provider = WebhookHTTPProvider(
            HTTPProviderConfig(webhook_url="http://127.0.0.1:9/", secret=secret)
        )
        self.taken: list[InboundMessage] = []
        self.app = Starlette(routes=[Route("/in", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        try:
            proof = self.provider.verify(request.headers, body)
            data = await request.json()
            payload = {"sender_id": data["recipient_id"], "content": data["content"]}
            message = self.provider.parse_webhook(payload, "http", webhook_id=proof.id)
        except WebhookError as error:
            return JSONResponse({"error": error.code}, error.status)
        self.taken.append(message)
        return JSONResponse({"message_id": proof.id})


async def test_a_signed_event_arrives_over_http() -> None:
    peer = Peer("shared")
    async with serve(peer.app) as url:
        config = HTTPProviderConfig(webhook_url=f"{url}/in", secret="shared")
        sender = WebhookHTTPProvider(config)
        result = await sender.send(event("Grüße 世界"), "user-1")
        await sender.close()
    assert result.success
    assert peer.taken[0].content == TextContent(body="Grüße 世界")
    assert peer.taken[0].idempotency_key == result.provider_message_id


async def test_R216_another_secret_is_refused_over_http() -> None:
    peer = Peer("shared")
    async with serve(peer.app) as url:
        config = HTTPProviderConfig(webhook_url=f"{url}/in", secret="wrong")
        sender = WebhookHTTPProvider(config)
        result = await sender.send(event("x"), "user-1")
        await sender.close()
    assert (result.error, result.retryable) == ("http_401", False)
    assert not peer.taken
