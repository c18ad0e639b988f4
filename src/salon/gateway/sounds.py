"""Sounds a client names by URL or path (G80), under the URL and path policy."""

from __future__ import annotations

import asyncio
import io
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np

from salon.base import MissingExtraError, PolicyError, SalonError, UrlPolicy, resolve_below
from salon.media import SAMPLE_RATE, MediaError, Samples, read_wav, resample

MAX_BYTES = 32 * 1024 * 1024
MAX_SECONDS = 1800
FETCH_TIMEOUT_S = 15.0
MAX_REDIRECTS = 3


class SoundError(SalonError):
    """A sound cannot be had: not allowed, not found, too large, not readable."""

    code = "sound"


@dataclass(frozen=True, slots=True)
class SoundLoader:
    """Loads and decodes. Files only below `roots`; URLs only as `policy` allows, every redirect and
    every resolved address checked again. Size and time are bounded."""

    roots: tuple[Path, ...] = ()
    policy: UrlPolicy = field(default_factory=UrlPolicy)

    async def load(self, url: str) -> Samples:
        """The sound as ``int16[n]`` 16 kHz mono; raises `SoundError`."""
        if "://" in url:
            data = await self._fetch(url)
        else:
            data = await asyncio.to_thread(self._read, url)
        try:
            return await asyncio.to_thread(_decode, data)
        except MissingExtraError as error:
            raise SoundError(str(error)) from error

    def _read(self, name: str) -> bytes:
        for root in self.roots:
            try:
                path = resolve_below(root, name)
            except PolicyError:
                continue
            try:
                if path.is_file():
                    if path.stat().st_size > MAX_BYTES:
                        raise SoundError(f"file is larger than {MAX_BYTES} bytes")
                    return path.read_bytes()
            except OSError as error:
                raise SoundError(f"file not readable: {error.strerror}") from None
        raise SoundError("file not found below the media folders of this server")

    async def _fetch(self, url: str) -> bytes:
        try:
            import httpx
        except ImportError as error:
            raise SoundError(str(MissingExtraError("openai", "fetching URLs"))) from error
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT_S),
                httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, trust_env=False) as client,
            ):
                for _ in range(MAX_REDIRECTS + 1):
                    address = await self._check(url)
                    async with client.stream(
                        "GET", follow_redirects=False, **_pinned(url, address)
                    ) as response:
                        if response.is_redirect:
                            url = urljoin(url, response.headers.get("location", ""))
                            continue
                        if response.status_code != 200:
                            raise SoundError(f"the server answered {response.status_code}")
                        return await _bounded(response)
                raise SoundError(f"more than {MAX_REDIRECTS} redirects")
        except TimeoutError:
            raise SoundError(f"not loaded within {FETCH_TIMEOUT_S:.0f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise SoundError(f"not loaded: {type(error).__name__}") from None
        except PolicyError as error:
            raise SoundError(str(error)) from None

    async def _check(self, url: str) -> str | None:
        """The address to connect to, so that the name cannot mean another one a moment later;
        None where the policy leaves it open."""
        self.policy.check(url)
        host = urlsplit(url).hostname or ""
        if host in self.policy.allowed_hosts or self.policy.allow_private:
            return None
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, None, type=socket.SOCK_STREAM
            )
        except OSError:
            raise SoundError("the host is not known") from None
        for entry in found:
            self.policy.check_address(str(entry[4][0]))
        return str(found[0][4][0])


def _pinned(url: str, address: str | None) -> dict[str, Any]:
    """The request for `url` at `address`, still under the name of its host."""
    if address is None:
        return {"url": url}
    parts = urlsplit(url)
    host = f"[{address}]" if ":" in address else address
    target = host if parts.port is None else f"{host}:{parts.port}"
    return {
        "url": parts._replace(netloc=target).geturl(),
        "headers": {"Host": parts.netloc},
        "extensions": {"sni_hostname": parts.hostname},
    }


async def _bounded(response: object) -> bytes:
    data = bytearray()
    async for part in response.aiter_bytes():  # type: ignore[attr-defined]
        data += part
        if len(data) > MAX_BYTES:
            raise SoundError(f"larger than {MAX_BYTES} bytes")
    return bytes(data)


def _decode(data: bytes) -> Samples:
    if data[:4] == b"RIFF":
        try:
            samples, rate = read_wav(data)
        except MediaError as error:
            raise SoundError(str(error)) from None
        return resample(samples, rate, SAMPLE_RATE)
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("codecs", "playing other formats than WAV") from error
    parts: list[Samples] = []
    size = 0
    try:
        with av.open(io.BytesIO(data), "r") as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    samples = piece.to_ndarray().reshape(-1).astype(np.int16)
                    parts.append(samples)
                    size += len(samples)
                if size > MAX_SECONDS * SAMPLE_RATE:
                    raise SoundError(f"longer than {MAX_SECONDS} s")
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise SoundError(f"not a readable sound: {type(error).__name__}") from None
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
