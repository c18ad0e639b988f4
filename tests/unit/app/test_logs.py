"""Logging: console, JSON, the daily file; no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import os
import queue
import weakref
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest

from salon.app.logs import (
    ConsoleFormatter,
    DroppingQueueHandler,
    JsonFormatter,
    Redactor,
    configure,
)

SECRET = "hunter2-hunter2-hunter2"
_log = logging.getLogger("salon.test")


def test_the_console_shows_one_readable_line_with_the_extra_fields() -> None:
    stream = io.StringIO()
    logs = configure(stream=stream)
    _log.info("call %s began", "c1", extra={"room": "kitchen"})
    _log.debug("not shown")
    logs.close()
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("INFO    salon.test: call c1 began room=kitchen")


def test_json_is_one_object_a_line_with_the_traceback() -> None:
    stream = io.StringIO()
    logs = configure(style="json", level="debug", stream=stream)
    try:
        raise ValueError("broken\nbadly")
    except ValueError:
        _log.exception("call failed", extra={"call": "c1", "where": Path("x")})
    logs.close()
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == (
        "error",
        "salon.test",
        "call failed",
    )
    assert (entry["call"], entry["where"]) == ("c1", "x")
    assert "ValueError: broken\nbadly" in entry["exception"]
    assert entry["time"].endswith("+00:00")


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_secret_reaches_the_console_or_the_file(tmp_path: Path, style: str) -> None:
    stream = io.StringIO()
    logs = configure(style=style, folder=tmp_path, secrets=[SECRET, ""], stream=stream)
    _log.warning("by value %s", SECRET)
    _log.warning("by shape sk-abcdefghijklmnop and ?token=abc")
    _log.warning("by name", extra={"api_key": "plain-words"})
    logs.close()
    for text in (stream.getvalue(), (tmp_path / "salon.log").read_text()):
        assert len(text.splitlines()) == 3
        assert text.count("***") >= 4
        for secret in (SECRET, "abcdefghijklmnop", "token=abc", "plain-words"):
            assert secret not in text


def test_too_short_secrets_do_not_blank_every_line() -> None:
    assert Redactor(["a", "", "abc"])("a abc abcd") == "a abc abcd"
    assert Redactor(["abcd", "abcdefg"])("abcdefg abcd") == "*** ***"


def test_the_log_folder_is_for_the_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        logs = configure(folder=tmp_path / "data" / "logs", stream=io.StringIO())
    finally:
        os.umask(before)
    logs.close()
    for folder in (tmp_path / "data", tmp_path / "data" / "logs"):
        assert S_IMODE(folder.stat().st_mode) == 0o700


def test_the_file_holds_json_whatever_the_console_shows(tmp_path: Path) -> None:
    logs = configure(folder=tmp_path, stream=io.StringIO())
    _log.info("hello", extra={"n": 1})
    logs.close()
    (line,) = (tmp_path / "salon.log").read_text().splitlines()
    assert json.loads(line)["n"] == 1


def test_a_folder_that_cannot_be_written_costs_the_file_not_the_server(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the way")
    stream = io.StringIO()
    logs = configure(folder=tmp_path / "logs", stream=stream)
    _log.info("goes on")
    logs.close()
    assert "no log file" in stream.getvalue()
    assert "goes on" in stream.getvalue()


def test_close_leaves_logging_as_it_was(tmp_path: Path) -> None:
    loggers = [logging.getLogger(name) for name in (None, "httpx", "aioice")]

    def state() -> list[object]:
        return [logging.getLogger().handlers[:], *(logger.level for logger in loggers)]

    before = state()
    logs = configure(level="debug", folder=tmp_path, stream=io.StringIO())
    assert all(now != then for now, then in zip(state(), before, strict=True))
    logs.close()
    logs.close()
    assert state() == before


def test_a_file_that_is_too_slow_loses_records_and_counts_them() -> None:
    waiting: queue.Queue[Any] = queue.Queue(1)
    handler = DroppingQueueHandler(waiting)
    for number in range(3):
        handler.handle(logging.makeLogRecord({"msg": f"m{number}"}))
    assert (waiting.qsize(), handler.dropped) == (1, 2)


def test_noisy_libraries_are_quiet_unless_they_warn() -> None:
    logs = configure(level="debug", stream=io.StringIO())
    assert logging.getLogger("httpx").level == logging.WARNING
    logs.close()
    logs = configure(level="error", stream=io.StringIO())
    assert logging.getLogger("httpx").level == logging.ERROR
    logs.close()


def test_what_only_lived_for_a_moment_is_left_out() -> None:
    """Libraries log themselves by weak references, which raise whatever is asked of them later."""

    class Connection:
        """Something that is gone."""

    record = logging.makeLogRecord(
        {"msg": "closed", "name": "n", "levelname": "INFO", "who": weakref.proxy(Connection())}
    )
    assert ConsoleFormatter(Redactor()).format(record).endswith("n: closed")
    assert "who" not in json.loads(JsonFormatter(Redactor()).format(record))


def test_records_without_extra_have_none() -> None:
    record = logging.makeLogRecord({"msg": "plain", "name": "n", "levelname": "INFO"})
    assert ConsoleFormatter(Redactor()).format(record).endswith("n: plain")
    assert set(json.loads(JsonFormatter(Redactor()).format(record))) == {
        "time", "level", "logger", "message",
    }  # fmt: skip
