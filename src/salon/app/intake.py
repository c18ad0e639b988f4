"""What the webhooks of providers bring in: proven, read, handed to the core (R216-R218)."""

from __future__ import annotations

import asyncio
import json
import logging
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salon.base import SalonError
from salon.core.errors import ChannelNotRegisteredError
from salon.core.kit import RoomKit
from salon.models import DeliveryStatus, InboundMessage
from salon.providers.webhooks import (
    SignedWebhook,
    WebhookPayloadError,
    WebhookSignatureError,
    parse_http_webhook,
)

if TYPE_CHECKING:
    from salon.providers.sms import SMSProvider

_log = logging.getLogger("salon.app")

TAKE_TIMEOUT_S: Final = 10.0
"""How long a provider waits for the commit; Twilio gives up after fifteen seconds."""
MAX_AT_ONCE: Final = 64
_AGAIN: Final = frozenset({"rate_limited", "process_timeout", "room_busy"})
"""Refusals that time cures: the provider is asked to come again."""
_MAX_FIELDS: Final = 256


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """One request. `url` is the public one, `body` as received; header names are lower case."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    status: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider is answered."""

    body: str = ""
    media_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Received:
    """What a genuine request brought: a message, a report, or nothing of interest. `forget` lets
    the provider repeat a request that was not taken after all."""

    content: InboundMessage | DeliveryStatus | None
    forget: Callable[[], None] = field(default=lambda: None)


class Intake(Protocol):
    """One provider's door."""

    max_bytes: int
    reply: Reply

    def read(self, call: WebhookCall) -> Received:
        """Raises `WebhookSignatureError` before the payload is looked at, `WebhookPayloadError`
        if it can't be understood."""


class BusyError(SalonError):
    """The core could not take a message now."""

    code = "busy"


class Intakes:
    """Every door by channel type and provider, and the way from there into the core."""

    def __init__(self, kit: RoomKit) -> None:
        self._kit = kit
        self._doors: dict[tuple[str, str], Intake] = {}
        self._now = 0
        self.taken = 0
        self.refused = 0

    def add(self, channel_type: str, provider: str, intake: Intake) -> None:
        """Serve ``/webhooks/{channel_type}/{provider}``."""
        self._doors[channel_type, provider] = intake

    def find(self, channel_type: str, provider: str) -> Intake | None:
        """The door, if there is one."""
        return self._doors.get((channel_type, provider))

    async def take(self, intake: Intake, call: WebhookCall) -> None:
        """Prove, read and commit; agents and deliveries are not waited for. Raises what
        `Intake.read` does, and `BusyError` if it is worth coming again."""
        if self._now >= MAX_AT_ONCE:
            raise BusyError("too many webhooks at once")
        self._now += 1
        try:
            received = self._read(intake, call)
            _check_sender(received)
            await self._hand_over(received)
            self.taken += 1
        finally:
            self._now -= 1

    def _read(self, intake: Intake, call: WebhookCall) -> Received:
        try:
            return intake.read(call)
        except WebhookSignatureError as error:
            self.refused += 1
            _log.warning("a webhook was refused: %s", error.reason)
            raise

    async def _hand_over(self, received: Received) -> None:
        try:
            async with asyncio.timeout(TAKE_TIMEOUT_S):
                await self._process(received.content)
        except (TimeoutError, BusyError, ChannelNotRegisteredError) as error:
            received.forget()
            raise BusyError("the message was not taken, come again") from error
        except BaseException:
            received.forget()
            raise

    async def _process(self, content: InboundMessage | DeliveryStatus | None) -> None:
        if isinstance(content, DeliveryStatus):
            await self._kit.process_delivery_status(content)
        elif content is not None:
            result = await self._kit.process_inbound(content, detached=True)
            if result.event is None and result.reason in _AGAIN:
                raise BusyError(result.reason)


def _check_sender(received: Received) -> None:
    """A sender becomes a participant, whose id stands in paths and logs."""
    sender = getattr(received.content, "sender_id", "")
    if any(unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} for sign in sender):
        received.forget()
        raise WebhookPayloadError("the id of the sender holds control characters")


class TwilioIntake:
    """Text messages and their reports. `channels` by our number, `channel_id` for other ones."""

    max_bytes = 256 * 1024

    def __init__(
        self, provider: SMSProvider, channel_id: str, channels: Mapping[str, str] | None = None
    ) -> None:
        from salon.providers.sms import EMPTY_TWIML

        self._provider = provider
        self._channel_id = channel_id
        self._channels = dict(channels or {})
        self.reply = Reply(EMPTY_TWIML, "text/xml")

    def read(self, call: WebhookCall) -> Received:
        """Twilio signs the URL and the form; repetitions are told by their message id."""
        signature = call.headers.get("x-twilio-signature", "")
        if not signature:
            raise WebhookSignatureError("missing", "no header x-twilio-signature")
        if not self._provider.verify_signature(call.body, signature, url=call.url):
            raise WebhookSignatureError("mismatch", "the signature does not fit")
        form = _form(call.body)
        to, sender = form.get("To", ""), form.get("From", "")
        channel_id = self._channels.get(sender if call.status else to, self._channel_id)
        if call.status:
            return Received(self._provider.parse_status(form, channel_id=channel_id))
        return Received(self._provider.parse_webhook(form, channel_id))


class SignedIntake:
    """Messages and reports of any system that signs as Standard Webhooks say. `parse` makes a
    message of the JSON; without `reports` there are none."""

    reply = Reply("{}", "application/json")

    def __init__(
        self,
        prover: Prover,
        channel_id: str,
        *,
        parse: Parse = parse_http_webhook,
        reports: bool = True,
        max_bytes: int = 256 * 1024,
    ) -> None:
        self.max_bytes = max_bytes
        self._prover = prover
        self._channel_id = channel_id
        self._parse = parse
        self._reports = reports

    def read(self, call: WebhookCall) -> Received:
        """An exact repetition is refused; a retry of the sender is a duplicate."""
        proof = self._prover.verify(call.headers, call.body)

        def forget() -> None:
            self._prover.forget(proof)

        try:
            return Received(self._content(call, proof), forget)
        except WebhookPayloadError:
            forget()
            raise

    def _content(self, call: WebhookCall, proof: SignedWebhook) -> InboundMessage | DeliveryStatus:
        payload = _object(call.body)
        if not call.status:
            return self._parse(payload, self._channel_id, webhook_id=proof.id)
        if not self._reports:
            raise WebhookPayloadError("there are no status reports of this kind")
        return _report(payload, self._channel_id)


def email_intake(prover: Prover, channel_id: str, *, max_bytes: int) -> SignedIntake:
    """E-mail that a service posts as JSON, signed in the same way."""
    from salon.providers.email.webhook import parse_email_webhook

    return SignedIntake(
        prover, channel_id, parse=parse_email_webhook, reports=False, max_bytes=max_bytes
    )


class Parse(Protocol):
    """From verified JSON to a message."""

    def __call__(
        self, payload: Mapping[str, Any], channel_id: str, *, webhook_id: str | None = None
    ) -> InboundMessage: ...


class Prover(Protocol):
    """What proves a signed webhook: `WebhookVerifier` and `WebhookHTTPProvider` do."""

    def verify(self, headers: Mapping[str, str], body: bytes) -> SignedWebhook: ...

    def forget(self, webhook: SignedWebhook) -> None: ...


class _Report(BaseModel):
    """The JSON of a delivery report."""

    model_config = ConfigDict(extra="ignore")

    message_id: str = Field(min_length=1, max_length=512)
    status: str = Field(min_length=1, max_length=64)
    recipient: str = Field(default="", max_length=512)
    sender: str = Field(default="", max_length=512)
    error_code: str | None = Field(default=None, max_length=128)
    error_message: str | None = Field(default=None, max_length=2000)


def _report(payload: dict[str, Any], channel_id: str) -> DeliveryStatus:
    try:
        said = _Report.model_validate(payload)
    except ValidationError as error:
        fault = error.errors()[0]
        raise WebhookPayloadError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    known = said.model_dump() | {"status": said.status.lower()}
    return DeliveryStatus(provider="webhook", channel_id=channel_id, raw=payload, **known)


def _object(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebhookPayloadError("the body is not JSON") from error
    if not isinstance(payload, dict):
        raise WebhookPayloadError("the body is not a JSON object")
    return payload


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise WebhookPayloadError("the body is not a form") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found
