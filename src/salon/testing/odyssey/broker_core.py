"""The broker's HTTP interface: requests in, replies out; no socket, no clock.

Rules O11 to O25, O88 to O98, O103 to O105.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from salon.testing.odyssey.archive import Archive
from salon.testing.odyssey.exchange import Refusal, Reply, Request, is_number, whole_number
from salon.testing.odyssey.jobs import STATUSES, Job, JobBook, described, detailed
from salon.testing.odyssey.sessions import Sessions
from salon.testing.odyssey.settings import Account, StandInSettings
from salon.testing.odyssey.tokens import Signer, TokenError

CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Range, If-Match",
    "Access-Control-Expose-Headers": "Location, Link, ETag, Content-Range, Retry-After",
    "Access-Control-Max-Age": "600",
}
"""On every reply, errors included (O24)."""

_KEY = re.compile(r"ody_[A-Za-z0-9_-]{8,200}")
ACCESS: Final = "access"
SESSION: Final = "session"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a bearer token belongs to."""

    key: str
    account: Account

    @property
    def name(self) -> str:
        """Whose recordings, sessions and jobs these are."""
        return self.account.name


class BrokerCore:
    """Answers requests. `now` is always Unix seconds."""

    def __init__(
        self,
        settings: StandInSettings,
        signer: Signer,
        sessions: Sessions,
        archive: Archive,
        jobs: JobBook,
    ) -> None:
        self.origin = ""
        """``http://host:port``; what addresses in replies begin with."""
        self.ice_servers: list[dict[str, Any]] = []
        self.telemetry: deque[dict[str, Any]] = deque(maxlen=settings.most_kept)
        """The newest events; keys of accounts cut from them (O105)."""
        self._settings = settings
        self._signer = signer
        self._sessions = sessions
        self._archive = archive
        self._jobs = jobs
        self._accounts = {account.name: key for key, account in settings.accounts.items()}

    @staticmethod
    def route(method: str, path: str) -> tuple[str, dict[str, str]]:
        """The name of what is asked (`faults.ROUTES`) and the ids in its path.
        `Refusal` 404 for an unknown path, 405 for a method it does not have."""
        known = False
        for route_method, pattern, name in _ROUTES:
            if found := pattern.fullmatch(path):
                if route_method == method:
                    return name, found.groupdict()
                known = True
        raise Refusal(405, "Method Not Allowed") if known else Refusal(404, "Not Found")

    def answer(self, request: Request, now: float) -> Reply:
        """The reply to one request; it never raises for what a client sends."""
        try:
            name, ids = self.route(request.method, request.path)
            handler = getattr(self, "_" + name.replace(".", "_"))
            if name in _OPEN:
                reply: Reply = handler(request, now, **ids)
            else:
                reply = handler(request, self._caller(request, now), now, **ids)
        except Refusal as refusal:
            return refusal.reply()
        return reply

    def _caller(self, request: Request, now: float) -> Caller:
        """Who asks; `Refusal` 401 (checklist 10)."""
        try:
            claims = self._signer.claims(ACCESS, request.bearer(), now=now)
        except TokenError:
            raise Refusal(401, "Invalid or expired access token") from None
        key = self._accounts.get(str(claims.get("sub")), "")
        account = self._settings.accounts.get(key)
        if account is None:
            raise Refusal(401, "Invalid or expired access token")
        return Caller(key, account)

    def session_of(self, session_id: str, token: str, now: float) -> str:
        """The owner that a session token names; `Refusal` 401 for a bad token, 403 for one of
        another session (O22)."""
        try:
            claims = self._signer.claims(SESSION, token, now=now)
        except TokenError as error:
            raise Refusal(401, f"Invalid session token: {error}") from None
        if claims.get("session_id") != session_id:
            raise Refusal(403, "The session token belongs to another session")
        return str(claims.get("sub"))

    # -- open to everybody ---------------------------------------------------------------------

    def _auth_token(self, request: Request, now: float) -> Reply:
        key = request.json_object().get("api_key")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise Refusal(422, "api_key must begin with ody_")
        account = self._settings.accounts.get(key)
        if account is None:
            raise Refusal(401, "Invalid API key")
        if account.suspended is not None:
            raise Refusal(403, account.suspended)
        lasts = self._settings.access_token_s
        token = self._signer.token(ACCESS, {"sub": account.name}, expires=now + lasts)
        return Reply(200, {"access_token": token, "expires_in": lasts})

    def _ping(self, request: Request, now: float, region: str) -> Reply:
        if region not in self._settings.regions:
            raise Refusal(404, "no such region")
        return Reply(200, {"region": region})

    def _config(self, request: Request, now: float) -> Reply:
        return Reply(200, {"iceServers": self.ice_servers})

    def _telemetry(self, request: Request, now: float) -> Reply:
        events = request.json_object().get("events")
        if not isinstance(events, list):
            raise Refusal(422, "events must be a list")
        for event in events[: self._settings.most_kept]:
            if isinstance(event, dict):
                kept = {name: value for name, value in event.items() if name != "api_key_prefix"}
                self.telemetry.append(kept)
        return Reply(202, {"accepted": len(events)})

    # -- sessions ------------------------------------------------------------------------------

    def _regions(self, request: Request, caller: Caller, now: float) -> Reply:
        regions = [
            {"id": name, "ping_url": f"{self.origin}/ping/{name}"}
            for name in self._settings.regions
        ]
        return Reply(200, {"regions": regions})

    def _sessions_request(self, request: Request, caller: Caller, now: float) -> Reply:
        latencies = request.json_object().get("region_latencies", {})
        if not isinstance(latencies, dict) or not all(map(is_number, latencies.values())):
            raise Refusal(422, "region_latencies must be numbers by region")
        whole = {name: int(value) for name, value in latencies.items()}
        session = self._sessions.request(caller.name, whole, now)
        return Reply(
            200,
            {
                "session_id": session.id,
                "signalling_url": self.origin.replace("http", "ws", 1),
                "capabilities": {"image_to_video": self._settings.image_to_video},
                "streamer_id": session.streamer,
                "region": session.region,
            },
        )

    def _sessions_token(self, request: Request, caller: Caller, now: float) -> Reply:
        session_id = request.json_object().get("session_id")
        if not isinstance(session_id, str) or not session_id:
            raise Refusal(422, "session_id must be a string")
        session = self._sessions.owned(session_id, caller.name, now)
        session.tokens += 1
        lasts = self._settings.session_token_s
        claims = {"session_id": session.id, "sub": caller.name, "n": session.tokens}
        token = self._signer.token(SESSION, claims, expires=now + lasts)
        return Reply(200, {"session_token": token, "expires_in": lasts})

    # -- recordings and simulations ------------------------------------------------------------

    def _recordings_get(self, request: Request, caller: Caller, now: float, id: str) -> Reply:
        return Reply(200, self._archive.recording(id, caller.name, now))

    def _recordings_list(self, request: Request, caller: Caller, now: float) -> Reply:
        limit, offset = _page(request)
        return Reply(200, self._archive.listed(caller.name, limit=limit, offset=offset))

    def _jobs_submit(self, request: Request, caller: Caller, now: float) -> Reply:
        body = request.json_object()
        job = self._jobs.submit(caller.name, caller.account, body, now)
        return Reply(201, described(job))

    def _jobs_list(self, request: Request, caller: Caller, now: float) -> Reply:
        limit, offset = _page(request)
        status, active = request.query.get("status"), request.query.get("active")
        if status is not None and status not in STATUSES:
            raise Refusal(422, f"status must be one of {', '.join(STATUSES)}")
        if active is not None and active not in ("true", "false"):
            raise Refusal(422, "active must be true or false")
        wanted = None if active is None else active == "true"
        found = self._jobs.listed(
            caller.name, status=status, active=wanted, limit=limit, offset=offset
        )
        return Reply(200, found)

    def _jobs_get(self, request: Request, caller: Caller, now: float, id: str) -> Reply:
        refusal = "Not authorized to access this simulation job"
        return Reply(200, self._detailed(self._jobs.owned(id, caller.name, refusal), now))

    def _jobs_cancel(self, request: Request, caller: Caller, now: float, id: str) -> Reply:
        return Reply(200, self._detailed(self._jobs.cancel(id, caller.name, now), now))

    def _detailed(self, job: Job, now: float) -> dict[str, Any]:
        return detailed(job, lambda kept: self._archive.described(kept, now))


def _page(request: Request) -> tuple[int, int]:
    """`limit` and `offset` of a list (O96)."""
    limit = whole_number(request.query.get("limit", 20), "limit", least=1, most=100)
    return limit, whole_number(request.query.get("offset", 0), "offset", least=0)


def _route(method: str, path: str, name: str) -> tuple[str, re.Pattern[str], str]:
    return method, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), name


_OPEN: Final = frozenset({"auth.token", "ping", "config", "telemetry"})
_ROUTES: Final = (
    _route("POST", "/auth/token", "auth.token"),
    _route("GET", "/regions", "regions"),
    _route("GET", "/ping/{region}", "ping"),
    _route("GET", "/config", "config"),
    _route("POST", "/telemetry", "telemetry"),
    _route("POST", "/sessions/request", "sessions.request"),
    _route("POST", "/sessions/token", "sessions.token"),
    _route("GET", "/recordings/{id}", "recordings.get"),
    _route("GET", "/stream-recordings", "recordings.list"),
    _route("POST", "/simulation-jobs", "jobs.submit"),
    _route("GET", "/simulation-jobs", "jobs.list"),
    _route("GET", "/simulation-jobs/{id}", "jobs.get"),
    _route("DELETE", "/simulation-jobs/{id}", "jobs.cancel"),
)
