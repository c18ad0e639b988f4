"""HMAC-SHA256 over id, time and body, as the Standard Webhooks specification (1.0) has it.

Signed is ``{id}.{timestamp}.{body}``; the header lists ``v1,<base64>`` once per valid secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError
from salon.providers.webhooks.errors import WebhookSignatureError
from salon.providers.webhooks.replay import ReplayWindow

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
TOLERANCE = 300.0
"""Seconds a timestamp may lie in the past or in the future."""

_PREFIX = "whsec_"
_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_SIGNATURES = 16


def secret_key(secret: str) -> bytes:
    """The key inside a secret: base64 after ``whsec_``, else the text itself."""
    if not secret:
        raise ConfigurationError("a webhook secret is empty")
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError("a whsec_ webhook secret is not base64") from error
    if not key:
        raise ConfigurationError("a webhook secret is empty")
    return key


def _digest(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> bytes:
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return hmac.new(key, signed, hashlib.sha256).digest()


class WebhookSigner:
    """Signs what goes out. Several secrets, while one is being replaced, sign side by side."""

    def __init__(self, *secrets: str, clock: Clock = SYSTEM_CLOCK) -> None:
        if not secrets:
            raise ConfigurationError("a webhook signer needs a secret")
        self._keys = [secret_key(secret) for secret in secrets]
        self._clock = clock

    def headers(self, webhook_id: str, body: bytes) -> dict[str, str]:
        """The three headers of a request sent now. The id stays the same over its retries."""
        if not _ID.fullmatch(webhook_id):
            raise ValueError("a webhook id is 1 to 256 printable ASCII characters without a dot")
        timestamp = str(int(self._clock.time()))
        signatures = (
            base64.b64encode(_digest(key, webhook_id, timestamp, body)).decode()
            for key in self._keys
        )
        return {
            ID_HEADER: webhook_id,
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: " ".join(f"v1,{signature}" for signature in signatures),
        }


@dataclass(frozen=True, slots=True)
class SignedWebhook:
    """A request proven genuine. `id` is its idempotency key; `timestamp` in Unix seconds."""

    id: str
    timestamp: int

    @property
    def key(self) -> str:
        """One attempt to deliver it."""
        return f"{self.timestamp}.{self.id}"


class WebhookVerifier:
    """Checks what comes in (R216): signature in constant time, age, and no exact repetition.

    A retry of its sender has the same id and a later time: it passes here, and its id tells the
    core that it is a duplicate. `window` None leaves all of that to the core.
    """

    def __init__(
        self,
        *secrets: str,
        tolerance: float = TOLERANCE,
        window: ReplayWindow | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not secrets:
            raise ConfigurationError("a webhook verifier needs a secret")
        self._keys = [secret_key(secret) for secret in secrets]
        self._tolerance = tolerance
        self._window = window
        self._clock = clock

    def verify(self, headers: Mapping[str, str], body: bytes) -> SignedWebhook:
        """`WebhookSignatureError` unless `body`, exactly as received, is signed and fresh."""
        known = {key.lower(): value for key, value in headers.items()}
        try:
            webhook_id = known[ID_HEADER]
            timestamp = known[TIMESTAMP_HEADER]
            signatures = known[SIGNATURE_HEADER]
        except KeyError as error:
            raise WebhookSignatureError("missing", f"no header {error.args[0]}") from None
        if not (_ID.fullmatch(webhook_id) and _TIMESTAMP.fullmatch(timestamp)):
            raise WebhookSignatureError("malformed", "the id or the timestamp is malformed")
        self._match(signatures, [_digest(k, webhook_id, timestamp, body) for k in self._keys])
        found = SignedWebhook(webhook_id, int(timestamp))
        self._fresh(found)
        return found

    def forget(self, webhook: SignedWebhook) -> None:
        """It was not taken after all (the core refused, a store was down): let it be repeated."""
        if self._window is not None:
            self._window.forget(webhook.key)

    def _match(self, header: str, expected: Sequence[bytes]) -> None:
        offered = header.split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
        matched = False
        for item in offered:
            version, _, encoded = item.partition(",")
            if version != "v1":
                continue
            try:
                digest = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                continue
            for wanted in expected:
                matched |= hmac.compare_digest(digest, wanted)
        if not matched:
            raise WebhookSignatureError("mismatch", "no signature fits")

    def _fresh(self, webhook: SignedWebhook) -> None:
        now = self._clock.time()
        age = now - webhook.timestamp
        if age > self._tolerance:
            raise WebhookSignatureError("expired", f"signed {age:.0f} s ago")
        if age < -self._tolerance:
            raise WebhookSignatureError("future", f"signed {-age:.0f} s in the future")
        if self._window is not None:
            expires = webhook.timestamp + self._tolerance
            refusal = self._window.admit(webhook.key, now, expires)
            if refusal:
                raise WebhookSignatureError(refusal, f"the webhook is {refusal}")
