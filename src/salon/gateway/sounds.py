"""Sounds a client names by URL or path (G80), under the URL and path policy."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from weakref import WeakValueDictionary

import numpy as np

from salon.base import MissingExtraError, PolicyError, SalonError, UrlPolicy, resolve_below
from salon.gateway.sound_cache import SoundCache
from salon.media import SAMPLE_RATE, MediaError, Samples, read_wav
from salon.media.resample import Resampler
from salon.transport.addresses import resolve_checked
from salon.voice.plain_http import PLAIN, is_packed

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 32 * 1024 * 1024
MAX_SECONDS = 1800
_TOO_LONG = f"longer than {MAX_SECONDS} s"
FETCH_TIMEOUT_S = 15.0
MAX_REDIRECTS = 3
_FORMATS = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/aac": "aac",
    "audio/ac3": "ac3",
    "audio/amr": "amr",
    "audio/basic": "mulaw",
    "audio/pcmu": "mulaw",
    "audio/pcma": "alaw",
    "audio/g722": "g722",
}
"""How to read sound whose bytes may not tell what it is."""
_RAW = {"mulaw": {"sample_rate": "8000"}, "alaw": {"sample_rate": "8000"}, "g722": {}}
"""Bytes that never tell, and what is to be known of them."""
_CONTAINERS = (
    "aac,ac3,aiff,alaw,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,g722,matroska,mov,mp3,mpeg,"
    "mpegts,mulaw,ogg,tta,voc,w64,wav,wv"
)
"""What is taken apart, by the names of the library. Play lists and session descriptions are not
among them: they name other files and addresses, which no policy would have been asked about."""
_NAMED = {".mp3": "mp3", ".aac": "aac", ".ulaw": "mulaw", ".alaw": "alaw", ".g722": "g722"}


class SoundError(SalonError):
    """A sound cannot be had: not allowed, not found, too large, not readable."""

    code = "sound"


@dataclass(frozen=True, slots=True)
class SoundLoader:
    """Loads and decodes. Files only below `roots`; URLs only as `policy` allows, every redirect and
    every resolved address checked again. Size and time are bounded."""

    roots: tuple[Path, ...] = ()
    policy: UrlPolicy = field(default_factory=UrlPolicy)
    cache: SoundCache | None = None
    """Keeps what was decoded: files until they change, URLs for good (G219)."""
    _played: WeakValueDictionary[tuple[str, float], Samples] = field(
        default_factory=WeakValueDictionary, repr=False, compare=False
    )
    """What somebody plays now, by path or URL and when it was changed: one copy for all."""

    async def load(self, url: str) -> Samples:
        """The sound as ``int16[n]`` 16 kHz mono, not to be written to; raises `SoundError`."""
        try:
            return await (self._remote(url) if "://" in url else self._local(url))
        except (MissingExtraError, PolicyError) as error:
            raise SoundError(str(error)) from error

    async def _remote(self, url: str) -> Samples:
        self.policy.check(url)
        if self.cache is not None:
            if (shared := self._played.get((url, 0.0))) is not None:
                return shared
            if (found := await self.cache.get(url)) is not None:
                return self._share(url, 0.0, found)
        data, content_type = await self._fetch(url)
        samples = await self._decoded(url, data, _hint(urlsplit(url).path, content_type))
        return samples if self.cache is None else self._share(url, 0.0, samples)

    async def _local(self, name: str) -> Samples:
        path, changed = await asyncio.to_thread(self._find, name)
        if (shared := self._played.get((str(path), changed))) is not None:
            return shared
        # the path, not the name: what another server's roots hold under it is another sound
        if self.cache is not None:
            found = await self.cache.get(str(path), changed=changed)
            if found is not None:
                return self._share(str(path), changed, found)
        data = await asyncio.to_thread(_read, path)
        samples = await self._decoded(str(path), data, _hint(path.name, ""))
        return self._share(str(path), changed, samples)

    def _share(self, name: str, changed: float, samples: Samples) -> Samples:
        """For whoever plays the same while this is played."""
        samples.setflags(write=False)
        return self._played.setdefault((name, changed), samples)

    async def _decoded(self, url: str, data: bytes, hint: str | None) -> Samples:
        samples = await asyncio.to_thread(_decode, data, hint)
        if self.cache is not None and len(samples):
            await self.cache.put(url, samples)
        return samples

    def _find(self, name: str) -> tuple[Path, float]:
        """The file, and when it was changed (epoch seconds)."""
        for root in self.roots:
            try:
                path = resolve_below(root, name)
            except PolicyError:
                continue
            try:
                if path.is_file():
                    return path, path.stat().st_mtime
            except OSError as error:
                raise SoundError(f"file not readable: {error.strerror}") from None
        raise SoundError("file not found below the media folders of this server")

    async def _fetch(self, url: str) -> tuple[bytes, str]:
        """What is there, and of what content type it says it is."""
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("http", "fetching URLs") from error
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT_S),
                httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, trust_env=False) as client,
            ):
                for _ in range(MAX_REDIRECTS + 1):
                    address = await resolve_checked(self.policy, url)
                    async with client.stream(
                        "GET", follow_redirects=False, **_pinned(url, address)
                    ) as response:
                        if response.is_redirect:
                            url = urljoin(url, response.headers.get("location", ""))
                            continue
                        if response.status_code != 200:
                            raise SoundError(f"the server answered {response.status_code}")
                        return await _bounded(response), response.headers.get("content-type", "")
                raise SoundError(f"more than {MAX_REDIRECTS} redirects")
        except TimeoutError:
            raise SoundError(f"not loaded within {FETCH_TIMEOUT_S:.0f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise SoundError(f"not loaded: {type(error).__name__}") from None


def _pinned(url: str, address: str | None) -> dict[str, Any]:
    """The request for `url` at `address`, still under the name of its host."""
    if address is None:
        return {"url": url, "headers": PLAIN}
    parts = urlsplit(url)
    host = f"[{address}]" if ":" in address else address
    target = host if parts.port is None else f"{host}:{parts.port}"
    return {
        "url": parts._replace(netloc=target).geturl(),
        "headers": {"Host": parts.netloc, **PLAIN},
        "extensions": {"sni_hostname": parts.hostname},
    }


async def _bounded(response: httpx.Response) -> bytes:
    """The body as it came; `SoundError` if it is compressed for the way or too large."""
    if is_packed(response):
        raise SoundError("the server sent it compressed")
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > MAX_BYTES:
            raise SoundError(f"larger than {MAX_BYTES} bytes")
    return bytes(data)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SoundError(f"file is larger than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise SoundError(f"file not readable: {error.strerror}") from None


def _hint(name: str, content_type: str) -> str | None:
    """How to decode what its bytes do not tell: by its ending, without one by its type (G80)."""
    ending = PurePosixPath(name).suffix.lower()
    return _NAMED.get(ending) if ending else _FORMATS.get(content_type.partition(";")[0].lower())


def _decode(data: bytes, hint: str | None = None) -> Samples:
    if data[:4] == b"RIFF":
        try:
            samples, rate = read_wav(data)
        except MediaError as error:
            raise SoundError(str(error)) from None
        if len(samples) > MAX_SECONDS * rate:
            raise SoundError(_TOO_LONG)
        return _resampled(samples, rate)
    if hint in _RAW:
        return _by_container(data, hint)
    try:
        return _by_container(data, None)
    except SoundError:
        if hint is None:
            raise
    return _by_container(data, hint)


def _resampled(samples: Samples, rate: int) -> Samples:
    """At 16 kHz. A second at a time: while a whole file is worked on at once, no other thread gets
    its turn, and every call stands still."""
    if rate == SAMPLE_RATE or not len(samples):
        return samples
    worker = Resampler(rate, SAMPLE_RATE)
    delay = round(worker.delay_ms * SAMPLE_RATE / 1000)
    parts = [worker.process(samples[at : at + rate]) for at in range(0, len(samples), rate)]
    whole = np.concatenate([*parts, worker.flush()])
    return whole[delay : delay - (-len(samples) * SAMPLE_RATE // rate)]


def _by_container(data: bytes, format_name: str | None) -> Samples:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("codecs", "playing other formats than WAV") from error
    parts: list[Samples] = []
    size = 0
    options = {"format_whitelist": _CONTAINERS, **_RAW.get(format_name or "", {})}
    try:
        with av.open(io.BytesIO(data), "r", format=format_name, options=options) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    samples = piece.to_ndarray().reshape(-1).astype(np.int16)
                    parts.append(samples)
                    size += len(samples)
                if size > MAX_SECONDS * SAMPLE_RATE:
                    raise SoundError(_TOO_LONG)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise SoundError(f"not a readable sound: {type(error).__name__}") from None
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
