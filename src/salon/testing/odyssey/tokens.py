"""Signed tokens: JWTs of the HS256 kind, and signatures of file addresses (O22, O88)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

_HEADER = {"alg": "HS256", "typ": "JWT"}


class TokenError(ValueError):
    """A token is malformed, badly signed, of another kind, or over."""


class Signer:
    """Makes and checks tokens with one secret, which never leaves it."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError("a signing secret has at least 16 bytes")
        self._secret = secret

    def token(self, kind: str, claims: dict[str, Any], *, expires: float) -> str:
        """A three-part JWT; `expires` are Unix seconds."""
        payload = {**claims, "typ": kind, "exp": int(expires)}
        signed = f"{_encoded(_HEADER)}.{_encoded(payload)}"
        return f"{signed}.{_text(self._mac(signed))}"

    def claims(self, kind: str, token: str, *, now: float) -> dict[str, Any]:
        """What a token of `kind` claims; `TokenError` if it is not ours or not valid now."""
        parts = token.split(".")
        if len(parts) != 3:
            raise TokenError("a token has three parts")
        signed = f"{parts[0]}.{parts[1]}"
        try:
            header, payload = json.loads(_bytes(parts[0])), json.loads(_bytes(parts[1]))
            signature = _bytes(parts[2])
        except (ValueError, RecursionError) as error:
            raise TokenError("a token that can't be read") from error
        if not isinstance(header, dict) or header.get("alg") != "HS256":
            raise TokenError("a token is signed with HS256")
        if not hmac.compare_digest(signature, self._mac(signed)):
            raise TokenError("the signature does not fit")
        if not isinstance(payload, dict) or payload.get("typ") != kind:
            raise TokenError(f"not a {kind} token")
        expires = payload.get("exp")
        if not isinstance(expires, int) or expires <= now:
            raise TokenError("the token is over")
        return payload

    def signature(self, text: str) -> str:
        """Of a file's address: 64 hex digits."""
        return self._mac(f"file\n{text}").hex()

    def signed_so(self, text: str, signature: str) -> bool:
        """Whether `signature` is that of `text`."""
        return hmac.compare_digest(self.signature(text).encode(), signature.encode())

    def _mac(self, text: str) -> bytes:
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _encoded(value: dict[str, Any]) -> str:
    return _text(json.dumps(value, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
