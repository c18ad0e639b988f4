"""Room tokens: signed, short-lived, stored nowhere."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, Principal
from salon.base.principal import RoomGrant, keys_equal

PREFIX = "salon-room."
"""What every room token begins with."""
MAX_SECONDS = 86_400
"""Longest life of a token."""
_LONGEST = 4096
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class RoomToken:
    """A token and when it ends (Unix seconds)."""

    token: str
    expires: int


class RoomTokens:
    """Makes and checks tokens of the form ``salon-room.<claims>.<signature>``.

    `secret` gives the key, when it is first needed. A changed key ends every token.
    """

    def __init__(self, secret: Callable[[], bytes], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._secret = secret
        self._clock = clock
        self._key: bytes | None = None

    def issue(self, grant: RoomGrant) -> RoomToken:
        """The token of a grant."""
        claims = {
            "r": grant.room_id,
            "m": grant.made_at,
            "p": grant.participant_id,
            "n": grant.name,
            "w": grant.writes,
            "e": grant.expires,
        }
        text = json.dumps(claims, separators=(",", ":")).encode()
        body = base64.urlsafe_b64encode(text).decode().rstrip("=")
        return RoomToken(f"{PREFIX}{body}.{self._sign(body)}", grant.expires)

    def principal(self, token: str) -> Principal | None:
        """Who shows this token; None if it is not ours, was changed or has ended."""
        if len(token) > _LONGEST or not token.startswith(PREFIX):
            return None
        body, _, signature = token[len(PREFIX) :].rpartition(".")
        if not body or not keys_equal(signature, self._sign(body)):
            return None
        grant = _grant(body)
        if grant is None or grant.expires <= self._clock.time():
            return None
        return Principal(f"room:{grant.participant_id}", "room", grant=grant)

    def _sign(self, body: str) -> str:
        if self._key is None:
            self._key = hashlib.sha256(b"salon room token\0" + self._secret()).digest()
        return hmac.new(self._key, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _grant(body: str) -> RoomGrant | None:
    """The claims of a body whose signature fits; None for those of another version."""
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return RoomGrant(
            room_id=claims["r"],
            made_at=claims["m"],
            participant_id=claims["p"],
            name=claims["n"],
            writes=claims["w"] is True,
            expires=int(claims["e"]),
        )
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


def token_secret(api_key: str | None, folder: Path) -> Callable[[], bytes]:
    """The key of room tokens: derived from the API key, else one of the data folder, made when it
    is first needed and readable by its owner only."""
    if api_key is not None:
        return api_key.encode

    def kept() -> bytes:
        file = folder / "token.key"
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".token.{secrets.token_hex(8)}"
        if not file.exists():
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(secrets.token_bytes(_SECRET_BYTES))
            try:
                os.link(fresh, file)  # of two processes that begin, one makes the key
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return file.read_bytes()

    return kept
