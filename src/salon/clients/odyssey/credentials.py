"""What a server hands to somebody without a key, so that they can connect once (O22, O101)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from salon.clients.odyssey.types import StreamerCapabilities

_SHOWN: Final = 8
"""Characters of a token that repr shows: of a JWT, a part of its header."""


@dataclass(frozen=True, slots=True, repr=False)
class ClientCredentials:
    """A session that was asked for elsewhere. `expires_in` in seconds from when it was made.

    `session_id` is the claim of that name in the token, which is not verified here: the server
    does that. `ValueError` for a blank URL or token and for a token without the claim.
    """

    signaling_url: str
    session_token: str
    expires_in: int
    capabilities: StreamerCapabilities | None = None
    session_id: str = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.signaling_url, str) or not self.signaling_url.strip():
            raise ValueError("signaling_url is required")
        if not isinstance(self.session_token, str) or not self.session_token.strip():
            raise ValueError("session_token is required")
        object.__setattr__(self, "session_id", session_id_of(self.session_token))

    def __repr__(self) -> str:
        return (
            f"ClientCredentials(signaling_url={self.signaling_url!r},"
            f" session_token='{self.session_token[:_SHOWN]}...',"
            f" expires_in={self.expires_in!r}, capabilities={self.capabilities!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to be sent to whoever connects. It holds the token. Capabilities that nobody
        stated are left out: false would be a statement."""
        made: dict[str, Any] = {
            "session_id": self.session_id,
            "signaling_url": self.signaling_url,
            "session_token": self.session_token,
            "expires_in": self.expires_in,
        }
        if self.capabilities is not None and self.capabilities.stated:
            made["capabilities"] = self.capabilities.to_dict()
        return made

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """From JSON. `session_id` is ignored; `KeyError` without one of the other three."""
        given = payload.get("capabilities")
        return cls(
            signaling_url=payload["signaling_url"],
            session_token=payload["session_token"],
            expires_in=payload["expires_in"],
            capabilities=None if given is None else StreamerCapabilities.from_dict(given),
        )


def session_id_of(token: str) -> str:
    """The claim `session_id` of a JWT, unverified; `ValueError` if there is none (O22)."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("session_token is not a valid JWT (expected 3 dot-separated parts)")
    try:
        raw = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), b"-_", validate=True)
        claims = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise ValueError("session_token is not a valid JWT (its payload is not JSON)") from None
    session_id = claims.get("session_id") if isinstance(claims, dict) else None
    if not isinstance(session_id, str) or not session_id:
        raise ValueError("session_token has no session_id claim")
    return session_id
