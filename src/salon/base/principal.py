"""Who is asking: the outcome of checking a credential."""

from __future__ import annotations

import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoomGrant:
    """What a room token opens: one room, as one participant, until `expires` (Unix seconds).

    `made_at` is the room's time of creation, so that a room made later under the same id stays
    shut. Without `writes` its holder only reads.
    """

    room_id: str
    made_at: str
    participant_id: str
    expires: int
    name: str | None = None
    writes: bool = True


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller.

    `kind` is ``"local"`` (loopback, no key set), ``"key"`` (the API key, or a login with it),
    ``"organization"`` (a key of `organization_id`) or ``"room"`` (a token; see `grant`).
    """

    id: str
    kind: str
    organization_id: str | None = None
    grant: RoomGrant | None = None


LOCAL = Principal("local", "local")


def keys_equal(given: str, expected: str) -> bool:
    """Compare two credentials without telling by timing where they differ."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )
