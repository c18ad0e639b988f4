"""Which address a name from outside stands for, under a `UrlPolicy`."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

from salon.base import PolicyError, UrlPolicy


async def resolve_checked(policy: UrlPolicy, url: str) -> str | None:
    """The IP address to connect to, so that the host's name cannot mean another one a moment later;
    None where the policy leaves it open. Every address of the host is checked. `PolicyError`, also
    for a host that is not known."""
    policy.check(url)
    host = urlsplit(url).hostname or ""
    if host in policy.allowed_hosts or policy.allow_private:
        return None
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise PolicyError("the host is not known") from None
    for entry in found:
        policy.check_address(str(entry[4][0]))
    return str(found[0][4][0])
