"""Events to any system that takes signed JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError
from salon.models import RoomEvent, TextContent
from salon.providers.webhooks.base import HTTPProvider
from salon.providers.webhooks.config import HTTPProviderConfig
from salon.providers.webhooks.post import RETRYABLE_STATUS, Poster, PostError, Reply
from salon.providers.webhooks.replay import ReplayWindow
from salon.providers.webhooks.result import ProviderResult
from salon.providers.webhooks.signing import SignedWebhook, WebhookSigner, WebhookVerifier

if TYPE_CHECKING:
    import httpx


class WebhookHTTPProvider(HTTPProvider):
    """POSTs each event to `config.webhook_url`; 2xx is success unless its JSON says otherwise.

    The body is ``{recipient_id, event_id, room_id, channel_id, content, created_at, metadata}``.
    The webhook id is the same for every attempt at one event and recipient, so that the receiver
    can drop duplicates.
    """

    name = "webhook"

    def __init__(
        self,
        config: HTTPProviderConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._signer: WebhookSigner | None = None
        self._verifier: WebhookVerifier | None = None
        if config.secret is not None:
            secrets = [
                item.get_secret_value() for item in (config.secret, *config.previous_secrets)
            ]
            self._signer = WebhookSigner(secrets[0], clock=clock)
            self._verifier = WebhookVerifier(
                *secrets,
                tolerance=config.tolerance,
                window=ReplayWindow(config.replay_capacity),
                clock=clock,
            )
        elif config.body_signature_header is not None or config.previous_secrets:
            raise ConfigurationError("a webhook signature needs HTTPProviderConfig.secret")
        self._poster = Poster(
            config.webhook_url,
            what="A webhook",
            timeout=config.timeout,
            connect_timeout=config.connect_timeout,
            max_connections=config.max_connections,
            transport=transport,
        )

    async def send(self, event: RoomEvent, to: str) -> ProviderResult:
        if isinstance(event.content, TextContent) and not event.content.body:
            return ProviderResult(
                success=False,
                error="empty_message",
                error_message="there is nothing to send",
                retryable=False,
            )
        body = _body(event, to)
        try:
            reply = await self._poster.post(
                self._config.webhook_url, body, self._headers(event, to, body)
            )
        except PostError as error:
            return ProviderResult(
                success=False,
                error=error.error,
                error_message=str(error),
                retryable=error.retryable,
                outcome_unknown=error.outcome_unknown,
            )
        return self._result(reply)

    def verify(self, headers: Mapping[str, str], body: bytes) -> SignedWebhook:
        if self._verifier is None:
            raise ConfigurationError("incoming webhooks need HTTPProviderConfig.secret")
        return self._verifier.verify(headers, body)

    def forget(self, webhook: SignedWebhook) -> None:
        """The webhook was not taken after all: its sender may repeat it."""
        if self._verifier is not None:
            self._verifier.forget(webhook)

    async def close(self) -> None:
        await self._poster.close()

    def _headers(self, event: RoomEvent, to: str, body: bytes) -> dict[str, str]:
        headers = dict(self._config.headers) | {"Content-Type": "application/json"}
        if self._signer is not None and self._config.secret is not None:
            recipient = hashlib.sha256(to.encode()).hexdigest()[:16]
            message = hashlib.sha256(event.id.encode()).hexdigest()[:32]
            headers |= self._signer.headers(f"msg_{message}_{recipient}", body)
            if self._config.body_signature_header is not None:
                key = self._config.secret.get_secret_value().encode()
                digest = hmac.new(key, body, hashlib.sha256).hexdigest()
                headers[self._config.body_signature_header] = digest
        return headers

    def _result(self, reply: Reply) -> ProviderResult:
        said = _object(reply.body)
        if reply.success and said.get("success", True) is not False:
            message_id = said.get("message_id")
            return ProviderResult(
                success=True,
                provider_message_id=str(message_id) if message_id is not None else None,
                status_code=reply.status,
            )
        if reply.success:
            error, retryable = str(said.get("error") or "refused")[:128], False
        else:
            error, retryable = f"http_{reply.status}", reply.status in RETRYABLE_STATUS
        return ProviderResult(
            success=False,
            error=error,
            error_message=f"the receiver answered HTTP {reply.status}",
            status_code=reply.status,
            retryable=retryable,
            retry_after=reply.retry_after(self._clock.time()),
            outcome_unknown=reply.status in {500, 502, 504},
        )


def _body(event: RoomEvent, to: str) -> bytes:
    data: dict[str, Any] = {
        "recipient_id": to,
        "event_id": event.id,
        "room_id": event.room_id,
        "channel_id": event.source.channel_id,
        "content": event.content.model_dump(mode="json"),
        "created_at": event.created_at.isoformat(),
        "metadata": event.metadata,
    }
    return json.dumps(data, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _object(body: bytes | None) -> dict[str, Any]:
    try:
        data = json.loads(body or b"null")
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
