"""Keeping what happens in a session."""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections import Counter, deque
from pathlib import Path
from typing import Any

from salon.auditing.entries import SessionAuditEntry, SessionEntryType, ToolAuditEntry
from salon.auditing.journal import Journal
from salon.auditing.tools import MAX_KEPT, ToolAuditor
from salon.base import SYSTEM_CLOCK, Clock
from salon.core.kit import RoomKit
from salon.models import (
    ChannelType,
    EventType,
    HookExecution,
    HookTrigger,
    RoomContext,
    RoomEvent,
)

_log = logging.getLogger("salon.auditing")


class SessionAuditor(ABC):
    """Keeps entries: what was said, done and seen, in order. What `record` is given is masked."""

    _bridge: ToolAuditor | None = None

    @abstractmethod
    def record(self, entry: SessionAuditEntry) -> None:
        """Keep one."""

    @property
    @abstractmethod
    def entries(self) -> list[SessionAuditEntry]:
        """What is kept in memory, oldest first."""

    @abstractmethod
    def summary(self) -> str:
        """The entries for people to read."""

    def print_summary(self) -> None:
        """Print it."""
        print(self.summary())  # noqa: T201 - that is what it is for

    def record_tool(self, entry: ToolAuditEntry) -> None:
        """Keep a tool call among the rest."""
        self.record(_tool_entry(entry))

    async def keep(self, entry: SessionAuditEntry) -> None:
        """`record` for a coroutine; what it raises is logged."""
        try:
            self.record(entry)
        except Exception:  # noqa: BLE001 - the host's code, and the session goes on
            _log.exception("an entry of a session was not recorded")

    @property
    def tool_auditor(self) -> ToolAuditor:
        """Keeps tool calls here; for `audit_tool_handler` and `ToolAuditor.attach`."""
        if self._bridge is None:
            self._bridge = _Bridge(self)
        return self._bridge

    def attach(self, kit: RoomKit, *, tools: bool = False, clock: Clock = SYSTEM_CLOCK) -> None:
        """Keep what happens in every room of `kit`: messages as ``speech``, sessions, barge-ins,
        vision results and errors; with `tools` the tool calls of agents, unless their handlers are
        wrapped already."""
        watch = _Watch(self, clock)
        name = f"session_audit_{id(self):x}"
        for trigger, listener in (
            (HookTrigger.AFTER_BROADCAST, watch.said),
            (HookTrigger.ON_SESSION_STARTED, watch.started),
            (HookTrigger.ON_BARGE_IN, watch.barged_in),
            (HookTrigger.ON_VISION_RESULT, watch.seen),
            (HookTrigger.ON_ERROR, watch.failed),
        ):
            kit.hook(trigger, HookExecution.ASYNC, name=name)(listener)
        if tools:
            self.tool_auditor.attach(kit, clock=clock)


class JSONLSessionAuditor(SessionAuditor):
    """Appends to a file of JSON Lines. In coroutines the file is written by a thread."""

    def __init__(self, path: Path | str) -> None:
        self.journal = Journal(path)
        self._entries: deque[SessionAuditEntry] = deque(maxlen=MAX_KEPT)
        self.forgotten = 0
        """Entries no longer shown from memory."""

    def record(self, entry: SessionAuditEntry) -> None:
        self.journal.append(self._remember(entry))

    async def keep(self, entry: SessionAuditEntry) -> None:
        await asyncio.to_thread(self.journal.append, self._remember(entry))

    def _remember(self, entry: SessionAuditEntry) -> SessionAuditEntry:
        entry = entry.masked()
        self.forgotten += len(self._entries) == MAX_KEPT
        self._entries.append(entry)
        return entry

    @property
    def entries(self) -> list[SessionAuditEntry]:
        return list(self._entries)

    def summary(self) -> str:
        lines = [f"Session ({self.journal.path})", *map(_line, self._entries)]
        counts = Counter(entry.type for entry in self._entries)
        lines.append(", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
        return "\n".join(lines).rstrip()


class _Watch:
    """Observing hooks."""

    def __init__(self, auditor: SessionAuditor, clock: Clock) -> None:
        self._auditor = auditor
        self._clock = clock

    async def said(self, event: RoomEvent, context: RoomContext) -> None:
        if event.type is not EventType.MESSAGE or not event.text:
            return
        agent = event.source.channel_type == ChannelType.AI
        await self._keep(
            SessionEntryType.SPEECH,
            event.text,
            role="assistant" if agent else "user",
            room_id=event.room_id,
            event_id=event.id,
            channel_id=event.source.channel_id,
            participant_id=event.source.participant_id,
        )

    async def started(self, event: Any, context: RoomContext) -> None:
        await self._keep(
            SessionEntryType.SESSION,
            "started",
            room_id=context.room.id,
            channel_id=getattr(event, "channel_id", None),
        )

    async def barged_in(self, event: Any, context: RoomContext) -> None:
        heard = getattr(event, "interrupted_text", "")
        await self._keep(SessionEntryType.BARGE_IN, str(heard), room_id=context.room.id)

    async def seen(self, event: Any, context: RoomContext) -> None:
        text = getattr(event, "description", None) or getattr(event, "text", None) or ""
        await self._keep(SessionEntryType.VISION, str(text), room_id=context.room.id)

    async def failed(self, event: RoomEvent, context: RoomContext) -> None:
        facts = event.metadata
        await self._keep(
            SessionEntryType.ERROR,
            str(facts.get("error", "")),
            room_id=event.room_id,
            channel_id=facts.get("channel_id"),
            error_type=facts.get("error_type"),
        )

    async def _keep(
        self, kind: SessionEntryType, content: str, *, role: str | None = None, **metadata: Any
    ) -> None:
        entry = SessionAuditEntry(
            ts=self._clock.now().isoformat(),
            type=kind,
            role=role,
            content=content,
            metadata={key: value for key, value in metadata.items() if value is not None},
        )
        await self._auditor.keep(entry.masked())


class _Bridge(ToolAuditor):
    """Tool calls among the entries of a session."""

    def __init__(self, session: SessionAuditor) -> None:
        self._session = session

    def record(self, entry: ToolAuditEntry) -> None:
        self._session.record_tool(entry.masked())

    async def keep(self, entry: ToolAuditEntry) -> None:
        await self._session.keep(_tool_entry(entry.masked()))

    @property
    def entries(self) -> list[ToolAuditEntry]:
        calls = (e for e in self._session.entries if e.type == SessionEntryType.TOOL_CALL)
        return [
            ToolAuditEntry(
                ts=entry.ts,
                agent_id=str(entry.metadata.get("agent_id", "")),
                tool_name=str(entry.metadata.get("tool_name", "")),
                arguments=entry.metadata.get("arguments") or {},
                result=entry.content,
                status=str(entry.metadata.get("status", "")),
                duration_ms=entry.duration_ms or 0.0,
            )
            for entry in calls
        ]

    def summary(self) -> str:
        return self._session.summary()


def _tool_entry(entry: ToolAuditEntry) -> SessionAuditEntry:
    return SessionAuditEntry(
        ts=entry.ts,
        type=SessionEntryType.TOOL_CALL,
        role="assistant",
        content=entry.result,
        duration_ms=entry.duration_ms,
        metadata={
            **entry.metadata,
            "tool_name": entry.tool_name,
            "arguments": entry.arguments,
            "status": entry.status,
            "agent_id": entry.agent_id,
        },
    )


def _line(entry: SessionAuditEntry) -> str:
    what = entry.role or entry.type
    if entry.type == SessionEntryType.TOOL_CALL:
        facts = entry.metadata
        call = json.dumps(facts.get("arguments"), ensure_ascii=False, default=str)
        what = f"tool {facts.get('tool_name')} {call} ({facts.get('status')})"
    return f"[{entry.ts[11:19]}] {what}: {entry.content}"
