"""Floor 4: who called which tool and what was said, kept as JSON Lines (R263).

Hand tool handlers to `audit_tool_handler`, or `attach` an auditor to a `RoomKit`. These records
quote arguments, results and words: keep them where only those may look who may. What is named like
a secret, or looks like one, is masked.
"""

from salon.auditing.entries import SessionAuditEntry, SessionEntryType, ToolAuditEntry, ToolStatus
from salon.auditing.handler import audit_tool_handler
from salon.auditing.sessions import JSONLSessionAuditor, SessionAuditor
from salon.auditing.tools import ConsoleToolAuditor, JSONLToolAuditor, ToolAuditor

__all__ = [
    "ConsoleToolAuditor",
    "JSONLSessionAuditor",
    "JSONLToolAuditor",
    "SessionAuditEntry",
    "SessionAuditor",
    "SessionEntryType",
    "ToolAuditEntry",
    "ToolAuditor",
    "ToolStatus",
    "audit_tool_handler",
]
