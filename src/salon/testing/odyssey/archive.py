"""The recordings: what is kept of streams and simulations, and the signed addresses of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from salon.testing.odyssey.exchange import Refusal
from salon.testing.odyssey.settings import StandInSettings
from salon.testing.odyssey.tokens import Signer

VIDEO: Final = "video.mp4"
EVENTS: Final = "events.jsonl"
THUMBNAIL: Final = "thumbnail.jpg"
PREVIEW: Final = "preview.mp4"
FILES: Final = {
    VIDEO: "video/mp4",
    EVENTS: "application/jsonl",
    THUMBNAIL: "image/jpeg",
    PREVIEW: "video/mp4",
}
"""The files of a recording and their media types (O91)."""


def iso(seconds: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class Kept:
    """One recording. `files` are the names that exist; times in Unix seconds."""

    stream_id: str
    owner: str
    width: int
    height: int
    started_at: float
    simulated: bool = False
    ended_at: float | None = None
    duration_s: float | None = None
    frames: int | None = None
    files: frozenset[str] = frozenset()


class Archive:
    """Recordings in the order of their making; the oldest go when there are too many."""

    def __init__(
        self, settings: StandInSettings, signer: Signer, forget: Callable[[str], None]
    ) -> None:
        self.origin = ""
        """What addresses begin with: ``http://host:port``."""
        self._settings = settings
        self._signer = signer
        self._forget = forget
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def begin(self, kept: Kept) -> None:
        """A stream starts."""
        self._kept[kept.stream_id] = kept
        while len(self._kept) > self._settings.most_kept:
            stream_id, _ = self._kept.popitem(last=False)
            self._forget(stream_id)

    def end(
        self,
        stream_id: str,
        *,
        ended_at: float,
        duration_s: float,
        frames: int,
        files: frozenset[str],
    ) -> None:
        """Its files are complete (checklist 9)."""
        kept = self._kept.get(stream_id)
        if kept is not None:
            kept.ended_at, kept.duration_s = ended_at, duration_s
            kept.frames, kept.files = frames, files

    def recording(self, stream_id: str, owner: str, now: float) -> dict[str, Any]:
        """The reply of O88; nulls while the stream runs. `Refusal` 404 if it is not there or
        somebody else's."""
        kept = self._kept.get(stream_id)
        if kept is None or kept.owner != owner:
            raise Refusal(404, "Recording not found")
        return self.described(kept, now)

    def described(self, kept: Kept, now: float) -> dict[str, Any]:
        """The fields of O88."""

        def url(name: str) -> str | None:
            return self.url(kept.stream_id, name, now) if name in kept.files else None

        return {
            "stream_id": kept.stream_id,
            "video_url": url(VIDEO),
            "events_url": url(EVENTS),
            "thumbnail_url": url(THUMBNAIL),
            "preview_url": url(PREVIEW),
            "frame_count": kept.frames,
            "duration_seconds": kept.duration_s,
        }

    def find(self, stream_id: str) -> Kept | None:
        """A recording by its id, whoever owns it."""
        return self._kept.get(stream_id)

    def listed(self, owner: str, *, limit: int, offset: int) -> dict[str, Any]:
        """The reply of O89: the owner's own streams, newest first."""
        own = [k for k in reversed(self._kept.values()) if k.owner == owner and not k.simulated]
        return {
            "recordings": [
                {
                    "stream_id": kept.stream_id,
                    "width": kept.width,
                    "height": kept.height,
                    "started_at": iso(kept.started_at),
                    "ended_at": iso(kept.ended_at),
                    "duration_seconds": kept.duration_s,
                }
                for kept in own[offset : offset + limit]
            ],
            "total": len(own),
            "limit": limit,
            "offset": offset,
        }

    def url(self, stream_id: str, name: str, now: float) -> str:
        """A signed address, valid for an hour by default."""
        expires = int(now) + self._settings.url_s
        signature = self._signer.signature(f"{stream_id}/{name}?{expires}")
        return f"{self.origin}/files/{stream_id}/{name}?expires={expires}&signature={signature}"

    def check_url(
        self, stream_id: str, name: str, expires: str, signature: str, now: float
    ) -> None:
        """`Refusal` 403 for a signature that does not fit or is over, 404 for no such file."""
        if not self._signer.signed_so(f"{stream_id}/{name}?{expires}", signature):
            raise Refusal(403, "the address is not signed")
        if int(expires) <= now:
            raise Refusal(403, "the address is no longer valid")
        kept = self._kept.get(stream_id)
        if kept is None or name not in kept.files:
            raise Refusal(404, "no such file")
