"""Two calls hear each other: `bridge` and `unbridge` (G85, G86).

A bridge copies what the two callers say, whatever carries either call. Each call keeps its own
server track, recording, events and end. On each side it is a hidden track, by which it can be muted
(G87): it then hears the other call no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from salon.gateway.commands import BridgeCommand, Command, HangupReason, UnbridgeCommand
from salon.gateway.companions import Companion
from salon.gateway.errors import CommandError
from salon.gateway.events import TrackStartEvent
from salon.voice.call_bridge import CallBridge, CallBridgeStatistics
from salon.voice.events import Dtmf, MediaEvent

if TYPE_CHECKING:
    from salon.gateway.services import Action
    from salon.gateway.session import Session

MAX_BRIDGES = 8
"""Calls that one call may be bridged to at a time."""
KEY_MS = 160
"""A key whose length is not known is pressed this long on the other side."""
_SHORTEST_KEY_MS, _LONGEST_KEY_MS = 40, 6000


def bridge_track(own_id: str, target_id: str) -> str:
    """The id of the hidden track of a bridge on the side of call `own_id`."""
    return f"bridge:{own_id}:to:{target_id}"


class _Bridge:
    """Both directions between two calls."""

    def __init__(self, one: Session, other: Session, *, keys: bool) -> None:
        self.calls = (one, other)
        self.keys = keys
        self._ways = (self._way(other, one), self._way(one, other))

    @staticmethod
    def _way(source: Session, sink: Session) -> CallBridge:
        track = bridge_track(sink.id, source.id)
        sink.hidden_tracks.add(track)
        sink.muted.discard(track)
        return CallBridge(source.media, sink.media, silenced=lambda: track in sink.muted)

    def beyond(self, session: Session) -> Session:
        """The call at the other end."""
        one, other = self.calls
        return other if session is one else one

    def statistics(self, session: Session) -> CallBridgeStatistics:
        """Figures of what `session` hears."""
        return self._ways[0 if session is self.calls[0] else 1].statistics()

    def tell(self) -> None:
        """The hidden tracks are there (G85)."""
        for session in self.calls:
            track = bridge_track(session.id, self.beyond(session).id)
            session.emit(TrackStartEvent(track_id=track, timestamp=session.now_ms()))

    def press(self, session: Session, key: Dtmf) -> None:
        """The caller of `session` pressed a key: press it at the other end."""
        other = self.beyond(session)
        if not other.ending and bridge_track(other.id, session.id) not in other.muted:
            length = round(key.duration_ms) or KEY_MS
            length = max(_SHORTEST_KEY_MS, min(length, _LONGEST_KEY_MS))
            other.media.leg.send_digit(key.digit, length)

    def close(self) -> None:
        for way in self._ways:
            way.close()
        for session in self.calls:
            track = bridge_track(session.id, self.beyond(session).id)
            session.hidden_tracks.discard(track)
            session.muted.discard(track)


class _Bridged(Companion):
    """Passes on the keys of a call, and takes its bridges away with it."""

    name = "bridge"

    def __init__(self, bridges: Bridges, session: Session) -> None:
        self._bridges = bridges
        self._session = session

    def media(self, event: MediaEvent) -> None:
        if isinstance(event, Dtmf):
            self._bridges.pressed(self._session, event)

    async def end(self, reason: HangupReason | str) -> None:
        del reason
        self._bridges.ended(self._session)


class Bridges:
    """All bridges of a gateway: `actions` and `companions` go into its `SessionServices`.

    With `forward_dtmf` keys are passed on too, where the other call has a way to carry them; else
    only over bridges whose command says `forwardDtmf` (G85 passes none).
    """

    def __init__(self, *, forward_dtmf: bool = False) -> None:
        self._forward_dtmf = forward_dtmf
        self._of: dict[Session, list[_Bridge]] = {}

    @property
    def count(self) -> int:
        """Bridges there are now."""
        return sum(len(bridges) for bridges in self._of.values()) // 2

    def actions(self) -> Mapping[type[Command], Action]:
        """What carries out the commands."""
        return {BridgeCommand: self.bridge, UnbridgeCommand: self.unbridge}

    def companions(self, session: Session) -> tuple[Companion, ...]:
        """What goes along with each call."""
        return (_Bridged(self, session),)

    async def bridge(self, session: Session, command: BridgeCommand) -> None:
        """G85. A bridge the two calls have already is replaced."""
        target = self._target(session, command.target_session_id)
        old = self._between(session, target.id)
        if old is not None:
            self._remove(old)
        for call in (session, target):
            if len(self._of.get(call, ())) >= MAX_BRIDGES:
                raise CommandError(f"a call can't be bridged to more than {MAX_BRIDGES} others")
        keys = bool(getattr(command, "forward_dtmf", False)) or self._forward_dtmf
        made = _Bridge(session, target, keys=keys)
        for call in made.calls:
            self._of.setdefault(call, []).append(made)
        made.tell()

    async def unbridge(self, session: Session, command: UnbridgeCommand) -> None:
        """G86; without such a bridge there is nothing to do."""
        found = self._between(session, command.target_session_id)
        if found is not None:
            self._remove(found)

    def pressed(self, session: Session, key: Dtmf) -> None:
        """A caller pressed a key; its own call has told of it."""
        for bridge in self._of.get(session, ()):
            if bridge.keys:
                bridge.press(session, key)

    def ended(self, session: Session) -> None:
        """The call is over: the other ends of its bridges go on without it."""
        for bridge in tuple(self._of.get(session, ())):
            self._remove(bridge)

    def statistics(self, session: Session) -> dict[str, CallBridgeStatistics]:
        """Figures of what the call hears over each of its bridges, by the id of the other call."""
        return {
            bridge.beyond(session).id: bridge.statistics(session)
            for bridge in self._of.get(session, ())
        }

    def _target(self, session: Session, target_id: str) -> Session:
        """The live call to bridge to; `CommandError` why it can't be (G85)."""
        if not session.rights.bridge:
            raise CommandError("this call may not be bridged")
        if target_id == session.id:
            raise CommandError("cannot bridge a call to itself")
        target = session.services.find(target_id)
        if target is None or target.ending or target is session:
            raise CommandError(f"bridge target session not found: {target_id}")
        for call in (session, target):
            if call.room_id is not None:
                raise CommandError(f"call {call.id} is in a room and can't be bridged")
        return target

    def _between(self, session: Session, target_id: str) -> _Bridge | None:
        for bridge in self._of.get(session, ()):
            if bridge.beyond(session).id == target_id:
                return bridge
        return None

    def _remove(self, bridge: _Bridge) -> None:
        bridge.close()
        for session in bridge.calls:
            left = [other for other in self._of.get(session, ()) if other is not bridge]
            if left:
                self._of[session] = left
            else:
                self._of.pop(session, None)
