"""The two kinds of model: facts, which never change, and records, whose readers own a copy."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """Immutable once made (R7)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(BaseModel):
    """Room state. What a store returns is the caller's own copy (R102)."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


def utc_now() -> datetime:
    """The present, timezone-aware."""
    return datetime.now(UTC)
