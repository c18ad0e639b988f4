"""``X-Twilio-Signature``: HMAC-SHA1 with the auth token over the URL and the form parameters.

The URL is the one Twilio was given, query included. A body that is not a form (JSON) is covered by
``bodySHA256`` in the query instead. The scheme has no timestamp: against repetition only the
message id helps, which is why it is the idempotency key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

TWILIO_SIGNATURE_HEADER = "X-Twilio-Signature"
MAX_FIELDS = 256
"""Form parameters of a webhook; Twilio sends a few dozen."""

_PORTS = {"https": 443, "http": 80}


def twilio_signature(
    auth_token: str, url: str, params: Iterable[tuple[str, str]] | None = None
) -> str:
    """The header's value. A parameter that is given twice counts once per distinct value."""
    signed = url + "".join(name + value for name, value in sorted(set(params or ())))
    # SHA-1 is the vendor's choice; as the hash of an HMAC it is not broken
    mac = hmac.new(auth_token.encode(), signed.encode("utf-8", "surrogatepass"), hashlib.sha1)
    return base64.b64encode(mac.digest()).decode()


def verify_twilio_signature(auth_token: str, url: str, body: bytes, signature: str) -> bool:
    """Whether `body`, exactly as received at the public `url`, was signed by Twilio.

    Constant in the time it takes to compare. The URL counts with and without its default port,
    since Twilio and the proxies before a server differ in writing it.
    """
    if not signature or not auth_token:
        return False
    try:
        urls = _spellings(url)
        declared = [value for name, value in parse_qsl(urlsplit(url).query) if name == "bodySHA256"]
        if declared:
            actual = hashlib.sha256(body).hexdigest()
            if len(declared) != 1 or not _same(declared[0].lower(), actual):
                return False
            params = []
        else:
            params = parse_qsl(
                body.decode("utf-8"),
                keep_blank_values=True,
                max_num_fields=MAX_FIELDS,
            )
    except ValueError:
        return False
    matched = False
    for spelling in urls:
        matched |= _same(signature, twilio_signature(auth_token, spelling, params))
    return matched


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


def _spellings(url: str) -> list[str]:
    """The URL as given, with and without a port."""
    parts = urlsplit(url)
    port = _PORTS.get(parts.scheme)
    if port is None or not parts.netloc:
        raise ValueError("not a web address")
    written = parts.port is not None
    other = parts.netloc.rpartition(":")[0] if written else f"{parts.netloc}:{port}"
    return [url, parts._replace(netloc=other).geturl()]
