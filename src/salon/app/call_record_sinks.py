"""Where call records go: a folder, a web service, an object store (G218)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from salon.app.multipart import FilePart, Multipart, TextPart, read_pieces
from salon.app.s3_signing import Signer, hash_of_file, object_url
from salon.base import ConfigurationError, MissingExtraError, SalonError, new_id, safe_name
from salon.base.files import private_folder
from salon.gateway.call_record import EndedCall
from salon.voice.recorder import reserve

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 30.0
UPLOAD_TIMEOUT_S: Final = 300.0
"""For one record with all its files."""


class SinkError(SalonError):
    """A record was not taken; `retryable` if it may be another time."""

    code = "call_record_sink"

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class RecordSink(Protocol):
    """Takes records; `SinkError` if it can't."""

    async def put(self, call: EndedCall) -> None: ...

    async def close(self) -> None: ...


def record_name(call: EndedCall) -> str:
    """``YYYYMMDD/YYYYMMDD-HHMMSS_<id>``, in local time; the id never becomes a path."""
    at = datetime.fromtimestamp(call.started_at).astimezone()
    return f"{at:%Y%m%d}/{at:%Y%m%d-%H%M%S}_{safe_name(call.id)}"


def record_bytes(call: EndedCall) -> bytes:
    """The JSON document."""
    return json.dumps(call.record, ensure_ascii=False, indent=1).encode("utf-8", "replace")


class LocalSink:
    """Files ``<root>/<YYYYMMDD>/<YYYYMMDD-HHMMSS>_<callId>.json``; there under their name only when
    they are whole, and never in place of another."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def put(self, call: EndedCall) -> None:
        """Write the record."""
        try:
            await asyncio.to_thread(self._write, call)
        except OSError as error:
            raise SinkError(f"not written: {error.strerror}") from error

    def _write(self, call: EndedCall) -> None:
        path = self.root / f"{record_name(call)}.json"
        private_folder(path.parent)
        whole = path.with_name(f".{new_id()}.tmp")
        descriptor = os.open(whole, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(record_bytes(call))
                file.flush()
                os.fsync(file.fileno())
            whole.replace(reserve(path))
        except OSError:
            with suppress(OSError):
                whole.unlink()
            raise

    async def close(self) -> None:
        """Nothing is open."""


class _Uploads:
    """What sinks over HTTP have in common: a client, errors, files that are sent along."""

    def __init__(self, *, with_media: bool, keep_media_copy: bool) -> None:
        self._with_media = with_media
        self._keep = keep_media_copy
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """End all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], content: AsyncIterator[bytes]
    ) -> None:
        client = self._opened()
        import httpx

        host = urlsplit(url).hostname
        try:
            async with (
                asyncio.timeout(UPLOAD_TIMEOUT_S),
                client.stream(method, url, headers=dict(headers), content=content) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise SinkError(f"{host} was not reached: {type(error).__name__}") from error
        except OSError as error:
            raise SinkError(f"a file is not readable: {error.strerror}") from error
        if not 200 <= status < 300:
            again = status >= 500 or status in {408, 409, 425, 429}
            raise SinkError(f"{host} answered {status}", retryable=again)

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(
                timeout=TIMEOUT_S, follow_redirects=False, trust_env=False
            )
        return self._client

    async def _files(self, call: EndedCall) -> list[tuple[str, Path, int]]:
        """Name of the part, file and size of what goes along and is there."""
        if not self._with_media:
            return []
        named = [(f"media_{track}", path) for track, path in call.media]
        if call.events is not None:
            named.append((f"dump_events_{call.events.name}", call.events))
        found = []
        for name, path in named:
            with suppress(OSError):
                found.append((name, path, (await asyncio.to_thread(path.stat)).st_size))
        return found

    async def _sent(self, call: EndedCall) -> None:
        """The recordings were taken: their copies here go, if that is wanted. Not the events file:
        a later call of the same id may be writing to it."""
        if self._with_media and not self._keep:
            for _, path in call.media:
                with suppress(OSError):
                    await asyncio.to_thread(path.unlink)


class HttpSink(_Uploads):
    """POSTs a form: `calllog.json`, and with media `media_<trackId>` and `dump_events_<file>`."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        with_media: bool = False,
        keep_media_copy: bool = True,
    ) -> None:
        super().__init__(with_media=with_media, keep_media_copy=keep_media_copy)
        self._url = url
        self._headers = dict(headers or {})

    async def put(self, call: EndedCall) -> None:
        """Send the record and its files."""
        parts: list[TextPart | FilePart] = [
            TextPart("calllog.json", "calllog.json", "application/json", record_bytes(call))
        ]
        for name, path, size in await self._files(call):
            kind = "audio/wav" if path.suffix == ".wav" else "application/x-ndjson"
            parts.append(FilePart(name, safe_name(path.name), kind, path, size))
        form = Multipart(parts)
        await self._request("POST", self._url, {**self._headers, **form.headers}, form.pieces())
        await self._sent(call)


class S3Sink(_Uploads):
    """PUTs objects below `root` in a bucket: the record under its name, and with media the files
    beside it."""

    def __init__(
        self,
        signer: Signer,
        *,
        bucket: str,
        endpoint: str,
        root: str = "",
        path_style: bool = True,
        with_media: bool = False,
        keep_media_copy: bool = True,
    ) -> None:
        super().__init__(with_media=with_media, keep_media_copy=keep_media_copy)
        self._signer = signer
        self._bucket = bucket
        self._endpoint = endpoint
        self._root = root.strip("/")
        self._path_style = path_style

    async def put(self, call: EndedCall) -> None:
        """Files first: the record says that they are there."""
        name = record_name(call)
        for part, path, size in await self._files(call):
            try:
                digest = await asyncio.to_thread(hash_of_file, path, size)
            except OSError as error:
                raise SinkError(f"a file is not readable: {error.strerror}") from error
            key = f"{name}_{safe_name(part)}{path.suffix}"
            await self._put(key, read_pieces(path, size), size, digest)
        body = record_bytes(call)
        await self._put(f"{name}.json", _once(body), len(body), self._signer.hash_of(body))
        await self._sent(call)

    async def _put(self, key: str, pieces: AsyncIterator[bytes], size: int, digest: str) -> None:
        key = f"{self._root}/{key}" if self._root else key
        url = object_url(self._endpoint, self._bucket, key, path_style=self._path_style)
        headers = {"content-length": str(size)}
        signed = self._signer.headers("PUT", url, digest)
        await self._request("PUT", url, headers | signed, pieces)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@dataclass(frozen=True, slots=True)
class RecordTarget:
    """A `callrecord` setting, checked: ``local{root}``, ``http{url, headers?}`` or ``s3{vendor,
    bucket, region, access_key, secret_key, endpoint, root}``, the last two with `with_media` and
    `keep_media_copy`. The repr leaves secrets out."""

    type: str
    root: str = ""
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    vendor: str = "aws"
    bucket: str = ""
    region: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    endpoint: str = ""
    with_media: bool = False
    keep_media_copy: bool = True

    @classmethod
    def parse(cls, value: str | Mapping[str, Any]) -> RecordTarget:
        """From a table of a configuration file, or a text: JSON, an http(s) URL, or the path of a
        folder. Raises `ConfigurationError`, which names no secret."""
        table = _table(value)
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(table) - known)
        if unknown:
            raise ConfigurationError(f"callrecord: unknown keys {', '.join(unknown)}")
        for key, kind in (("with_media", bool), ("keep_media_copy", bool), ("headers", Mapping)):
            if key in table and not isinstance(table[key], kind):
                raise ConfigurationError(f"callrecord: {key} has the wrong type")
        texts = known - {"with_media", "keep_media_copy", "headers"}
        for key in sorted(texts & set(table)):
            if not isinstance(table[key], str):
                raise ConfigurationError(f"callrecord: {key} has to be text")
        if "type" not in table:
            raise ConfigurationError("callrecord: type is local, http or s3")
        target = cls(**table)
        target._check()
        return target

    def _check(self) -> None:
        needed = {
            "local": ("root",),
            "http": ("url",),
            "s3": ("bucket", "access_key", "secret_key"),
        }
        if self.type not in needed:
            raise ConfigurationError("callrecord: type is local, http or s3")
        missing = [key for key in needed[self.type] if not getattr(self, key)]
        if missing:
            raise ConfigurationError(f"callrecord: {', '.join(missing)} missing")
        if self.type == "http":
            _check_url("url", self.url)
        if self.type == "s3":
            if self.vendor not in _VENDORS:
                raise ConfigurationError(f"callrecord: vendor is one of {', '.join(_VENDORS)}")
            if not self.endpoint and self.vendor != "aws":
                raise ConfigurationError("callrecord: endpoint missing")
            if self.endpoint:
                _check_url("endpoint", self.endpoint)

    def sink(self) -> RecordSink:
        """What it names, not yet connected to anything. `MissingExtraError` without httpx, unless
        it is a folder."""
        if self.type == "local":
            return LocalSink(Path(self.root))
        if find_spec("httpx") is None:
            raise MissingExtraError("http", "call records over HTTP")
        media = {"with_media": self.with_media, "keep_media_copy": self.keep_media_copy}
        if self.type == "http":
            return HttpSink(self.url, self.headers, **media)
        region = self.region or "us-east-1"
        return S3Sink(
            Signer(self.access_key, self.secret_key, region),
            bucket=self.bucket,
            endpoint=self.endpoint or f"https://s3.{region}.amazonaws.com",
            root=self.root,
            path_style=_VENDORS[self.vendor],
            **media,
        )


_VENDORS: Final = {
    "aws": False,
    "aliyun": False,
    "tencent": False,
    "digitalocean": False,
    "gcp": True,
    "minio": True,
}
"""Object stores that speak S3, and whether the bucket stands in the path there."""


def _table(value: str | Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, str):
        return dict(value)
    text = value.strip()
    if text.startswith("{"):
        try:
            table = json.loads(text)
        except ValueError:
            raise ConfigurationError("callrecord: no JSON object") from None
        return dict(table)
    if text.startswith(("http://", "https://")):
        return {"type": "http", "url": text}
    return {"type": "local", "root": text}


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise ConfigurationError(f"callrecord: {name} is no http or https URL")
