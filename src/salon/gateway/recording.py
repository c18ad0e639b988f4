"""Recordings that calls ask for by their `recorder` option (G66, G214, G270).

What a client names is only ever a WAV file below the folders meant for it, and never one that is
there already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from salon.base import PolicyError, SalonError, resolve_below, safe_name
from salon.base.files import private_folder
from salon.gateway.options import CallOption, RecorderOption
from salon.media.frame import SAMPLE_RATE
from salon.voice.recorder import PTIME_MS, RecordingWriter, StereoRecorder, reserve

if TYPE_CHECKING:
    from salon.gateway.session import Session

_log = logging.getLogger("salon.gateway.recording")

SUFFIX = ".wav"
RATES = (8_000, SAMPLE_RATE)
"""Rates of the file that may be asked for; any other means the second one (G270)."""
FORMATS = frozenset({"wav", "pcm", "pcmu", "pcma", "g722"})
"""Names of formats that are understood; the file is 16-bit PCM in WAV for all of them (G66)."""
SENDER = "recorder"
_MAX_NAME = 512


class RecordingError(SalonError):
    """A call can't be recorded as it asked; the text goes to the client."""

    code = "recording"


def recording_path(roots: Sequence[Path], session_id: str, option: RecorderOption) -> Path:
    """Where a recording goes (G214): relative names below the first of `roots`, absolute ones below
    any of them. Links are followed. Raises `RecordingError`."""
    name = option.recorder_file.replace("{id}", safe_name(session_id)) or safe_name(session_id)
    if len(name) > _MAX_NAME or not name.isprintable():
        raise RecordingError("the name of the recording is too long or has control characters")
    if "\\" in name or name.endswith("/") or ".." in PurePosixPath(name).parts:
        raise RecordingError("the name of the recording is no plain path")
    if name.rpartition("/")[2].startswith("."):
        raise RecordingError("the name of the recording begins with a dot")
    if not name.lower().endswith(SUFFIX):
        name += SUFFIX
    allowed = roots if name.startswith("/") else roots[:1]
    for root in allowed:
        try:
            return resolve_below(root, name)
        except PolicyError:
            continue
    raise RecordingError("recordings are kept below the recording folder of this server only")


class CallRecordings:
    """Makes recorders for calls. `roots`: the recording folder first, then further folders that
    absolute names may lead to. `writer` gives the process's writing thread, None while there is
    none."""

    def __init__(self, roots: Sequence[Path], writer: Callable[[], RecordingWriter | None]) -> None:
        self._roots = tuple(roots)
        self._writer = writer
        self.failed = 0
        """Recordings that could not be begun."""

    def recorder_for(self, session: Session, option: CallOption) -> StereoRecorder | None:
        """The recorder the call asked for; None if it asked for none or nothing is written now.
        `RecordingError` if it can't be had."""
        asked, writer = option.recorder, self._writer()
        if asked is None or writer is None:
            return None
        try:
            return self._begin(session, asked, writer)
        except RecordingError:
            self.failed += 1
            raise
        except OSError as error:
            self.failed += 1
            _log.error("call %s is not recorded: %s", session.id, error)
            raise RecordingError(f"the call is not recorded: {error.strerror}") from None

    def _begin(
        self, session: Session, asked: RecorderOption, writer: RecordingWriter
    ) -> StereoRecorder:
        path = recording_path(self._roots, session.id, asked)
        private_folder(path.parent)
        return StereoRecorder(
            reserve(path),
            writer,
            rate=rate_of(asked),
            ptime_ms=asked.ptime or PTIME_MS,
            on_trouble=partial(session.error, SENDER),
        )


def rate_of(option: RecorderOption | None) -> int:
    """The rate of the file that an option asks for (G270)."""
    return option.samplerate if option is not None and option.samplerate in RATES else RATES[-1]
