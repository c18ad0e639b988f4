"""Call records that were put aside, sent again until they are taken."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from salon.app.call_record_sinks import RecordSink, SinkError
from salon.base import SYSTEM_CLOCK, Clock
from salon.gateway.call_record import EndedCall

_log = logging.getLogger("salon.app.call_records")

LEAST_S: Final = 60.0
"""Between two rounds, while everything is taken."""
MOST_S: Final = 3600.0
"""Each round that fails doubles the wait up to this."""
ROUND: Final = 100
"""Records of one round, the oldest first."""
MOST_REFUSED: Final = 10_000


class Resender:
    """Hands the records that lie in the folder `spool` to `sink`, at start and then round by round;
    what was taken is deleted there, so each arrives at least once.

    A round ends with the first record that may be taken another time (the goal is not there now);
    one that is refused for good, or cannot be read, stays and is tried again after the next start.
    Files that a record names go along if they lie below one of `files`.
    """

    def __init__(
        self,
        sink: RecordSink,
        spool: Path,
        *,
        files: Sequence[Path] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.resent = 0
        """Records that were taken after all."""
        self._sink = sink
        self._spool = spool
        self._files = tuple(files)
        self._clock = clock
        self._refused: set[Path] = set()

    async def run(self) -> None:
        """Never returns; to be cancelled. What a record was doing meanwhile stays put aside."""
        wait = LEAST_S
        while True:
            try:
                taken = await self.round()
            except Exception:  # noqa: BLE001 - the task's outer edge; the next round may do better
                _log.exception("call records were not sent again")
                taken = False
            wait = LEAST_S if taken else min(2 * wait, MOST_S)
            await self._clock.sleep(wait)

    async def round(self) -> bool:
        """Once over the folder; False if the goal does not take anything now."""
        for path in await asyncio.to_thread(self._waiting):
            call = await asyncio.to_thread(self._read, path)
            if call is None:
                continue
            try:
                await self._sink.put(call)
            except SinkError as error:
                if error.retryable:
                    _log.info("record of call %s, again: %s", call.id, error)
                    return False
                _log.warning("record of call %s stays in %s: %s", call.id, path, error)
                self._refuse(path)
            except Exception:  # noqa: BLE001 - sinks are plugged in; the records after it go on
                _log.exception("the sink of call records failed at %s", path)
                self._refuse(path)
            else:
                self.resent += 1
                await asyncio.to_thread(self._forget, path)
        return True

    def _waiting(self) -> list[Path]:
        found = sorted(self._spool.rglob("*.json")) if self._spool.is_dir() else []
        return [path for path in found if path not in self._refused][:ROUND]

    def _read(self, path: Path) -> EndedCall | None:
        try:
            text = path.read_bytes()
            if not text:
                return None  # it is being written
            record = json.loads(text)
            call = self._call(record, path.stat().st_mtime)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning("%s is no call record that could be sent: %s", path, error)
            self._refuse(path)
            return None
        return call

    def _call(self, record: Any, written: float) -> EndedCall:
        """The call of a record; `ValueError`, `TypeError` and `KeyError` if it is none."""
        if not isinstance(record, dict):
            raise TypeError("not an object")
        started = record.get("startTime")
        media = [(track["trackId"], Path(track["path"])) for track in record.get("recorder") or ()]
        events = record.get("dumpEventFile")
        return EndedCall(
            id=str(record["callId"]),
            started_at=datetime.fromisoformat(started).timestamp() if started else written,
            record=record,
            media=tuple((name, path) for name, path in media if self._ours(path)),
            events=Path(events) if events and self._ours(Path(events)) else None,
        )

    def _ours(self, path: Path) -> bool:
        """Whether it lies where files of calls lie; what a record says is not enough."""
        whole = path.resolve()
        return any(whole.is_relative_to(folder.resolve()) for folder in self._files)

    def _forget(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%s was sent but not deleted: %s", path, error.strerror)
            self._refuse(path)
            return
        if path.parent != self._spool:
            with suppress(OSError):
                path.parent.rmdir()  # refuses what is not empty

    def _refuse(self, path: Path) -> None:
        if len(self._refused) >= MOST_REFUSED:
            self._refused.clear()  # they are tried once more
        self._refused.add(path)
