"""Which sessions exist, whose they are, and which of the streamers they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from salon.base import IdFactory
from salon.testing.odyssey.exchange import Refusal, usage_detail
from salon.testing.odyssey.settings import StandInSettings


@dataclass(slots=True)
class Session:
    """One streamer, held for one client. Times in Unix seconds."""

    id: str
    owner: str
    made_at: float
    streamer: str
    region: str
    latencies: Mapping[str, int] = field(default_factory=dict)
    opened_at: float | None = None
    """When its socket opened."""
    tokens: int = 0
    """Session tokens made for it (O15)."""


class Sessions:
    """The streamers and who has them."""

    def __init__(self, settings: StandInSettings, ids: IdFactory) -> None:
        self._settings = settings
        self._ids = ids
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __getitem__(self, session_id: str) -> Session:
        return self._sessions[session_id]

    def request(self, owner: str, latencies: Mapping[str, int], now: float) -> Session:
        """Take a free streamer (O17). `Refusal` 503 if there is none, 429 if the account has
        enough of them."""
        self._forget_unclaimed(now)
        most = self._settings.sessions_per_account
        held = sum(session.owner == owner for session in self._sessions.values())
        if most is not None and held >= most:
            detail = usage_detail(
                "CONCURRENT_LIMIT_REACHED",
                f"{held} of {most} sessions are in use",
                "End one of them first",
                details={"active_count": held, "limit": most},
            )
            raise Refusal(429, detail)
        return self._add(self._ids(), owner, latencies, now)

    def _add(self, id_: str, owner: str, latencies: Mapping[str, int], now: float) -> Session:
        taken = {session.streamer for session in self._sessions.values()}
        names = (f"streamer-{n}" for n in range(self._settings.streamers))
        free = next((name for name in names if name not in taken), None)
        if free is None:
            raise Refusal(503, "No streamers available")
        regions = self._settings.regions or ("local",)
        nearest = min(regions, key=lambda name: latencies.get(name, 9999))
        session = Session(id_, owner, now, free, nearest, latencies)
        self._sessions[session.id] = session
        return session

    def owned(self, session_id: str, owner: str, now: float) -> Session:
        """A session of this account; `Refusal` 404 (O21)."""
        self._forget_unclaimed(now)
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner:
            raise Refusal(404, "Session not found or not authorized")
        return session

    def open(self, session_id: str, now: float) -> Session:
        """Its socket opens. `Refusal` 404 for one that is over, 409 for one that is in use."""
        self._forget_unclaimed(now)
        session = self._sessions.get(session_id)
        if session is None:
            raise Refusal(404, "Session not found")
        if session.opened_at is not None:
            raise Refusal(409, "Session is in use")
        session.opened_at = now
        return session

    def open_tokenless(self, session_id: str, now: float) -> Session:
        """A socket for a session that nobody asked for (O9); `Refusal` as `open`, and 503."""
        self._forget_unclaimed(now)
        if session_id not in self._sessions:
            self._add(session_id, "tokenless", {}, now)
        return self.open(session_id, now)

    def release(self, session_id: str) -> None:
        """The streamer is free again; idempotent."""
        self._sessions.pop(session_id, None)

    def _forget_unclaimed(self, now: float) -> None:
        for session in list(self._sessions.values()):
            if session.opened_at is None and now - session.made_at > self._settings.claim_s:
                del self._sessions[session.id]
