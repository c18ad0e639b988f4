"""How long recordings are kept (V209): a note beside each that has an end, and the purge."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from salon.voice.pipeline.recorder.base import RecordingEncryption
from salon.voice.pipeline.recorder.encryption import SUFFIX, create_private

_log = logging.getLogger("salon.voice.recorder")

NOTE_SUFFIX: Final = ".retention.json"
_PLAIN_SUFFIXES: Final = (".wav", ".ogg")


def write_note(
    stem: Path, recording_id: str, files: Iterable[Path], started_at: datetime, days: int
) -> Path:
    """Note that the recording expires `days` after it began. `OSError`."""
    note = Path(f"{stem}{NOTE_SUFFIX}")
    part = Path(f"{note}.part")
    with create_private(part) as out:
        content = {
            "recording_id": recording_id,
            "expires_at": (started_at + timedelta(days=days)).isoformat(),
            "files": sorted(path.name for path in files),
        }
        out.write(json.dumps(content).encode())
    part.replace(note)
    return note


def purge_expired(directory: str | Path, now: datetime | None = None) -> list[Path]:
    """Delete what has expired in `directory` and below; returns the files that went.

    Blocks on the file system. A recording without an end, and what lies elsewhere (a storage
    that published it), stays. A note that can't be read is logged and left.
    """
    at = datetime.now(UTC) if now is None else now
    gone: list[Path] = []
    for note in sorted(Path(directory).rglob(f"*{NOTE_SUFFIX}")):
        try:
            content = json.loads(note.read_text("utf-8"))
            if datetime.fromisoformat(content["expires_at"]) > at:
                continue
            for name in content["files"]:
                gone += _remove(note.parent, str(name))
            note.unlink()
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.error("recording note %s can't be followed: %s", note, error)
    return gone


def _remove(folder: Path, name: str) -> list[Path]:
    """Delete a file of `folder` in its plain and its encrypted form."""
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain file name")
    plain = name.removesuffix(SUFFIX)
    found = [
        path
        for path in (folder / plain, folder / (plain + SUFFIX), folder / name)
        if path.is_file()
    ]
    removed = list(dict.fromkeys(found))
    for path in removed:
        path.unlink()
    return removed


def encrypt_leftovers(directory: str | Path, encryption: RecordingEncryption) -> list[Path]:
    """Encrypt the plain recordings that a crash left in `directory` and below.

    Call it before any recording starts there, as it can't tell one that runs. Returns the new
    files; one that fails is logged and left. Blocks on the file system.
    """
    made: list[Path] = []
    for path in sorted(Path(directory).rglob("*")):
        if path.suffix in _PLAIN_SUFFIXES and path.is_file():
            try:
                made.append(Path(encryption.encrypt_file(str(path))))
            except OSError as error:
                _log.error("recording %s could not be encrypted: %s", path, error)
    return made
