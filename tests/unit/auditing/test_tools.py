"""R263: what is kept of tool calls."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.unit.auditing.clock import HandClock
from tests.unit.core.helpers import ROOM, Transport, message

from salon.auditing import (
    ConsoleToolAuditor,
    JSONLToolAuditor,
    ToolAuditEntry,
    ToolAuditor,
    audit_tool_handler,
)
from salon.auditing import tools as auditing_tools
from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import AITool, AIToolCall
from salon.models import HookResult, HookTrigger, RoomContext
from salon.providers.mock import MockAIProvider


class Kept(ToolAuditor):
    """The smallest auditor of a host."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.kept: list[ToolAuditEntry] = []
        self.failure = failure

    def record(self, entry: ToolAuditEntry) -> None:
        if self.failure is not None:
            raise self.failure
        self.kept.append(entry)

    @property
    def entries(self) -> list[ToolAuditEntry]:
        return self.kept

    def summary(self) -> str:
        return f"{len(self.kept)} calls"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def entry(**more: Any) -> ToolAuditEntry:
    facts: dict[str, Any] = {
        "ts": "2030-01-01T00:00:00+00:00",
        "agent_id": "bot",
        "tool_name": "look",
        "arguments": {},
        "result": "fine",
        "status": "ok",
        "duration_ms": 1.5,
    }
    return ToolAuditEntry(**{**facts, **more})


async def test_R263_a_call_becomes_one_line_and_its_result_is_unchanged(tmp_path: Path) -> None:
    clock = HandClock()
    path = tmp_path / "not" / "there" / "calls.jsonl"
    answer = {"rows": [1, 2]}

    async def handler(name: str, arguments: dict[str, Any]) -> Any:
        arguments["added"] = True
        await clock.sleep(0.25)
        return answer

    audited = audit_tool_handler(handler, JSONLToolAuditor(path), "bot", clock=clock)
    assert await audited("query", {"q": "x"}) is answer
    (line,) = lines(path)
    assert set(line) == {
        "ts",
        "agent_id",
        "tool_name",
        "arguments",
        "result",
        "status",
        "duration_ms",
        "metadata",
    }
    assert (line["agent_id"], line["tool_name"]) == ("bot", "query")
    assert (line["arguments"], line["result"]) == ({"q": "x"}, '{"rows": [1, 2]}')
    assert (line["status"], line["metadata"]) == ("ok", {})
    assert line["duration_ms"] == pytest.approx(250)
    assert line["ts"].endswith("+00:00")


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ("fine", "ok"),
        ({"status": "failed"}, "failed"),
        ('{"status": "failed", "error": "x"}', "failed"),
        ('{"status": "done"}', "ok"),
        ("status failed", "ok"),
        ('["failed"]', "ok"),
        ("{broken", "ok"),
        (None, "ok"),
    ],
)
async def test_R263_the_status_is_read_from_the_result(result: object, status: str) -> None:
    async def handler(name: str, arguments: dict[str, Any]) -> object:
        return result

    kept = Kept()
    assert await audit_tool_handler(handler, kept, "bot")("t", {}) == result
    assert kept.entries[0].status == status


@pytest.mark.parametrize(
    "error", [ValueError("no such town"), KeyError(), asyncio.CancelledError()]
)
async def test_R263_a_handler_that_raises_is_an_error(error: BaseException) -> None:
    async def handler(name: str, arguments: dict[str, Any]) -> object:
        raise error

    kept = Kept()
    with pytest.raises(type(error)):
        await audit_tool_handler(handler, kept, "bot")("t", {})
    assert kept.entries[0].status == "error"
    assert kept.entries[0].result == (str(error) or type(error).__name__)


@pytest.mark.parametrize("form", [json.dumps, lambda value: value])
async def test_R263_no_secret_is_kept(form: Any, tmp_path: Path) -> None:
    async def handler(name: str, arguments: dict[str, Any]) -> object:
        return form({"note": "Bearer abcdefghij", "api_key": "hunter22"})

    path = tmp_path / "calls.jsonl"
    audited = audit_tool_handler(handler, JSONLToolAuditor(path), "bot")
    await audited("t", {"password": "hunter22", "url": "http://x/?token=hunter22", "deep": [1]})
    text = path.read_text("utf-8")
    assert "abcdefghij" not in text
    assert "hunter22" not in text
    assert lines(path)[0]["arguments"] == {
        "password": "***",
        "url": "http://x/?token=***",
        "deep": [1],
    }


async def test_R263_results_are_cut_after_secrets_are_masked() -> None:
    kept = Kept()
    loop: dict[str, Any] = {}
    loop["self"] = loop
    for result in ("x" * 600, "y" * 1_000_001, {"k": "z" * 600}, loop):
        await audit_tool_handler(_giving(result), kept, "bot")("t", {})
    assert [len(item.result) for item in kept.entries] == [500, 20, 500, 6]


def _giving(result: object) -> Any:
    async def handler(name: str, arguments: dict[str, Any]) -> object:
        return result

    return handler


async def test_R263_a_file_that_cannot_be_written_fails_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    auditor = JSONLToolAuditor(tmp_path / "file" / "calls.jsonl")
    assert await audit_tool_handler(_giving("fine"), auditor, "bot")("t", {}) == "fine"
    auditor.record(entry())
    assert auditor.journal.lost == 2
    assert [r.levelno for r in caplog.records] == [logging.ERROR] * 2
    assert len(auditor.entries) == 2


async def test_R263_an_auditor_that_raises_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    auditor = Kept(RuntimeError("full"))
    assert await audit_tool_handler(_giving("fine"), auditor, "bot")("t", {}) == "fine"
    assert "not recorded" in caplog.text


def test_R263_a_file_is_only_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    JSONLToolAuditor(path).record(entry(tool_name="one", metadata={"x": Path("a")}))
    JSONLToolAuditor(str(path)).record(entry(tool_name="two", result="ü\nv"))
    assert [line["tool_name"] for line in lines(path)] == ["one", "two"]
    assert lines(path)[1]["result"] == "ü\nv"


def test_R263_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing_tools, "MAX_KEPT", 2)
    auditor = JSONLToolAuditor(tmp_path / "calls.jsonl")
    for number in range(3):
        auditor.record(entry(tool_name=str(number)))
    assert [item.tool_name for item in auditor.entries] == ["1", "2"]
    assert auditor.forgotten == 1
    assert len(lines(tmp_path / "calls.jsonl")) == 3


def test_R263_a_summary_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    auditor = JSONLToolAuditor(tmp_path / "calls.jsonl")
    assert "0 calls" in auditor.summary()
    auditor.record(entry(result="r" * 300))
    auditor.record(entry(status="failed"))
    auditor.print_summary()
    told = capsys.readouterr().out
    assert "2 calls, 3 ms" in told
    assert "look 2" in told
    assert "failed" in told
    assert "r" * 101 not in told


def test_R263_the_console_shows_one_line_per_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    auditor = ConsoleToolAuditor(level=logging.DEBUG)
    auditor.record(entry(arguments={"token": "hunter22"}))
    (record,) = caplog.records
    assert record.getMessage() == "bot called look: ok, 2 ms, fine"
    assert auditor.entries[0].arguments == {"token": "***"}


async def test_R263_calls_of_agents_are_kept_without_wrapping() -> None:
    def fine(town: str) -> str:
        """Tell the weather."""
        return "sunny"

    async def handle(name: str, arguments: dict[str, Any]) -> str:
        return '{"status": "failed"}'

    calls = [
        AIToolCall("c1", "fine", {"town": "Bern"}),
        AIToolCall("c2", "declared", {}),
        AIToolCall("c3", "forbidden", {}),
    ]
    declared = [AITool("declared", "", {}), AITool("forbidden", "", {})]
    bot = AIChannel(
        "bot", MockAIProvider([calls, ["done"]]), tools=[fine, *declared], tool_handler=handle
    )
    kept = Kept()
    async with RoomKit() as kit:
        kept.attach(kit)

        @kit.hook(HookTrigger.BEFORE_TOOL_USE)
        async def gate(event: Any, context: RoomContext) -> HookResult:
            return HookResult.block("no") if event.name == "forbidden" else HookResult.allow()

        await kit.create_room(ROOM)
        for channel in (Transport("a"), bot):
            kit.register_channel(channel)
            await kit.attach_channel(ROOM, channel.channel_id, channel.category)
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)
    found = {item.tool_name: item for item in kept.entries}
    assert {name: item.status for name, item in found.items()} == {
        "fine": "ok",
        "declared": "failed",
        "forbidden": "error",
    }
    assert found["fine"].arguments == {"town": "Bern"}
    assert found["fine"].result == "sunny"
    assert found["fine"].metadata == {"room_id": ROOM, "tool_call_id": "c1"}
    assert found["forbidden"].metadata["refused"] is True
    assert all(item.agent_id == "bot" and item.duration_ms >= 0 for item in found.values())


async def test_R263_calls_whose_end_is_never_told_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from salon.models import Room
    from salon.models.ai import ToolCallEvent

    monkeypatch.setattr(auditing_tools, "_MAX_RUNNING", 1)
    clock = HandClock()
    kept = Kept()
    watch = auditing_tools._Watch(kept, clock)
    context = RoomContext(Room(id=ROOM))
    first, second = (
        ToolCallEvent("bot", "ai", call_id, "t", {}, room_id=ROOM) for call_id in ("c1", "c2")
    )
    await watch.begins(first, context)
    await watch.begins(second, context)
    await clock.sleep(1)
    await watch.ended(first, context)
    await watch.ended(second, context)
    assert [item.duration_ms for item in kept.entries] == [0, pytest.approx(1000)]
