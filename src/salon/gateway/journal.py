"""The events file of a call: what was said to it and by it, one JSON object per line (G213, G217).

Secrets are masked; sound is left out. Lines wait up to `FLUSH_S` for the writing thread. What can't
be written is counted and told once; the call goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import to_json

from salon.base import MASK, PolicyError, resolve_below, safe_name
from salon.base.files import private_folder
from salon.gateway.commands import Command
from salon.gateway.companions import Companion
from salon.gateway.events import BinaryEvent, ErrorEvent, Event
from salon.gateway.options import CallOption
from salon.gateway.passwords import hide_passwords
from salon.gateway.shown import shown_command, shown_event
from salon.voice.recorder import RecordingWriter

if TYPE_CHECKING:
    from salon.gateway.session import Session

_log = logging.getLogger("salon.gateway.journal")

SUFFIX = ".events.jsonl"
ROOMS = "rooms"
"""Folder of the events files of calls into rooms, one folder per room within: what is kept of a
room goes when the room goes."""
FLUSH_S = 0.2
MAX_WAITING = 1024 * 1024
"""Bytes of lines that may wait for the disk, per call."""
MAX_BYTES = 64 * 1024 * 1024
"""Bytes one call may write."""
_CUT_TOLD = "the events file of this call is full, later events are not in it"

LineType = Literal["event", "command", "sip"]


def journal_path(root: Path, session_id: str, room_id: str | None = None) -> Path:
    """The events file of a call; neither id becomes a path (G213)."""
    folder = resolve_below(root, f"{ROOMS}/{safe_name(room_id)}" if room_id is not None else ".")
    return folder / f"{safe_name(session_id)}{SUFFIX}"


class Journal(Companion):
    """Writes the events file of one call. Two calls of one id share a file, line by line.

    The file is opened for each piece that is written: it may be moved or tidied away meanwhile. A
    call that may yet enter a room is written of from when that is known.
    """

    name = "dump"

    def __init__(
        self,
        session: Session,
        root: Path,
        writer: Callable[[], RecordingWriter | None],
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.path: Path | None = None
        """The file, once something was given to the disk."""
        self.lost = 0
        """Lines that did not get into the file."""
        self._session = session
        self._root = root
        self._writer = writer
        self._max_bytes = max_bytes
        self._placed = session.query.handler != "room"
        self._lines: list[bytes] = []
        self._waiting = 0
        self._bytes = 0
        self._full = False
        self._told = False
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @classmethod
    def of(
        cls, session: Session, root: Path, writer: Callable[[], RecordingWriter | None]
    ) -> tuple[Journal, ...]:
        """The journal of a call, if it is to have one (`dump`)."""
        return (cls(session, root, writer),) if session.query.dump else ()

    async def begin(self, session: Session, option: CallOption) -> None:
        """The room is known now."""
        del session, option
        self._placed = True
        self._flush()

    def command(self, command: Command) -> None:
        self._line("command", shown_command(command))

    def event(self, event: Event) -> None:
        if not isinstance(event, BinaryEvent):
            self._line("event", shown_event(event))

    def parted(self) -> None:
        """The last event is told: write the rest."""
        self._over = self._placed = True
        self._flush()
        writer = self._writer()
        if self.path is not None and writer is not None:
            path = self.path
            # behind what is queued for this file; without room for it, at once
            if not writer.submit(lambda: writer.let_go(path)):
                writer.let_go(path)

    def _line(self, kind: LineType, content: dict[str, Any]) -> None:
        if self._full or self._over:
            self.lost += 1
            return
        line = self._made(kind, content)
        if self._bytes + len(line) > self._max_bytes:
            self._cut()
            return
        if self._waiting + len(line) > MAX_WAITING and self._lines:
            self._flush()
        if self._waiting + len(line) > MAX_WAITING:
            self.lost += 1
            self._tell("the disk is too slow, some events are not in the events file")
            return
        self._keep(line)

    def _made(self, kind: LineType, content: dict[str, Any]) -> bytes:
        text = kept_text(content)
        return to_json({"type": kind, "timestamp": self._session.now_ms(), "content": text}) + b"\n"

    def _keep(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting += len(line)
        self._bytes += len(line)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def _cut(self) -> None:
        """The file is full: its last line says so, and so is the client told."""
        self._full = True
        self.lost += 1
        note = ErrorEvent(
            track_id=self._session.id,
            timestamp=self._session.now_ms(),
            sender=self.name,
            error=_CUT_TOLD,
        )
        self._keep(self._made("event", note.to_dict()))
        self._tell(_CUT_TOLD)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines or not self._placed:
            return
        writer = self._writer()
        if writer is None:
            self._lose()
            return
        path = self.path or self._place(writer)
        if path is None:
            return
        lines, data = len(self._lines), b"".join(self._lines)
        if writer.submit(lambda: self._write(writer, path, data, lines), len(data)):
            self._lines, self._waiting = [], 0
        elif self._over:
            self._lose()
        else:  # tried again with what comes until then
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def _place(self, writer: RecordingWriter) -> Path | None:
        """Decide on the file; None if the folder leads elsewhere."""
        session = self._session
        try:
            path = journal_path(self._root, session.id, session.room_id)
        except PolicyError:
            self._lose()
            self._tell("the events file is not written: its folder leads elsewhere")
            return None
        writer.hold(path)
        self.path = path
        return path

    def _lose(self) -> None:
        self.lost += len(self._lines)
        self._lines, self._waiting = [], 0

    def _write(self, writer: RecordingWriter, path: Path, data: bytes, lines: int) -> None:
        """In the writing thread."""
        try:
            append_lines(path, data)
        except OSError as error:
            self.lost += lines
            writer.failed += 1
            if not self._told:
                _log.error("events of call %s are not written: %s", self._session.id, error)
            message = f"the events file is not written: {error.strerror}"
            try:
                self._loop.call_soon_threadsafe(self._tell, message)
            except RuntimeError:
                """The loop is closed: nobody is there to be told."""

    def _tell(self, message: str) -> None:
        if not self._told and not self._over:
            self._told = True
            self._session.error(self.name, message)


def kept_text(content: dict[str, Any]) -> str:
    """JSON text of masked data as it may lie on a disk: without the passwords of SIP addresses
    too."""
    text = to_json(content, inf_nan_mode="strings").decode()
    return hide_passwords(text, f":{MASK}", json=True)


def append_lines(path: Path, data: bytes) -> None:
    """Append whole lines to a file for its owner only; all of `data` or, with `OSError`, nothing.
    A line that a crash cut is ended first. Links are not followed."""
    private_folder(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(22, "not a plain file", str(path))
        if status.st_size and os.pread(descriptor, 1, status.st_size - 1) != b"\n":
            data = b"\n" + data
        try:
            done = 0
            while done < len(data):
                done += os.write(descriptor, data[done:])
        except OSError:
            os.ftruncate(descriptor, status.st_size)
            raise
    finally:
        os.close(descriptor)
