"""Who is in which room of a bridge, and who hears whom (V136, V138)."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from salon.media.frame import SAMPLE_RATE
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge_config import (
    AudioBridgeConfig,
    BridgeFullError,
    Deliver,
    SourceStatistics,
)
from salon.voice.bridge_member import Member, Room
from salon.voice.bridge_queue import PRIME

if TYPE_CHECKING:
    from salon.voice.backends.base import VoiceBackend


class Membership:
    """The part of a bridge that changes when people come, go or turn to each other. Every method
    may be called from any thread."""

    def __init__(self, config: AudioBridgeConfig) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._members: dict[str, Member] = {}
        self._rooms: dict[str, Room] = {}
        # Only sources with something to read, so that silent rooms cost nothing.
        self._reading: dict[str, Member] = {}
        self._left = SourceStatistics(0, 0, 0, 0)
        self._left_undelivered = 0

    @property
    def config(self) -> AudioBridgeConfig:
        """As given."""
        return self._config

    def add_session(
        self,
        session: VoiceSession,
        room_id: str,
        backend: VoiceBackend | None = None,
        *,
        sample_rate: int | None = None,
        deliver: Deliver | None = None,
        prime: int = PRIME,
    ) -> None:
        """Make `session` hear the others of `room_id` and be heard by them; one that is a member
        already starts anew there.

        What it hears goes to `deliver`; without that through the frame processor to `backend`;
        without both it is fetched with `take`. `sample_rate` in Hz is what `deliver` and `backend`
        get, by default the session's ``output_sample_rate`` or ``input_sample_rate`` (metadata),
        else 16000. `prime`: frames its queue holds before it is read; 1 for a source that brings
        exactly one frame per tick.

        `BridgeFullError` when the room has no place (V138), `ValueError` for a rate outside 1 to
        384 kHz or a `prime` outside 1 to 8.
        """
        notes = session.metadata
        rate = sample_rate or int(
            notes.get("output_sample_rate") or notes.get("input_sample_rate") or SAMPLE_RATE
        )
        with self._lock:
            present = self._rooms.get(room_id)
            if present is not None:
                others = len(present.members) - (session.id in present.members)
                if others >= self._config.places:
                    raise BridgeFullError(
                        f"room {room_id} has {others} bridged sessions, and"
                        f" {self._config.mixing_strategy!r} takes {self._config.places}"
                    )
            member = Member(session, present or Room(room_id), backend, deliver, rate, prime)
            self.remove_session(session.id)
            # The removal may have emptied the room and taken it away.
            room = member.room = self._rooms.setdefault(room_id, member.room)
            room.members[session.id] = self._members[session.id] = member
            room.changed()

    def remove_session(self, session_id: str) -> None:
        """Take it out; harmless for one that is no member. A delivery that is running in another
        thread may still end after this returns, no new one begins."""
        with self._lock:
            member = self._members.pop(session_id, None)
            if member is None:
                return
            self._reading.pop(session_id, None)
            member.gone = True
            member.heard = None
            member.outbox.clear()
            self._left = self._left.plus(member.figures())
            self._left_undelivered += member.outbox.dropped
            room = member.room
            del room.members[session_id]
            room.changed()
            if not room.members:
                del self._rooms[room.room_id]

    def close(self) -> None:
        """Take everybody out."""
        with self._lock:
            for session_id in list(self._members):
                self.remove_session(session_id)

    @property
    def session_count(self) -> int:
        """Members of all rooms."""
        return len(self._members)

    @property
    def rooms(self) -> tuple[str, ...]:
        """Ids of the rooms that have members."""
        with self._lock:
            return tuple(self._rooms)

    def get_participant_count(self, room_id: str) -> int:
        """Members of one room."""
        with self._lock:
            room = self._rooms.get(room_id)
            return 0 if room is None else len(room.members)

    def get_bridged_sessions(self, room_id: str) -> list[tuple[VoiceSession, VoiceBackend | None]]:
        """Members of one room with the backends they were added with."""
        with self._lock:
            room = self._rooms.get(room_id)
            members = () if room is None else room.members.values()
            return [(member.session, member.backend) for member in members]

    def get_session_backend(self, session_id: str) -> VoiceBackend | None:
        """The backend a member was added with."""
        with self._lock:
            member = self._members.get(session_id)
            return None if member is None else member.backend

    # -- who hears whom

    def set_muted(self, session_id: str, muted: bool) -> None:
        """Whether nobody hears it; what waits is forgotten. `KeyError` for one that is no member,
        here and below."""
        with self._lock:
            member = self._members[session_id]
            member.muted = muted
            if muted:
                member.active = False
                member.queue.clear()
                self._reading.pop(session_id, None)

    def set_deaf(self, session_id: str, deaf: bool) -> None:
        """Whether it hears nobody."""
        with self._lock:
            member = self._members[session_id]
            member.deaf = deaf
            if deaf:
                member.heard = None
                member.outbox.clear()
            member.room.changed()

    def set_audience(self, session_id: str, listeners: Collection[str] | None) -> None:
        """Who of its room hears it, by session id; None is everybody."""
        audience = None if listeners is None else frozenset(listeners)
        with self._lock:
            self._members[session_id].audience = audience

    def source_statistics(self, session_id: str) -> SourceStatistics:
        """One member's queue; `KeyError` for one that is no member."""
        with self._lock:
            return self._members[session_id].figures()
