"""Commands and events as journals, streams and logs may show them: secrets masked."""

from __future__ import annotations

from typing import Any

from salon.gateway.commands import Command
from salon.gateway.events import Event
from salon.gateway.options import masked, masked_data


def shown_command(command: Command) -> dict[str, Any]:
    """What was given, as JSON-like data."""
    return {"command": command.command, **masked(command)}


def shown_event(event: Event) -> dict[str, Any]:
    """The event as sent."""
    shown: dict[str, Any] = masked_data(event.to_dict())
    return shown
