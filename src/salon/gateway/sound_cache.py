"""Sounds that `play` has decoded, kept decoded (G219)."""

from __future__ import annotations

import hashlib

from salon.gateway.sound_files import SoundFiles
from salon.media.frame import SAMPLE_RATE, Samples


def sound_key(url: str) -> str:
    """The key of a sound by its URL or path; says nothing of it."""
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest}_{SAMPLE_RATE}_1"


class SoundCache:
    """Decoded sounds by URL or path. Whether a call may play a sound is asked before."""

    def __init__(self, files: SoundFiles) -> None:
        self.files = files

    async def get(self, url: str, *, changed: float = 0.0) -> Samples | None:
        """The sound, unless its file has `changed` (epoch seconds) since."""
        return await self.files.get(sound_key(url), newer_than=changed)

    async def put(self, url: str, samples: Samples) -> None:
        """Keep the sound."""
        await self.files.put(sound_key(url), samples)
