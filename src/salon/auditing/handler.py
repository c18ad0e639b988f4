"""Wrapping a tool handler, so that its calls are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from salon.auditing.entries import ToolAuditEntry, ToolStatus, shown, status_of
from salon.auditing.tools import ToolAuditor
from salon.base import SYSTEM_CLOCK, Clock, redact

ToolHandler = Callable[[str, dict[str, Any]], Awaitable[Any]]


def audit_tool_handler(
    handler: ToolHandler, auditor: ToolAuditor, agent_id: str, *, clock: Clock = SYSTEM_CLOCK
) -> ToolHandler:
    """`handler`, with every call kept. What it returns or raises is passed on unchanged (R263)."""

    async def audited(name: str, arguments: dict[str, Any]) -> Any:
        began = clock.monotonic()
        given = redact(arguments)  # as they were before the handler had them

        def entry(result: str, status: ToolStatus) -> ToolAuditEntry:
            return ToolAuditEntry(
                ts=clock.now().isoformat(),
                agent_id=agent_id,
                tool_name=name,
                arguments=given,
                result=result,
                status=status,
                duration_ms=(clock.monotonic() - began) * 1000,
            ).masked()

        try:
            result = await handler(name, arguments)
        except BaseException as error:
            await auditor.keep(entry(str(error) or type(error).__name__, ToolStatus.ERROR))
            raise
        await auditor.keep(entry(shown(result), status_of(result)))
        return result

    return audited
