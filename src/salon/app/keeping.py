"""What a deleted room must not leave behind on disk."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from salon.app.recordings import Recordings
from salon.base import PolicyError
from salon.gateway.journal import journal_path

_log = logging.getLogger("salon.app")


def forget_recordings(recordings: Recordings, room_id: str) -> None:
    """Delete the recordings of a room: whoever makes a room of the same id later would hear them.
    Blocking; what can't be deleted is logged."""
    try:
        folder = recordings.folder(room_id)
    except PolicyError:
        return
    _delete(folder, "recordings", room_id)


def forget_events(root: Path, room_id: str) -> None:
    """Delete the events files of the calls into a room, below the folder `root` of all events
    files: they hold what was said there. Blocking; what can't be deleted is logged."""
    try:
        folder = journal_path(root, "any", room_id).parent
    except PolicyError:
        return
    _delete(folder, "events files", room_id)


def _delete(folder: Path, what: str, room_id: str) -> None:
    if folder.is_dir():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            _log.warning("%s of room %s were not deleted: %s", what, room_id, error)
