"""What a web page may ask of us: the `Host`, `Origin` and `Sec-Fetch-Site` rules.

A server on loopback is reachable from every page the user has open. Three checks stop that:
the `Host` must be one of ours (DNS rebinding), a WebSocket's or a state-changing request's
`Origin` must be ours, and a request the browser itself calls cross-site is refused.
Programs send neither `Origin` nor `Sec-Fetch-Site` and are judged by credentials alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from salon.base.policy import LOOPBACK_HOSTS, host_of

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class BrowserPolicy:
    """`hosts`: allowed host names beside loopback; `origins`: allowed origins beside same-origin.

    A host of ``"*"`` switches the host check off (a proxy in front of us does it).
    """

    hosts: frozenset[str] = field(default_factory=frozenset)
    origins: frozenset[str] = field(default_factory=frozenset)

    def refuse_host(self, host: str | None) -> str | None:
        """Why a request with this `Host` header is refused, or None."""
        if "*" in self.hosts:
            return None
        name = host_of(host or "")
        if name in LOOPBACK_HOSTS or name in self.hosts:
            return None
        return f"host {name or '(none)'!r} is not served here; add it to SALON_ALLOWED_HOSTS"

    def refuse_origin(self, headers: Mapping[str, str]) -> str | None:
        """Why a state-changing request or a WebSocket is refused, or None.

        `headers` has lower-case names.
        """
        site = headers.get("sec-fetch-site", "")
        origin = headers.get("origin")
        if origin is None:
            if site in {"cross-site", "same-site"}:
                return f"a {site} page may not do this"
            return None
        if origin.lower() in self.origins:
            return None
        if self._same_origin(origin, headers.get("host", "")):
            return None
        return f"origin {origin!r} is not allowed; add it to SALON_ALLOWED_ORIGINS"

    @staticmethod
    def _same_origin(origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return (
            bool(host)
            and parts.scheme in {"http", "https"}
            and parts.netloc.lower() == host.lower()
        )
