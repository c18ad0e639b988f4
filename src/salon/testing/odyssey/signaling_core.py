"""One signaling socket: texts and time in, actions out (O26-O36)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from salon.testing.odyssey.settings import StandInSettings

START: Final = "interactive_stream_start"
MOST_WAITING: Final = 64
"""Candidates that come before the answer."""

_LOCAL_LINE = re.compile(r"a=candidate:\S+ \d+ \S+ \d+ \S+\.local .*\r?\n")


@dataclass(frozen=True, slots=True)
class TakeAnswer:
    """Give this SDP to the peer connection."""

    sdp: str


@dataclass(frozen=True, slots=True)
class TakeCandidate:
    """Give this candidate to the peer connection; `candidate` without ``candidate:``."""

    candidate: str
    mid: str | None
    index: int | None


@dataclass(frozen=True, slots=True)
class TakeStart:
    """A start that came over the socket (O50)."""

    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Say:
    """Send this message over the socket."""

    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hang:
    """The connection ends: release the streamer, close the socket."""

    code: int
    reason: str


Action = TakeAnswer | TakeCandidate | TakeStart | Say | Hang


class SignalingCore:
    """What the server does with a socket. `now` are seconds of any clock that only goes on."""

    def __init__(self, settings: StandInSettings, now: float) -> None:
        self.answered = False
        self.left = False
        """The client has said that it goes."""
        self.keepalives = 0
        self.ignored = 0
        """Messages that say nothing we know (O28), or are no JSON objects."""
        self.unresolvable = 0
        """Candidates that name a host by an mDNS name (O41)."""
        self._settings = settings
        self._opened = now
        self._heard = now
        self._idle_since: float | None = now
        self._over = False
        self._waiting: list[TakeCandidate] = []

    def received(self, text: str, now: float) -> list[Action]:
        """One message of the client. What is not understood is counted and ignored."""
        self._heard = now
        message = _object(text)
        kind = message.get("type") if message is not None else None
        if message is None or self._over:
            self.ignored += 1
            return []
        if kind == "answer" and isinstance(message.get("sdp"), str) and not self.answered:
            return self._answer(message["sdp"])
        if kind == "ice_candidate":
            return self._candidate(message)
        if kind == START:
            return [TakeStart(message)]
        if kind == "keepalive":
            self.keepalives += 1
            return []
        if kind == "client_disconnecting":
            self.left = True
            return self._hang(1000, "Client disconnect")
        self.ignored += 1
        return []

    def _answer(self, sdp: str) -> list[Action]:
        self.answered = True
        plain, removed = _LOCAL_LINE.subn("", sdp)
        self.unresolvable += removed
        waiting, self._waiting = self._waiting, []
        return [TakeAnswer(plain), *waiting]

    def _candidate(self, message: dict[str, Any]) -> list[Action]:
        text, mid = message.get("candidate"), message.get("sdpMid")
        index = message.get("sdpMLineIndex")
        if not isinstance(text, str) or not text.strip():
            return []
        fields = text.strip().removeprefix("a=").removeprefix("candidate:").split()
        if len(fields) < 8:
            self.ignored += 1
            return []
        if fields[4].endswith(".local"):
            self.unresolvable += 1
            return []
        whole = isinstance(index, int) and not isinstance(index, bool)
        taken = TakeCandidate(
            " ".join(fields),
            mid if isinstance(mid, str) else None,
            index if whole else None,
        )
        if self.answered:
            return [taken]
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(taken)
        else:
            self.ignored += 1
        return []

    def stream_runs(self, running: bool, now: float) -> None:
        """A stream began or ended, which the limit on idling wants to know."""
        self._idle_since = None if running else now

    def due(self) -> float:
        """When `tick` has something to do at the earliest."""
        limits = [self._heard + self._settings.silence_s]
        if self._settings.connection_s is not None:
            limits.append(self._opened + self._settings.connection_s)
        if self._settings.idle_s is not None and self._idle_since is not None:
            limits.append(self._idle_since + self._settings.idle_s)
        return min(limits)

    def tick(self, now: float) -> list[Action]:
        """Ends what has lasted, idled or been silent too long (O35, O58a)."""
        if self._over or now < self.due():
            return []
        whole, idle = self._settings.connection_s, self._settings.idle_s
        if whole is not None and now >= self._opened + whole:
            said = Say({"type": "error", "reason": "duration_limit_reached"})
            return [said, *self._hang(1000, "duration limit reached")]
        if now >= self._heard + self._settings.silence_s:
            return self._hang(1001, "the client is silent")
        if idle is not None and self._idle_since is not None and now >= self._idle_since + idle:
            return self._hang(1000, "no stream was started")
        return []

    def _hang(self, code: int, reason: str) -> list[Action]:
        self._over = True
        return [Hang(code, reason)]


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
