"""What libdatachannel needs first: the library itself, the offer it is shown, its servers."""

from __future__ import annotations

import asyncio
import importlib
import logging
import platform
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from salon.base import MissingExtraError
from salon.transport.answer import RemoteTransport, answer_setup
from salon.transport.packets import IceServer

_log = logging.getLogger("salon.transport")

EXTRA: Final = "webrtc-native"
MODULE: Final = "libdatachannel"
OLDEST_PYTHON: Final = (3, 12)
OLDEST_GLIBC: Final = (2, 35)

GATHER_TIMEOUT_S = 3.0
"""For STUN and TURN servers, their names included."""
MID: Final = "0"


def load_library(
    *,
    version: tuple[int, ...] = sys.version_info[:2],
    system: str = sys.platform,
    libc: Callable[[], tuple[str, str]] = platform.libc_ver,
    load: Callable[[str], Any] = importlib.import_module,
) -> Any:
    """The library's module; `MissingExtraError` says why it can't be had."""

    def missing(reason: str) -> MissingExtraError:
        return MissingExtraError(EXTRA, f"WebRTC by libdatachannel ({reason})")

    if system == "win32":
        raise missing("there is none for Windows")
    if version < OLDEST_PYTHON:
        raise missing(f"it runs on Python 3.12 and later, not {version[0]}.{version[1]}")
    name, number = libc()
    if name == "glibc":
        found = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
        if found < OLDEST_GLIBC:
            raise missing(f"it runs on glibc 2.35 and later, not {number}")
    try:
        load("cryptography")
        return load(MODULE)
    except ImportError as error:
        raise missing(f"{error.name or MODULE}: {error}") from None


def minimal_offer(remote: RemoteTransport) -> str:
    """An offer of one audio section with the transport of the real one.

    Candidates follow one by one. The codec means nothing: packets pass as they are.
    """
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {MID}"]
    if remote.ice_lite:
        lines.append("a=ice-lite")
    fingerprint = next((one for one in remote.fingerprints if one.algorithm == "sha-256"), None)
    algorithm, value = fingerprint or remote.fingerprints[0]
    lines += [
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{MID}",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        f"a=ice-ufrag:{remote.ufrag}",
        f"a=ice-pwd:{remote.pwd}",
        f"a=fingerprint:{algorithm} {value}",
        # it is active where it may choose, as the answer says
        f"a=setup:{'actpass' if answer_setup(remote.setup, 'active') == 'active' else 'active'}",
    ]
    return "\r\n".join((*lines, ""))


@dataclass(frozen=True, slots=True)
class ResolvedServer:
    """A STUN server, or with a `username` a TURN server, by its IPv4 address."""

    address: str
    port: int
    username: str | None = None
    credential: str | None = None


async def resolve_servers(
    servers: tuple[IceServer, ...], *, timeout: float = GATHER_TIMEOUT_S
) -> list[ResolvedServer]:
    """What of `servers` the library can use, names looked up here because it would block.

    It knows TURN over UDP only, uses one STUN server and at most two TURN servers. A server that
    can't be used or found is left out with a line in the log.
    """
    wanted: list[tuple[str, int, IceServer, bool]] = []
    for server in servers:
        for url in server.urls:
            scheme, _, rest = url.partition(":")
            address, _, query = rest.partition("?")
            host, port = _host_and_port(address)
            transport = parse_qs(query).get("transport", ["udp"])[0]
            if scheme not in ("stun", "turn") or transport != "udp" or not host:
                _log.info("libdatachannel can't use the ICE server %s", url)
                continue
            wanted.append((host, port, server, scheme == "turn"))
    found: list[ResolvedServer] = []
    try:
        async with asyncio.timeout(timeout):
            for host, port, server, relay in wanted:
                if number := await _look_up(host, port):
                    found.append(
                        ResolvedServer(number, port, server.username or "", server.credential)
                        if relay
                        else ResolvedServer(number, port)
                    )
    except TimeoutError:
        _log.info("names of ICE servers were not found within %.0f s", timeout)
    return found


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port) if port.isdigit() else 3478


async def _look_up(host: str, port: int) -> str | None:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    except OSError as error:
        _log.info("the ICE server %s was not found: %s", host, error)
        return None
    return str(found[0][4][0])
