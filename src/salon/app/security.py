"""Who may ask what: one set of checks for HTTP, WebSockets and media sockets alike.

`Gate` judges a request by its headers alone and knows no framework; `middleware` puts it before
the ASGI application, `check_upgrade` before the media sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from salon.app.access import MEDIA_PATHS, confined, reaches
from salon.app.caller import caller
from salon.app.credentials import Credentials
from salon.base import BrowserPolicy, Principal, is_loopback
from salon.base.browser import SAFE_METHODS
from salon.transport.sockets import Acceptor, Refusal, SocketHandler, UpgradeRequest

STATE_CHANGING_GETS = ("/kill/", "/call/kill/")
"""Paths that change something although they are asked for by GET (G201)."""

OPEN_PATHS = frozenset({"/health", "/ready", "/api/info", "/api/login", "/api/logout"})
"""Paths that need no credential; the page's own files are added."""

WEBHOOKS = "/webhooks/"
"""What is posted below here proves itself by its own signature (R216)."""

_KEY_HINT = "send the API key as 'Authorization: Bearer' or 'X-API-Key'"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the gate sees it. Header names are lower case; `method` of a WebSocket is
    ``"WEBSOCKET"``; `client` is the peer's address, None for a local socket file; `token` what the
    query says under that name."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: str | None
    token: str = ""


class Gate:
    """Decides over requests. `open_paths` are answered without a credential."""

    def __init__(
        self,
        policy: BrowserPolicy,
        credentials: Credentials,
        open_paths: frozenset[str] = OPEN_PATHS,
        pages: frozenset[str] = frozenset(),
    ) -> None:
        self.policy = policy
        self.credentials = credentials
        self.pages = pages
        self.open_paths = open_paths | pages

    def refuse(self, asked: Asked) -> Refusal | None:
        """Why this request gets nothing, or None."""
        return self.refuse_sender(asked) or self.refuse_credential(asked)

    def refuse_sender(self, asked: Asked) -> Refusal | None:
        """The part of `refuse` that looks at where the request comes from."""
        reason = (
            self._refuse_exposed(asked)
            or self.policy.refuse_host(asked.headers.get("host"))
            or self._refuse_page(asked)
        )
        return None if reason is None else Refusal(403, reason)

    def refuse_credential(self, asked: Asked) -> Refusal | None:
        """The part of `refuse` that asks for a credential."""
        if asked.method == "OPTIONS" or asked.path in self.open_paths:
            return None
        if asked.method == "POST" and asked.path.startswith(WEBHOOKS):
            return None
        principal = self.principal(asked)
        if principal is None:
            return Refusal(
                401, f"a valid API key is needed: {_KEY_HINT}", {"WWW-Authenticate": "Bearer"}
            )
        if not reaches(principal, asked.method, asked.path):
            return Refusal(403, "this credential does not open this path")
        return None

    def principal(self, asked: Asked) -> Principal | None:
        return self.credentials.principal(asked.headers, asked.token)

    def _refuse_exposed(self, asked: Asked) -> str | None:
        """Without a key only this machine is answered, whatever address the server listens on and
        whichever proxy of this machine brings the request."""
        if self.credentials.required:
            return None
        forwarded = asked.headers.get("x-forwarded-for", "").split(",")
        senders = [asked.client or "", *(address.strip() for address in forwarded)]
        if all(is_loopback(address) for address in senders if address):
            return None
        return "without SALON_API_KEY this server answers its own machine only"

    def _refuse_page(self, asked: Asked) -> str | None:
        headers = asked.headers
        if asked.method in SAFE_METHODS and not asked.path.startswith(STATE_CHANGING_GETS):
            return self._refuse_foreign_read(asked)
        reason = self.policy.refuse_origin(headers)
        if reason is None and asked.method in SAFE_METHODS and "origin" not in headers:
            reason = self._refuse_referer(headers)
        return reason

    def _refuse_foreign_read(self, asked: Asked) -> str | None:
        """A foreign page may link to our page; it may neither embed nor fetch anything."""
        site = asked.headers.get("sec-fetch-site", "none")
        if site not in {"cross-site", "same-site"}:
            return None
        link = asked.headers.get("sec-fetch-dest") == "document"
        if link and asked.path in self.pages:
            return None
        if asked.headers.get("origin", "").lower() in self.policy.origins:
            return None
        return f"a {site} page may not read this"

    def _refuse_referer(self, headers: Mapping[str, str]) -> str | None:
        """Browsers without `Sec-Fetch-Site` send no `Origin` with an image, but a `Referer`."""
        referer = headers.get("referer")
        if referer is None or "sec-fetch-site" in headers:
            return None
        try:
            parts = urlsplit(referer)
            origin = f"{parts.scheme}://{parts.netloc}"
        except ValueError:
            origin = "null"
        return self.policy.refuse_origin({**headers, "origin": origin})


def check_upgrade(gate: Gate, request: UpgradeRequest) -> Refusal | None:
    """The gate's word on a media socket, before anything else is decided about it."""
    return gate.refuse(_asked(request))


def _asked(request: UpgradeRequest) -> Asked:
    client = request.client[0] if request.client else None
    token = request.query.get("token", "")
    return Asked("WEBSOCKET", request.path, request.headers, client, token)


def admitted(
    acceptor: Acceptor, principal: Principal, request: UpgradeRequest
) -> SocketHandler | Refusal | None:
    """What `acceptor` says to this caller, who gets no further than they may."""
    narrowed = confined(principal, request) if request.path in MEDIA_PATHS else request
    if isinstance(narrowed, Refusal):
        return narrowed
    with caller(principal):
        return acceptor(narrowed)


def guarded(gate: Gate, acceptor: Acceptor, on_refused: Callable[[Refusal], None]) -> Acceptor:
    """`acceptor` behind the gate. What `acceptor` leaves to the web framework is checked there."""

    def accept(request: UpgradeRequest) -> SocketHandler | Refusal | None:
        asked = _asked(request)
        decision: SocketHandler | Refusal | None = gate.refuse(asked)
        principal = gate.principal(asked)
        if decision is None and principal is not None:
            decision = admitted(acceptor, principal, request)
        if isinstance(decision, Refusal):
            on_refused(decision)
        return decision

    return accept
