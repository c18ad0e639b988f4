"""What R260 wants logged, where there is a framework event for it: the event becomes a record of
the logger of the part that told it. What has no event is logged by the part itself.

Context stands in ``extra`` (`room_id`, `channel_id`, `event_id`, `provider`, `chain_depth`,
`status`, `latency_ms`), ids and numbers only. A logger that is off costs a lookup.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.resilience import BreakerEdge


@dataclass(frozen=True, slots=True)
class _Line:
    logger: logging.Logger
    level: int
    words: str
    data: tuple[str, ...] = ()
    """What of the event's data joins the context."""


_ROOMS = logging.getLogger("salon.core.rooms")
_RESILIENCE = logging.getLogger("salon.core.resilience")

LINES: Final = {
    "room_created": _Line(_ROOMS, logging.INFO, "room created", ("organization_id",)),
    "room_channel_attached": _Line(
        logging.getLogger("salon.core.bindings"), logging.INFO, "channel attached", ("access",)
    ),
    "identity_resolved": _Line(
        logging.getLogger("salon.core.participants"),
        logging.INFO,
        "participant resolved",
        ("participant_id", "identity_id", "resolved_by"),
    ),
    "process_timeout": _Line(
        logging.getLogger("salon.core.inbound"), logging.WARNING, "a message took too long"
    ),
    BreakerEdge.OPENED.value: _Line(
        _RESILIENCE, logging.ERROR, "circuit breaker opened", ("failure_count",)
    ),
    BreakerEdge.CLOSED.value: _Line(_RESILIENCE, logging.INFO, "circuit breaker closed"),
}


def follow(framework: FrameworkEvents) -> None:
    """Log from now on."""
    for name in LINES:
        framework.on(name, _write)


def _write(event: FrameworkEvent) -> None:
    line = LINES[event.type]
    if not line.logger.isEnabledFor(line.level):
        return
    context = {
        "room_id": event.room_id,
        "channel_id": event.channel_id,
        "event_id": event.event_id,
        **{key: event.data.get(key) for key in line.data},
    }
    line.logger.log(
        line.level,
        line.words,
        extra={key: value for key, value in context.items() if value is not None},
    )
