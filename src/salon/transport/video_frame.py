"""What a viewer of live video hands over, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Picture: TypeAlias = npt.NDArray[np.uint8]
"""uint8[height, width, 3], RGB."""


@dataclass(frozen=True, slots=True)
class ViewerFrame:
    """One decoded picture.

    `data` is uint8[height, width, 3] in RGB order, contiguous and nobody else's. `timestamp_ms`
    counts from the first picture of the connection by the sender's clock.
    """

    data: Picture
    width: int
    height: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class ViewerSound:
    """A piece of decoded sound: int16[n, channels] at `rate` Hz. `timestamp_ms` counts from the
    first piece by the sender's clock."""

    samples: npt.NDArray[np.int16]
    rate: int
    timestamp_ms: int

    @property
    def channels(self) -> int:
        """How many there are."""
        return int(self.samples.shape[1])


@dataclass(frozen=True, slots=True)
class VideoStatistics:
    """Figures of the picture since the connection was made.

    Packets: `lost` never came; `recovered` came on request; `duplicates` and `late` were not
    needed any more; `rejected` could not be read. Frames: `complete` had all their packets,
    `decoded` gave a picture, `delivered` were handed over, `dropped` were decoded but a newer one
    was there first, `skipped` were lost or came while a key frame was awaited.
    """

    codec: str = ""
    packets_received: int = 0
    bytes_received: int = 0
    lost: int = 0
    recovered: int = 0
    duplicates: int = 0
    late: int = 0
    rejected: int = 0
    jitter_ms: float = 0.0
    complete: int = 0
    key_frames: int = 0
    decoded: int = 0
    delivered: int = 0
    dropped: int = 0
    skipped: int = 0
    decode_errors: int = 0
    nacks_sent: int = 0
    key_frame_requests: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class ViewerStatistics:
    """Figures of one viewer.

    `path` says who takes the packets: ``packets`` (ours), ``stock`` (aiortc's own, which costs a
    frame of delay and more CPU) or "" before the answer. `connect_ms` runs from the answer (or
    the acceptance of one) to the moment media may flow; `callback_errors` counts exceptions of
    the user's callbacks; `sound_pieces` the pieces of sound that came.
    """

    path: Literal["", "packets", "stock"] = ""
    connect_ms: float | None = None
    callback_errors: int = 0
    sound_pieces: int = 0
    video: VideoStatistics = VideoStatistics()


def milliseconds(frame: Any) -> int:
    """The time of a frame of PyAV."""
    if frame.pts is None or frame.time_base is None:
        return 0
    return int(1000 * frame.pts * frame.time_base)
