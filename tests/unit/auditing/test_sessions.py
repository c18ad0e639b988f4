"""R263: what is kept of a session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.core.helpers import ROOM, Agent, Transport, message

from salon.auditing import (
    JSONLSessionAuditor,
    SessionAuditEntry,
    SessionAuditor,
    ToolAuditEntry,
    audit_tool_handler,
)
from salon.auditing import sessions as auditing_sessions
from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import AIToolCall
from salon.models import HookResult, HookTrigger, RoomContext, RoomEvent
from salon.providers.mock import MockAIProvider


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def auditor(tmp_path: Path) -> JSONLSessionAuditor:
    return JSONLSessionAuditor(tmp_path / "deep" / "session.jsonl")


async def furnish(kit: RoomKit, *channels: Any) -> None:
    await kit.create_room(ROOM)
    for channel in channels:
        kit.register_channel(channel)
        await kit.attach_channel(ROOM, channel.channel_id, channel.category)


def test_R263_an_entry_is_one_line(auditor: JSONLSessionAuditor) -> None:
    auditor.record(
        SessionAuditEntry(
            ts="2030-01-01T10:20:30+00:00",
            type="speech",
            role="user",
            content="my key: Bearer abcdefghij",
            metadata={"password": "x"},
        )
    )
    assert lines(auditor.journal.path) == [
        {
            "ts": "2030-01-01T10:20:30+00:00",
            "type": "speech",
            "role": "user",
            "content": "my key: Bearer ***",
            "duration_ms": None,
            "metadata": {"password": "***"},
        }
    ]


async def test_R263_a_conversation_is_kept_as_it_was_said(auditor: JSONLSessionAuditor) -> None:
    def weather(town: str) -> str:
        """Tell the weather."""
        return "sunny"

    script: list[Any] = [[AIToolCall("c1", "weather", {"town": "Bern"})], ["Sunny."]]
    async with RoomKit() as kit:
        auditor.attach(kit, tools=True)

        @kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def gate(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.block("no") if event.text == "rude" else HookResult.allow()

        await furnish(
            kit, Transport("a"), AIChannel("bot", MockAIProvider(script), tools=[weather])
        )
        await kit.process_inbound(message("a", "rude"), room_id=ROOM)
        await kit.process_inbound(message("a", "Weather?"), room_id=ROOM)
        await kit.idle(ROOM)
    told = [(entry.type, entry.role, entry.content) for entry in auditor.entries]
    assert sorted(told) == sorted(
        [
            ("speech", "user", "Weather?"),
            ("tool_call", "assistant", "sunny"),
            ("speech", "assistant", "Sunny."),
        ]
    )
    assert told.index(("speech", "user", "Weather?")) < told.index(
        ("speech", "assistant", "Sunny.")
    )
    assert len(lines(auditor.journal.path)) == 3
    (call,) = auditor.tool_auditor.entries
    assert (call.tool_name, call.arguments, call.status) == ("weather", {"town": "Bern"}, "ok")


async def test_R263_sessions_and_errors_are_kept(auditor: JSONLSessionAuditor) -> None:
    def broken(event: RoomEvent, context: RoomContext) -> AsyncIterator[str]:
        raise LookupError("secret words")

    async with RoomKit() as kit:
        auditor.attach(kit)
        await furnish(kit, Transport("a"), Agent("bot", broken))
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.process_inbound(message("a"), room_id="made-for-it")
        await kit.run_hooks(
            HookTrigger.ON_BARGE_IN, ROOM, SimpleNamespace(interrupted_text="as I was")
        )
        await kit.run_hooks(HookTrigger.ON_VISION_RESULT, ROOM, SimpleNamespace(text="a cat"))
        await kit.run_hooks(HookTrigger.ON_VISION_RESULT, ROOM, object())
        await kit.idle(ROOM)
    found: dict[str, list[SessionAuditEntry]] = {}
    for entry in auditor.entries:
        found.setdefault(entry.type, []).append(entry)
    assert [entry.metadata["room_id"] for entry in found["session"]] == ["made-for-it"]
    assert found["error"][0].content.startswith("LookupError")
    assert "secret words" not in found["error"][0].content
    assert found["barge_in"][0].content == "as I was"
    assert [entry.content for entry in found["vision"]] == ["a cat", ""]


async def test_R263_wrapped_handlers_are_kept_among_the_rest(auditor: JSONLSessionAuditor) -> None:
    async def handler(name: str, arguments: dict[str, Any]) -> str:
        return "done"

    audited = audit_tool_handler(handler, auditor.tool_auditor, "bot")
    assert await audited("look", {"token": "hunter22", "q": 1}) == "done"
    auditor.tool_auditor.record(
        ToolAuditEntry(
            ts="t",
            agent_id="bot",
            tool_name="second",
            arguments={},
            result="x" * 900,
            status="failed",
            duration_ms=2.0,
        )
    )
    first, second = lines(auditor.journal.path)
    assert (first["type"], first["role"], first["content"]) == ("tool_call", "assistant", "done")
    assert first["metadata"] == {
        "tool_name": "look",
        "arguments": {"token": "***", "q": 1},
        "status": "ok",
        "agent_id": "bot",
    }
    assert (len(second["content"]), second["duration_ms"]) == (500, 2.0)
    assert auditor.tool_auditor is auditor.tool_auditor
    assert auditor.tool_auditor.summary() == auditor.summary()


def test_R263_a_session_is_told_to_people(
    auditor: JSONLSessionAuditor, capsys: pytest.CaptureFixture[str]
) -> None:
    auditor.record(
        SessionAuditEntry(
            ts="2030-01-01T10:20:30+00:00", type="speech", role="user", content="hello"
        )
    )
    auditor.record(SessionAuditEntry(ts="2030-01-01T10:20:31+00:00", type="barge_in"))
    auditor.record_tool(
        ToolAuditEntry(
            ts="2030-01-01T10:20:32+00:00",
            agent_id="bot",
            tool_name="look",
            arguments={"q": 1},
            result="fine",
            status="ok",
            duration_ms=2.0,
        )
    )
    auditor.print_summary()
    told = capsys.readouterr().out
    assert "[10:20:30] user: hello" in told
    assert '[10:20:32] tool look {"q": 1} (ok): fine' in told
    assert "barge_in 1, speech 1, tool_call 1" in told


def test_R263_memory_is_bounded(
    auditor: JSONLSessionAuditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(auditing_sessions, "MAX_KEPT", 2)
    small = JSONLSessionAuditor(tmp_path / "small.jsonl")
    for number in range(3):
        small.record(SessionAuditEntry(ts=str(number), type="speech"))
    assert [entry.ts for entry in small.entries] == ["1", "2"]
    assert small.forgotten == 1


async def test_R263_an_auditor_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SessionAuditor):
        def record(self, entry: SessionAuditEntry) -> None:
            raise RuntimeError("full")

        @property
        def entries(self) -> list[SessionAuditEntry]:
            return []

        def summary(self) -> str:
            return ""

    async with RoomKit() as kit:
        Broken().attach(kit)
        await furnish(kit, Transport("a"))
        result = await kit.process_inbound(message("a"), room_id=ROOM)
    assert result.event is not None
    assert "not recorded" in caplog.text
