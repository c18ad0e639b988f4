"""What names, paths and URLs from outside may become. Nothing here opens a file or a socket."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from salon.base.errors import PolicyError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def safe_name(name: str, *, limit: int = 96) -> str:
    """A file name made from an identifier from outside (G213 Target).

    Letters, digits, dot, dash and underscore stay; a name that had to be changed gets a hash of
    the original behind it, so that two different ids never share a file.
    """
    cleaned = _UNSAFE.sub("_", name).lstrip(".")
    if cleaned == name and 0 < len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{cleaned[:limit]}-{digest}" if cleaned else digest


def resolve_below(root: Path, name: str) -> Path:
    """`name` as a path below `root`, links followed; `PolicyError` if it leads outside."""
    base = root.resolve()
    try:
        target = (base / name).resolve()
    except (OSError, ValueError) as error:
        raise PolicyError(f"not a usable path: {name!r}") from error
    if target != base and base not in target.parents:
        raise PolicyError(f"path leaves its folder: {name!r}")
    return target


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """Which URLs given from outside the server may open.

    Only `schemes`; never credentials inside the URL; private, loopback and link-local addresses
    only if `allow_private`. Host names are checked again by `check_address` after resolution.
    """

    schemes: frozenset[str] = frozenset({"http", "https"})
    allow_private: bool = False
    allowed_hosts: frozenset[str] = field(default_factory=frozenset)

    def check(self, url: str) -> str:
        """Return `url` if it may be opened, else raise `PolicyError`."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError as error:
            raise PolicyError(f"not a URL: {url!r}") from error
        if parts.scheme.lower() not in self.schemes:
            raise PolicyError(f"scheme {parts.scheme!r} is not allowed, use {sorted(self.schemes)}")
        if not host:
            raise PolicyError("URL has no host")
        if parts.username is not None or parts.password is not None:
            raise PolicyError("URL must not carry credentials")
        if host.lower() in self.allowed_hosts:
            return url
        try:
            self.check_address(host)
        except ValueError:
            if host.lower() == "localhost" and not self.allow_private:
                raise PolicyError("address localhost is private") from None
        return url

    def check_address(self, address: str) -> None:
        """Refuse a private IP address; `ValueError` if `address` is not an IP address."""
        ip = ipaddress.ip_address(address)
        if not self.allow_private and not ip.is_global:
            raise PolicyError(f"address {address} is private")


EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # nosec B104 - names it, binds nothing
"""Ways to write "all interfaces" as an address to listen on."""
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether binding to `host` keeps a server on this machine."""
    if host in LOOPBACK_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(authority: str) -> str:
    """The host part of ``host[:port]``, lower case, IPv6 brackets removed."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return ""


def lower_all(names: Iterable[str]) -> frozenset[str]:
    """The names as a lower-case set, blanks dropped."""
    return frozenset(name.strip().lower() for name in names if name.strip())
