"""Signatures of requests to object stores: AWS Signature Version 4, as S3 wants it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from salon.base import SYSTEM_CLOCK, Clock

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PIECE: Final = 1024 * 1024


class Signer:
    """Signs requests with one pair of keys. The repr shows neither."""

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        region: str,
        *,
        service: str = "s3",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._service = service
        self._clock = clock

    @staticmethod
    def hash_of(data: bytes) -> str:
        """What a body is signed by."""
        return hashlib.sha256(data).hexdigest()

    def headers(
        self, method: str, url: str, digest: str, also: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The headers that sign a request whose body has this hash: they, `also` and the host are
        signed. `url` is encoded already and has no query."""
        at = datetime.fromtimestamp(self._clock.time(), UTC)
        stamp, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
        parts = urlsplit(url)
        sent = {"x-amz-content-sha256": digest, "x-amz-date": stamp, **(also or {})}
        signed = {name.lower(): value.strip() for name, value in sent.items()}
        signed["host"] = _host(parts)
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = f"{method}\n{parts.path or '/'}\n\n{lines}\n{names}\n{digest}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{self.hash_of(request.encode())}"
        signature = hmac.new(self._key(day), text.encode(), hashlib.sha256).hexdigest()
        sent["authorization"] = (
            f"{_ALGORITHM} Credential={self._access_key}/{scope},"
            f"SignedHeaders={names},Signature={signature}"
        )
        return sent

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self._secret_key}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key


def _host(parts: SplitResult) -> str:
    """As clients send it: without the port that the scheme means anyway."""
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return parts.netloc.removesuffix(usual)


def object_url(endpoint: str, bucket: str, key: str, *, path_style: bool) -> str:
    """The URL of an object; the bucket stands in the path or before the host, unless the endpoint
    has it there already."""
    parts = urlsplit(endpoint)
    host, path = parts.netloc, parts.path.rstrip("/")
    if path_style:
        path = f"{path}/{quote(bucket, safe='')}"
    elif not host.startswith(f"{bucket}."):
        host = f"{bucket}.{host}"
    return f"{parts.scheme}://{host}{path}/{quote(key, safe='/-_.~')}"


def hash_of_file(path: Path, size: int) -> str:
    """SHA-256 of the first `size` bytes of a file. Blocking; `OSError`."""
    made = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(size, _PIECE))):
            made.update(piece)
            size -= len(piece)
    return made.hexdigest()
