"""Whether a configuration is taken, and the words in which it is refused (A37, A102, A108)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Final

from salon.testing.avatar.settings import OPUS_RATES, PCM_RATES, AvatarSettings
from salon.testing.avatar.wire import (
    EGRESS_AGORA,
    EGRESS_LIVEKIT,
    EGRESS_NONE,
    OGG_OPUS,
    PCM,
    Configure,
    LiveKitEgress,
)

INVALID_ARGUMENT: Final = 3
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

NO_EGRESS: Final = "egress client is not configured on server"
NO_CREDENTIALS: Final = "missing livekit credentials"
HALF_CREDENTIALS: Final = "livekit_egress: provide api_token or both api_key and api_secret"
BAD_TOKEN: Final = (
    "failed to create connection: failed to connect to room: unauthorized: invalid token"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A `ServerError` in place of the confirmation."""

    code: int
    text: str


def refusal(said: Configure, settings: AvatarSettings) -> Refusal | None:
    """Why `said` is refused; None if it is taken."""
    return _sound(said) or _egress(said, settings)


def _sound(said: Configure) -> Refusal | None:
    if said.audio_format not in (PCM, OGG_OPUS):
        return Refusal(INVALID_ARGUMENT, f"unsupported audio format: {said.audio_format}")
    if said.transport_compression:
        text = f"unsupported transport compression: {said.transport_compression}"
        return Refusal(INVALID_ARGUMENT, text)
    rates = OPUS_RATES if said.audio_format == OGG_OPUS else PCM_RATES
    if said.sample_rate not in rates:
        # Clients look at the text only if the code is none of 3, 14 and 16 (A82).
        return Refusal(INTERNAL, f"unsupported sample rate: {said.sample_rate}")
    return None


def _egress(said: Configure, settings: AvatarSettings) -> Refusal | None:
    if said.livekit is not None and said.agora is not None:
        return Refusal(INVALID_ARGUMENT, "livekit_egress and agora_egress exclude each other")
    if said.egress_type == EGRESS_NONE:
        return None
    if said.egress_type == EGRESS_LIVEKIT:
        if said.livekit is None:
            return Refusal(INVALID_ARGUMENT, "livekit_egress is missing")
        if not settings.livekit_egress:
            return Refusal(UNAVAILABLE, NO_EGRESS)
        return _livekit(said.livekit)
    if said.egress_type == EGRESS_AGORA:
        if said.agora is None or not said.agora.channel_name:
            return Refusal(INVALID_ARGUMENT, "agora_egress.channel_name is missing")
        return Refusal(UNAVAILABLE, NO_EGRESS)
    return Refusal(INVALID_ARGUMENT, f"unsupported egress type: {said.egress_type}")


def _livekit(said: LiveKitEgress) -> Refusal | None:
    if not said.api_token and not (said.has_key and said.has_secret):
        half = said.has_key or said.has_secret
        return Refusal(INVALID_ARGUMENT, HALF_CREDENTIALS if half else NO_CREDENTIALS)
    for name, value in (("url", said.url), ("room_name", said.room_name)):
        if not value:
            return Refusal(INVALID_ARGUMENT, f"livekit_egress.{name} is missing")
    if said.api_token and not _is_jwt(said.api_token):
        return Refusal(UNAUTHENTICATED, BAD_TOKEN)
    return None


def _is_jwt(token: str) -> bool:
    """Whether it has the form of one: its signature is for the room to check."""
    parts = token.split(".")
    if len(parts) != 3 or not parts[2]:
        return False
    try:
        read = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in parts[:2]]
    except (ValueError, RecursionError):  # no base64, no UTF-8, no JSON, or too deep
        return False
    return all(isinstance(one, dict) for one in read)
