"""Which Close frame an avatar session tells of when both sides sent one: A65."""

from __future__ import annotations

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from salon.clients.avatarkit.session_socket import closed_error

THEIRS, OURS = Close(4001, "credits exhausted"), Close(1009, "too big")


@pytest.mark.parametrize(
    ("theirs", "ours", "code", "reason"),
    [
        (THEIRS, OURS, 4001, "credits exhausted"),
        (THEIRS, None, 4001, "credits exhausted"),
        (None, OURS, 1009, "too big"),
        (None, None, None, None),
    ],
)
def test_A65_the_servers_close_frame_counts_before_our_own(
    theirs: Close | None, ours: Close | None, code: int | None, reason: str | None
) -> None:
    order = False if theirs is not None and ours is not None else None
    error = closed_error(ConnectionClosedError(theirs, ours, order))
    assert (error.close_code, error.close_reason) == (code, reason)
