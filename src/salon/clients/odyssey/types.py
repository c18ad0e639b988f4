"""The facts a client hands out (O79, O88-O102). All frozen; `from_dict` reads the JSON of the
service and ignores what it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from salon.clients.odyssey.errors import InvalidReplyError
from salon.clients.odyssey.fields import mapping, plain, rows, text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PORTRAIT: Final = (704, 1280)
"""Width and height of an upright stream, pixels (O61)."""
LANDSCAPE: Final = (1280, 704)
"""Width and height of a lying stream, pixels (O61)."""


class ConnectionStatus(StrEnum):
    """Where a client stands (section 9)."""

    AUTHENTICATING = "authenticating"
    CONNECTING = "connecting"
    RECONNECTING = "reconnecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One picture (O99). `data` is uint8[height, width, 3], RGB; `timestamp_ms` begins near 0 with
    the first picture received and is 0 if unknown. Two frames are equal only if they are one."""

    data: NDArray[np.uint8]
    width: int
    height: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class AudioFrame:
    """Sound of a stream that has some. `data` is int16[n, channels]; `rate` in Hz; `timestamp_ms`
    on the time line of the sound, 0 at its first sample."""

    data: NDArray[np.int16]
    rate: int
    timestamp_ms: int

    @property
    def channels(self) -> int:
        """1 or 2."""
        return int(self.data.shape[1])

    @property
    def duration_ms(self) -> float:
        """How long it sounds."""
        return 1000 * int(self.data.shape[0]) / self.rate


@dataclass(frozen=True, slots=True)
class BroadcastInfo:
    """Where others can watch (O79). `hls_url` is None without HLS; repr leaves the token out."""

    hls_url: str | None
    webrtc_url: str
    spectator_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamerCapabilities:
    """What the streamer of a session can do (O20, O102). `stated` is False where the service said
    nothing that can be read: it counts as false then, but only the streamer knows."""

    image_to_video: bool = False
    stated: bool = field(default=True, compare=False, repr=False, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"image_to_video": self.image_to_video}

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON. What is no object, and what is not true or false, counts as false."""
        said = payload.get("image_to_video") if isinstance(payload, Mapping) else None
        return cls(image_to_video=said is True, stated=isinstance(said, bool))


@dataclass(frozen=True, slots=True)
class Recording:
    """The files of one stream (O88). The URLs are good for about an hour, for whoever has them."""

    stream_id: str
    video_url: str | None = field(default=None, repr=False)
    events_url: str | None = field(default=None, repr=False)
    thumbnail_url: str | None = field(default=None, repr=False)
    preview_url: str | None = field(default=None, repr=False)
    frame_count: int | None = None
    duration_seconds: float | None = None

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON; `KeyError` without `stream_id`."""
        return cls(**plain(cls, mapping(payload, "a recording")))


@dataclass(frozen=True, slots=True)
class StreamRecordingInfo:
    """A stream in the list of recordings (O89). Times are ISO 8601; the end and the duration are
    None while it runs."""

    stream_id: str
    width: int
    height: int
    started_at: str
    ended_at: str | None = None
    duration_seconds: float | None = None

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON; `KeyError` without `stream_id`, `width`, `height` or `started_at`."""
        return cls(**plain(cls, mapping(payload, "a recording")))


@dataclass(frozen=True, slots=True)
class StreamRecordingsList:
    """One page of the caller's streams, newest first (O89)."""

    recordings: list[StreamRecordingInfo]
    total: int
    limit: int
    offset: int

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON; `KeyError` without any of the four."""
        found = mapping(payload, "the list of recordings")
        listed = [StreamRecordingInfo.from_dict(row) for row in rows(found, "recordings")]
        return cls(listed, **plain(cls, found))


class SimulationJobStatus(StrEnum):
    """Where a simulation stands (O98)."""

    PENDING = "pending"
    DISPATCHED = "dispatched"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self in {self.PENDING, self.DISPATCHED, self.PROCESSING}


@dataclass(frozen=True, slots=True)
class SimulationStream:
    """What one script of a simulation became (O95)."""

    stream_id: str
    video_url: str | None = field(default=None, repr=False)
    events_url: str | None = field(default=None, repr=False)
    thumbnail_url: str | None = field(default=None, repr=False)
    preview_url: str | None = field(default=None, repr=False)
    frame_count: int | None = None
    duration_seconds: float | None = None
    script_index: int = 0

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON; `KeyError` without `stream_id`."""
        return cls(**plain(cls, mapping(payload, "a stream of a simulation")))


@dataclass(frozen=True, slots=True)
class SimulationJobInfo:
    """A simulation in a list, or one that was cancelled (O96, O97). Times are ISO 8601."""

    job_id: str
    status: SimulationJobStatus
    priority: str
    created_at: str
    completed_at: str | None = None
    error_message: str | None = None

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON; `KeyError` without `job_id`, `status`, `priority` or `created_at`,
        `ValueError` for a status that is none of `SimulationJobStatus`."""
        found = mapping(payload, "a simulation")
        return cls(status=_status(found), **plain(cls, found))


@dataclass(frozen=True, slots=True)
class SimulationJobDetail:
    """A simulation with all that is known of it (O94, O95); `streams` is empty until it renders."""

    job_id: str
    status: SimulationJobStatus
    priority: str
    created_at: str
    dispatched_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    error_message: str | None = None
    assigned_region: str | None = None
    retry_count: int = 0
    estimated_wait_minutes: float | None = None
    streams: list[SimulationStream] = field(default_factory=list)

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON; errors as in `SimulationJobInfo`."""
        found = mapping(payload, "a simulation")
        streams = rows(found, "streams") if found.get("streams") is not None else []
        made = [SimulationStream.from_dict(row) for row in streams]
        return cls(status=_status(found), streams=made, **plain(cls, found))


@dataclass(frozen=True, slots=True)
class SimulationJobsList:
    """One page of the caller's simulations (O96)."""

    jobs: list[SimulationJobInfo]
    total: int
    limit: int
    offset: int

    @classmethod
    def from_dict(cls, payload: object) -> Self:
        """From JSON; `KeyError` without any of the four."""
        found = mapping(payload, "the list of simulations")
        listed = [SimulationJobInfo.from_dict(row) for row in rows(found, "jobs")]
        return cls(listed, **plain(cls, found))


def _status(found: Mapping[str, Any]) -> SimulationJobStatus:
    named = text(found, "status")
    try:
        return SimulationJobStatus(named)
    except ValueError:
        raise InvalidReplyError(f"unknown status of a simulation: {named!r}") from None
