"""Logging: readable or JSON on the console, a daily file kept 7 days, no secret in either."""

from __future__ import annotations

import json
import logging
import queue
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, TimedRotatingFileHandler
from pathlib import Path
from typing import Any, TextIO
from weakref import ProxyTypes

from salon.base import MASK, redact, redact_text
from salon.base.files import private_folder

KEEP_DAYS = 7
_WAITING = 10_000
_NOISY = ("httpx", "httpcore", "alembic", "watchfiles", "aioice", "aiortc", "libav")
"""Libraries that tell more than anybody wants to read: only their warnings are kept."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class Redactor:
    """Masks credentials by their shape and the given secrets by their value."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(sorted((s for s in secrets if len(s) >= 4), key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return redact_text(text)


class ConsoleFormatter(logging.Formatter):
    """One readable line; fields given as ``extra`` stand behind it."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        fields = extra_of(record)
        tail = "".join(f" {key}={value}" for key, value in fields.items())
        return self._redactor(super().format(record) + tail)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the extra fields, the traceback."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extra_of(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return self._redactor(json.dumps(entry, ensure_ascii=False, default=str))


def extra_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave as ``extra``, secrets masked by their names."""
    found = {
        key: value
        for key, value in vars(record).items()
        if key not in _STANDARD and not isinstance(value, ProxyTypes)  # they may be dead by now
    }
    return redact(found) if found else {}


class DroppingQueueHandler(QueueHandler):
    """Hands records to the file's thread; when that can't keep up they are dropped and counted."""

    def __init__(self, waiting: queue.Queue[Any]) -> None:
        super().__init__(waiting)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class Logs:
    """What `configure` set up; `close` takes it down and leaves logging as it was."""

    def __init__(
        self,
        handlers: list[logging.Handler],
        listener: QueueListener | None,
        levels: dict[logging.Logger, int],
    ) -> None:
        self._handlers = handlers
        self._listener = listener
        self._levels = levels
        """What the loggers' levels were before."""

    def close(self) -> None:
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        for logger, level in self._levels.items():
            logger.setLevel(level)
        self._levels = {}
        if self._listener is not None:
            self._listener.stop()
            for handler in self._listener.handlers:
                handler.close()
            self._listener = None


def configure(
    *,
    level: str = "info",
    style: str = "console",
    folder: Path | None = None,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> Logs:
    """Send all logging to `stream` (standard error) and, with `folder`, to a daily file there.

    A folder that can't be written to costs the file, not the server: a warning says so.
    """
    redactor = Redactor(secrets)
    formatter = JsonFormatter(redactor) if style == "json" else ConsoleFormatter(redactor)
    console = logging.StreamHandler(stream or sys.stderr)
    console.setFormatter(formatter)
    handlers: list[logging.Handler] = [console]
    listener = None
    problem = None
    if folder is not None:
        try:
            file = _daily_file(folder, redactor)
        except OSError as error:
            problem = error
        else:
            to_file = DroppingQueueHandler(queue.Queue(_WAITING))
            listener = QueueListener(to_file.queue, file)
            listener.start()
            handlers.append(to_file)
    root = logging.getLogger()
    noisy = [logging.getLogger(name) for name in _NOISY]
    levels = {logger: logger.level for logger in (root, *noisy)}
    root.setLevel(level.upper())
    for handler in handlers:
        root.addHandler(handler)
    for logger in noisy:
        logger.setLevel(max(logging.WARNING, root.level))
    if problem is not None:
        logging.getLogger("salon.app").warning("no log file: %s", problem)
    return Logs(handlers, listener, levels)


def _daily_file(folder: Path, redactor: Redactor) -> logging.Handler:
    private_folder(folder)
    file = TimedRotatingFileHandler(
        folder / "salon.log", when="midnight", backupCount=KEEP_DAYS, encoding="utf-8", delay=False
    )
    file.setFormatter(JsonFormatter(redactor))
    return file
