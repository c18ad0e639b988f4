"""What a hook may decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from salon.models.event import RoomEvent
from salon.models.exchange import Observation, Task


@dataclass(frozen=True, slots=True)
class InjectedEvent:
    """An event a hook adds. `target_channel_ids` None: store only (R143)."""

    event: RoomEvent
    target_channel_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class HookResult:
    """Allow, block with a reason, or modify: `event` replaces the payload, whatever its type."""

    action: Literal["allow", "block", "modify"] = "allow"
    event: Any = None
    reason: str | None = None
    injected_events: Sequence[InjectedEvent] = ()
    tasks: Sequence[Task] = ()
    observations: Sequence[Observation] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.action == "block" and not self.reason:
            raise ValueError("a block needs a reason")
        if self.action == "modify" and self.event is None:
            raise ValueError("a modification needs its replacement")

    @classmethod
    def allow(cls, injected: Sequence[InjectedEvent] | None = None) -> HookResult:
        return cls(injected_events=tuple(injected or ()))

    @classmethod
    def block(
        cls,
        reason: str,
        injected: Sequence[InjectedEvent] | None = None,
        tasks: Sequence[Task] | None = None,
        observations: Sequence[Observation] | None = None,
    ) -> HookResult:
        effects = tuple(injected or ()), tuple(tasks or ()), tuple(observations or ())
        return cls("block", None, reason, *effects)

    @classmethod
    def modify(cls, event: Any, injected: Sequence[InjectedEvent] | None = None) -> HookResult:
        return cls("modify", event, injected_events=tuple(injected or ()))
