"""Figures of a client."""

from __future__ import annotations

from dataclasses import dataclass

from salon.transport.video_frame import ViewerStatistics


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What became of pictures and messages.

    `frames` came to the program; `frames_dropped` were decoded but overtaken by a newer one, in the
    decoder or while a coroutine had the one before (D8). `callbacks_dropped` coroutines were not
    run because too many waited. `late_answers` came for calls that had been given up; `ignored`
    messages were of no known type. `viewer` is None while there is no peer connection.
    """

    frames: int
    frames_dropped: int
    callbacks_dropped: int
    late_answers: int
    ignored: int
    viewer: ViewerStatistics | None
