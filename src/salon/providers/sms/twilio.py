"""Text messages through Twilio's REST interface of 2010-04-01."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from salon.base import MASK, SYSTEM_CLOCK, Clock
from salon.models import RoomEvent
from salon.providers.sms.base import SMSProvider
from salon.providers.sms.content import MAX_MEDIA, outgoing
from salon.providers.sms.phone import normalize_phone
from salon.providers.sms.twilio_config import TwilioConfig
from salon.providers.sms.twilio_signature import TWILIO_SIGNATURE_HEADER, verify_twilio_signature
from salon.providers.webhooks import ProviderResult
from salon.providers.webhooks.post import RETRYABLE_STATUS, Poster, PostError, Reply

if TYPE_CHECKING:
    import httpx

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_PASSING = frozenset({20429, 20500, 20503, 21611, 30001})
"""Errors that waiting cures: too many requests, the service's own trouble, a full queue."""
_UNKNOWN_OUTCOME = frozenset({500, 502, 504})
_ERRORS = {401: "auth_error", 403: "forbidden", 404: "not_found", 429: "rate_limit"}


class TwilioSMSProvider(SMSProvider):
    """Sends SMS, or MMS if an event has media (up to ten public URLs).

    `error` of a result is ``twilio_<code>`` where Twilio names a code, else one of
    ``auth_error forbidden not_found rate_limit http_<status> timeout connection_failed
    connection_lost malformed_response``, or, found before anything was sent,
    ``invalid_recipient empty_message too_many_media media_not_public``. Twilio has no idempotency
    keys: repeating a send whose `outcome_unknown` is true may send the message twice.
    """

    name = "twilio"
    signature_header = TWILIO_SIGNATURE_HEADER

    def __init__(
        self,
        config: TwilioConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._config = config
        self._token = config.auth_token.get_secret_value()
        self._clock = clock
        self._poster = Poster(
            config.api_base_url,
            what="Twilio",
            timeout=config.timeout,
            connect_timeout=config.connect_timeout,
            max_connections=config.max_connections,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<TwilioSMSProvider {self._config.account_sid}>"

    @property
    def from_number(self) -> str | None:
        return self._config.from_number

    async def send(self, event: RoomEvent, to: str, from_: str | None = None) -> ProviderResult:
        text, media = outgoing(event.content)
        try:
            recipient = normalize_phone(to)
        except ValueError as error:
            return _refused("invalid_recipient", str(error))
        if not text and not media:
            return _refused("empty_message", "the event has neither words nor media")
        if len(media) > MAX_MEDIA:
            return _refused("too_many_media", f"{len(media)} media, Twilio takes {MAX_MEDIA}")
        if not all(url.startswith(("https://", "http://")) for url in media):
            return _refused("media_not_public", "Twilio fetches media only from public URLs")
        form = self._form(recipient, from_, text, media)
        try:
            reply = await self._poster.post(
                self._config.messages_url,
                urlencode(form, errors="replace").encode(),
                _FORM,
                auth=(self._config.account_sid, self._token),
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

    def verify_signature(
        self,
        payload: bytes,
        signature: str,
        timestamp: str | None = None,
        *,
        url: str | None = None,
    ) -> bool:
        """`url` is the public one that Twilio was given. There is no timestamp in its scheme."""
        if url is None:
            raise ValueError("Twilio signs the URL: pass the public one that it was given")
        return verify_twilio_signature(self._token, url, payload, signature)

    async def close(self) -> None:
        await self._poster.close()

    def _form(
        self, to: str, from_: str | None, text: str, media: list[str]
    ) -> list[tuple[str, str]]:
        config = self._config
        form = [("To", to)]
        if config.messaging_service_sid:
            form.append(("MessagingServiceSid", config.messaging_service_sid))
        sender = from_ or (None if config.messaging_service_sid else config.from_number)
        if sender:
            form.append(("From", sender))
        if text:
            form.append(("Body", text))
        form += [("MediaUrl", url) for url in media]
        if config.status_callback:
            form.append(("StatusCallback", config.status_callback))
        return form

    def _result(self, reply: Reply) -> ProviderResult:
        said = _object(reply.body)
        if not reply.success:
            return self._failure(reply, said or {})
        sid = said.get("sid") if said else None
        if said is None or not isinstance(sid, str):
            # it was most probably accepted: sending again would double it
            return ProviderResult(
                success=False,
                error="malformed_response",
                error_message=f"Twilio answered HTTP {reply.status} without a message id",
                status_code=reply.status,
                outcome_unknown=True,
            )
        kept = ("status", "num_segments", "num_media", "messaging_service_sid")
        return ProviderResult(
            success=True,
            provider_message_id=sid,
            status_code=reply.status,
            metadata={name: said[name] for name in kept if said.get(name) is not None},
        )

    def _failure(self, reply: Reply, said: dict[str, Any]) -> ProviderResult:
        code = said.get("code")
        number = code if isinstance(code, int) and not isinstance(code, bool) else None
        error = _ERRORS.get(reply.status)
        if error is None:
            error = f"http_{reply.status}" if number is None else f"twilio_{number}"
        words = said.get("message")
        text = words if isinstance(words, str) else "the request failed"
        return ProviderResult(
            success=False,
            error=error,
            error_message=f"{text.replace(self._token, MASK)[:512]} (HTTP {reply.status})",
            provider_code=number,
            status_code=reply.status,
            retryable=reply.status in RETRYABLE_STATUS or number in _PASSING,
            retry_after=reply.retry_after(self._clock.time()),
            outcome_unknown=reply.status in _UNKNOWN_OUTCOME,
        )


def _refused(error: str, text: str) -> ProviderResult:
    return ProviderResult(success=False, error=error, error_message=text, retryable=False)


def _object(body: bytes | None) -> dict[str, Any] | None:
    try:
        data = json.loads(body or b"null")
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
