"""How long files of calls are kept: so many days, so many bytes, per kind."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from salon.base import SYSTEM_CLOCK, Clock, TaskScope

_log = logging.getLogger("salon.app.retention")

PERIOD_S: Final = 3600.0
DAY_S: Final = 86_400.0
YOUNG_S: Final = 60.0
"""What was written so recently is left alone, whatever the limit."""
EMPTY_S: Final = 3600.0
"""How long a folder is left alone after it became empty."""


@dataclass(frozen=True, slots=True)
class KeepRule:
    """For the files of one kind: those below `folders` whose name matches `pattern`. 0 days or
    bytes is no limit."""

    kind: str
    folders: tuple[Path, ...]
    pattern: str
    days: float = 0.0
    max_bytes: int = 0

    @property
    def active(self) -> bool:
        """It limits anything."""
        return self.days > 0 or self.max_bytes > 0


@dataclass(slots=True)
class Swept:
    """What went, by kind."""

    files: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    failed: int = 0

    def note(self, kind: str, size: int) -> None:
        """One file went."""
        self.files[kind] = self.files.get(kind, 0) + 1
        self.bytes[kind] = self.bytes.get(kind, 0) + size


class Retention:
    """Tidies away by `rules`, at start and then hourly. Files in `in_use` are never touched, links
    neither followed nor removed. A file that can't be deleted is counted and tried again."""

    def __init__(
        self,
        rules: Sequence[KeepRule],
        *,
        in_use: Callable[[], Collection[Path]] = frozenset,
        clock: Clock = SYSTEM_CLOCK,
        period: float = PERIOD_S,
    ) -> None:
        self.total = Swept()
        self._rules = tuple(rule for rule in rules if rule.active)
        self._in_use = in_use
        self._clock = clock
        self._period = period
        self._scope = TaskScope("retention")

    async def start(self) -> None:
        """Begin, if there is any rule."""
        if self._rules:
            self._scope.spawn(self._run(), name="sweep")

    async def close(self) -> None:
        """Stop; a sweep that runs ends by itself."""
        await self._scope.close()

    async def _run(self) -> None:
        while True:
            try:
                swept = await asyncio.to_thread(self.sweep)
            except Exception:  # noqa: BLE001 - the task's outer edge; the next hour may do better
                _log.exception("files were not tidied away")
            else:
                for kind, count in swept.files.items():
                    _log.info("%d %s deleted, %d bytes", count, kind, swept.bytes[kind])
            await self._clock.sleep(self._period)

    def sweep(self) -> Swept:
        """Delete what is due. Blocking."""
        swept = Swept()
        for rule in self._rules:
            self._apply(rule, swept)
        for kind, size in swept.bytes.items():
            self.total.files[kind] = self.total.files.get(kind, 0) + swept.files[kind]
            self.total.bytes[kind] = self.total.bytes.get(kind, 0) + size
        self.total.failed += swept.failed
        return swept

    def _apply(self, rule: KeepRule, swept: Swept) -> None:
        now = self._clock.time()
        files = sorted(_files(rule))
        total = sum(size for _, size, _ in files)
        for at, size, path in files:
            too_old = rule.days > 0 and now - at > rule.days * DAY_S
            too_much = rule.max_bytes > 0 and total > rule.max_bytes
            if not too_old and not too_much:
                break  # the oldest come first: nothing after it is due
            if now - at < YOUNG_S or path in self._in_use():
                continue
            if self._delete(path, swept):
                swept.note(rule.kind, size)
                total -= size
        for folder in rule.folders:
            _tidy(folder, now)

    def _delete(self, path: Path, swept: Swept) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            swept.failed += 1
            _log.warning("%s was not deleted: %s", path, error.strerror)
            return False
        return True


def _files(rule: KeepRule) -> Iterator[tuple[float, int, Path]]:
    """When written last, size and path."""
    seen: set[Path] = set()
    for root in rule.folders:
        base = root.resolve()
        for folder, _, names in os.walk(base):
            for name in names:
                path = Path(folder) / name
                if path in seen or not fnmatch(name, rule.pattern):
                    continue
                seen.add(path)
                with suppress(OSError):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        yield status.st_mtime, status.st_size, path


def _tidy(root: Path, now: float) -> None:
    """Remove folders that have been empty for a while; `root` itself stays."""
    base = root.resolve()
    for folder, _, _ in os.walk(base, topdown=False):
        path = Path(folder)
        with suppress(OSError):
            if path != base and now - path.stat().st_mtime > EMPTY_S:
                path.rmdir()  # refuses what is not empty
