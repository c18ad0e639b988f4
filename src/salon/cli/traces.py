"""Tracebacks of a user's agent begin in the user's code."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import salon

LOGGER: Final = "salon.providers.agent"
"""Who logs that an agent's own function failed."""
_OURS: Final = str(Path(salon.__file__).parent)


class FromTheirs(logging.Filter):
    """Leaves out the frames of Salon before the first one that is not; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            record.exc_info = (kind, error, first_of_theirs(trace) or trace)
        return True


def first_of_theirs(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame outside Salon on; None if there is none."""
    while trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_OURS):
        trace = trace.tb_next
    return trace


@contextmanager
def short_traces() -> Iterator[None]:
    """The log of this process shows them so meanwhile."""
    logger, theirs = logging.getLogger(LOGGER), FromTheirs()
    logger.addFilter(theirs)
    try:
        yield
    finally:
        logger.removeFilter(theirs)
