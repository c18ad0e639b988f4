"""Keeping tool calls."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import Any

from salon.auditing.entries import ToolAuditEntry, ToolStatus, shown, status_of
from salon.auditing.journal import Journal
from salon.base import SYSTEM_CLOCK, Clock
from salon.core.kit import RoomKit
from salon.models import HookExecution, HookResult, HookTrigger, RoomContext
from salon.models.ai import ToolCallEvent

_log = logging.getLogger("salon.auditing")

MAX_KEPT = 10_000
"""Entries an auditor shows from memory; older ones are in its file only."""
_MAX_RUNNING = 1024
_SHOWN_CHARS = 100


class ToolAuditor(ABC):
    """Keeps entries. `record` is called with entries that are masked and cut already."""

    @abstractmethod
    def record(self, entry: ToolAuditEntry) -> None:
        """Keep one."""

    @property
    @abstractmethod
    def entries(self) -> list[ToolAuditEntry]:
        """What is kept in memory, oldest first."""

    @abstractmethod
    def summary(self) -> str:
        """The entries for people to read."""

    def print_summary(self) -> None:
        """Print it."""
        print(self.summary())  # noqa: T201 - that is what it is for

    async def keep(self, entry: ToolAuditEntry) -> None:
        """`record` for a coroutine; what it raises is logged."""
        try:
            self.record(entry)
        except Exception:  # noqa: BLE001 - the host's code, and the call is done
            _log.exception("the call of tool %s was not recorded", entry.tool_name)

    def attach(self, kit: RoomKit, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Keep every tool call of every agent, as its model read the outcome. Not for tools whose
        handler is wrapped already: those would be kept twice."""
        watch = _Watch(self, clock)
        name = f"tool_audit_{id(self):x}"
        kit.hook(HookTrigger.BEFORE_TOOL_USE, name=name, priority=-1000)(watch.begins)
        kit.hook(HookTrigger.ON_TOOL_CALL, HookExecution.ASYNC, name=name)(watch.ended)


class _Watch:
    """Hooks that time calls; one whose end is never told is forgotten."""

    def __init__(self, auditor: ToolAuditor, clock: Clock) -> None:
        self._auditor = auditor
        self._clock = clock
        self._began: OrderedDict[tuple[str | None, str, str], float] = OrderedDict()

    async def begins(self, event: ToolCallEvent, context: RoomContext) -> HookResult:
        self._began[_key(event)] = self._clock.monotonic()
        while len(self._began) > _MAX_RUNNING:
            self._began.popitem(last=False)
        return HookResult.allow()

    async def ended(self, event: ToolCallEvent, context: RoomContext) -> None:
        now = self._clock.monotonic()
        metadata: dict[str, Any] = {"room_id": event.room_id, "tool_call_id": event.tool_call_id}
        if event.refused:
            metadata["refused"] = True
        entry = ToolAuditEntry(
            ts=self._clock.now().isoformat(),
            agent_id=event.channel_id,
            tool_name=event.name,
            arguments=dict(event.arguments),
            result=shown(event.result),
            status=ToolStatus.ERROR if event.is_error else status_of(event.result),
            duration_ms=(now - self._began.pop(_key(event), now)) * 1000,
            metadata=metadata,
        )
        await self._auditor.keep(entry.masked())


def _key(event: ToolCallEvent) -> tuple[str | None, str, str]:
    return event.room_id, event.channel_id, event.tool_call_id


class _Remembering(ToolAuditor):
    """Shows the newest entries from memory."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._entries: deque[ToolAuditEntry] = deque(maxlen=MAX_KEPT)
        self.forgotten = 0
        """Entries no longer shown."""

    def _remember(self, entry: ToolAuditEntry) -> None:
        self.forgotten += len(self._entries) == MAX_KEPT
        self._entries.append(entry)

    @property
    def entries(self) -> list[ToolAuditEntry]:
        return list(self._entries)

    def summary(self) -> str:
        lines = [self._title]
        for number, entry in enumerate(self._entries, 1):
            call = f"{number:>4}. {entry.status:<6} {entry.tool_name} {entry.duration_ms:.0f} ms"
            lines += [call, f"      {_short(entry.result)}"]
        used = Counter(entry.tool_name for entry in self._entries)
        took = sum(entry.duration_ms for entry in self._entries)
        lines.append(f"{len(self._entries)} calls, {took:.0f} ms")
        if used:
            lines.append(", ".join(f"{name} {count}" for name, count in sorted(used.items())))
        return "\n".join(lines)


class JSONLToolAuditor(_Remembering):
    """Appends to a file of JSON Lines. In coroutines the file is written by a thread."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(f"Tool calls ({path})")
        self.journal = Journal(path)

    def record(self, entry: ToolAuditEntry) -> None:
        entry = entry.masked()
        self._remember(entry)
        self.journal.append(entry)

    async def keep(self, entry: ToolAuditEntry) -> None:
        entry = entry.masked()
        self._remember(entry)
        await asyncio.to_thread(self.journal.append, entry)


class ConsoleToolAuditor(_Remembering):
    """One line per call at `level` of ``salon.auditing``."""

    def __init__(self, *, level: int = logging.INFO) -> None:
        super().__init__("Tool calls")
        self._level = level

    def record(self, entry: ToolAuditEntry) -> None:
        entry = entry.masked()
        self._remember(entry)
        _log.log(
            self._level,
            "%s called %s: %s, %.0f ms, %s",
            entry.agent_id,
            entry.tool_name,
            entry.status,
            entry.duration_ms,
            _short(entry.result),
        )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
