"""What goes along with a call and is not its driver: a journal, a background, an outside line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.gateway.commands import Command, HangupReason
from salon.gateway.events import Event
from salon.gateway.options import CallOption
from salon.voice.events import MediaEvent

if TYPE_CHECKING:
    from salon.gateway.session import Session


class Companion:
    """One per session and purpose, made with the session; each method is optional to override.

    `begin` may wait, up to 5 s; `end` shares a second with those of the other companions. The rest
    runs in the call's own course: it must return at once. What any of them raises is told or
    logged, and the call goes on.
    """

    name = "companion"
    """The sender of `error` events about it."""
    serves: frozenset[str] = frozenset()
    """Names of the fields of `CallOption` it takes care of; of these no client is told that they
    are not available."""

    async def begin(self, session: Session, option: CallOption) -> None:
        """The call is being set up: after the handler's `begin`, before anything is listened for. A
        `SalonError` is told to the client."""

    def answered(self) -> None:
        """The client was told `answer`."""

    def command(self, command: Command) -> None:
        """A command was taken, from wherever; it is carried out after this."""

    def event(self, event: Event) -> None:
        """The client was told this; also `PingEvent`, of which it gets another form (G18)."""

    def media(self, event: MediaEvent) -> None:
        """A media event, after the handler saw it."""

    async def end(self, reason: HangupReason | str) -> None:
        """The media of the call is closed and `hangup` not told yet; called once, also for a call
        that never began."""

    def parted(self) -> None:
        """The last event was told; called once, after `end`."""
