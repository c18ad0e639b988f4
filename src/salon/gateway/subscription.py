"""Both sides of a call as binary frames beside its own sound: `subscribe` (G48)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.gateway.commands import HangupReason
from salon.gateway.companions import Companion
from salon.gateway.options import CallOption
from salon.media.frame import Samples

if TYPE_CHECKING:
    from salon.gateway.session import Session

SERVER = b"\x00"
MAIN = b"\x01"
"""The first byte of a frame: which side is heard in the rest, s16le mono 16 kHz."""


class Subscription(Companion):
    """Sends what the caller says and what they hear, from the answer on.

    The frames share the bounded queue of the socket's sound: a client that reads too slowly loses
    the oldest, counted in `Session.dropped_audio`, and no event. No effect where a call's own sound
    comes in binary frames.
    """

    name = "subscribe"
    serves = frozenset({"subscribe"})

    def __init__(self) -> None:
        self._session: Session | None = None

    async def begin(self, session: Session, option: CallOption) -> None:
        """Remembers the wish."""
        if option.subscribe and session.call_type != "webSocket":
            self._session = session

    def answered(self) -> None:
        """From now on."""
        if self._session is not None:
            self._session.media.taps.append(self._said)
            self._session.media.played_taps.append(self._played)

    def _said(self, samples: Samples) -> None:
        self._send(MAIN, samples)

    def _played(self, frame: Samples) -> None:
        """The background alone is nobody's track."""
        session = self._session
        if session is None:
            return
        media = session.media
        if (
            media.background is None
            or media.player.current is not None
            or media.mix is not None
            or media.sources
        ):
            self._send(SERVER, frame)

    def _send(self, side: bytes, samples: Samples) -> None:
        session = self._session
        if session is not None and session.transport is not None:
            session.transport.send_sound(side + samples.astype("<i2", copy=False).tobytes())

    async def end(self, reason: HangupReason | str) -> None:
        """Sends no more."""
        del reason
        session, self._session = self._session, None
        if session is None:
            return
        for taps, tap in (
            (session.media.taps, self._said),
            (session.media.played_taps, self._played),
        ):
            if tap in taps:
                taps.remove(tap)
