"""Egress as the socket shows it: signals and playback states instead of keyframes (A61, A103)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.testing.avatar import wire
from salon.testing.avatar.playout import Playout
from salon.testing.avatar.request import Request
from salon.testing.avatar.settings import PLAYBACK_CONTROL, PLAYBACK_STATE

EXPLICIT: Final = "explicit"
PAUSE_TIMEOUT: Final = "pause_timeout"


class EgressStage:
    """Plays one request after another in time that passes; nothing is heard anywhere."""

    def __init__(
        self, connection_id: str, capabilities: Iterable[str], pause_timeout_s: float
    ) -> None:
        self._connection_id = connection_id
        named = frozenset(capabilities)
        self._control = PLAYBACK_CONTROL in named
        self._states = PLAYBACK_STATE in named
        self._pause_timeout_s = pause_timeout_s
        self._playout: Playout | None = None

    def advance(self, head: Request, now: float) -> tuple[list[bytes], bool]:
        """Messages to send, and whether `head` is over. `MediaError` if its sound is damaged."""
        messages: list[bytes] = []
        if head.has_work:
            before = head.seconds
            head.work()
            head.keyframes.clear()
            messages = self._more(head, head.seconds - before, now)
        playout = self._playout
        if playout is None:
            if head.worked_off:  # no sound at all
                return [*messages, self._signal(head, end=True)], True
            return messages, False
        playout.complete = head.worked_off
        held = playout.held_since
        if held is not None and now >= held + self._pause_timeout_s:
            return [*messages, *self.stop(head, now, PAUSE_TIMEOUT)], True
        if not playout.drained(now):
            return messages, False
        messages += self._state(head, pb.PLAYBACK_STATE_ENDED, now)
        self._playout = None
        return [*messages, self._signal(head, end=True)], True

    def _more(self, head: Request, seconds: float, now: float) -> list[bytes]:
        if not seconds:
            return []
        if self._playout is not None:
            self._playout.add(seconds, now)
            return []
        self._playout = Playout(now)
        self._playout.add(seconds, now)
        playing = self._state(head, pb.PLAYBACK_STATE_PLAYING, now)
        return [self._signal(head, end=False), *playing]

    def pause(self, head: Request, now: float) -> list[bytes]:
        """Hold the playout; the answer says where it stands."""
        if not self._control or self._playout is None:
            return []
        self._playout.pause(now)
        return self._state(head, pb.PLAYBACK_STATE_PAUSED, now)

    def resume(self, head: Request, now: float) -> list[bytes]:
        """Go on; the answer says where it stands."""
        if not self._control or self._playout is None:
            return []
        self._playout.resume(now)
        return self._state(head, pb.PLAYBACK_STATE_PLAYING, now)

    def stop(self, head: Request, now: float, reason: str = EXPLICIT) -> list[bytes]:
        """End the playout of `head` at once."""
        head.abandon()
        messages = self._state(head, pb.PLAYBACK_STATE_INTERRUPTED, now, reason)
        self._playout = None
        return [*messages, self._signal(head, end=True)]

    def wake_at(self) -> float | None:
        """When `advance` has something to do without new sound."""
        playout = self._playout
        if playout is None:
            return None
        if playout.held_since is not None:
            return playout.held_since + self._pause_timeout_s
        return playout.wake_at()

    def _signal(self, head: Request, *, end: bool) -> bytes:
        return wire.signal(self._connection_id, head.req_id, end=end)

    def _state(
        self, head: Request, state: pb.PlaybackState, now: float, reason: str = ""
    ) -> list[bytes]:
        if not self._states:
            return []
        played = 0 if self._playout is None else round(self._playout.position(now) * 1000)
        return [wire.playback_state(self._connection_id, head.req_id, state, played, reason)]
