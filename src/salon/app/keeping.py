"""What a deleted room must not leave behind on disk."""

from __future__ import annotations

import logging
import shutil

from salon.app.recordings import Recordings
from salon.base import PolicyError

_log = logging.getLogger("salon.app")


def forget_recordings(recordings: Recordings, room_id: str) -> None:
    """Delete the recordings of a room: whoever makes a room of the same id later would hear them.
    Blocking; what can't be deleted is logged."""
    try:
        folder = recordings.folder(room_id)
    except PolicyError:
        return
    if folder.is_dir():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            _log.warning("recordings of room %s were not deleted: %s", room_id, error)
