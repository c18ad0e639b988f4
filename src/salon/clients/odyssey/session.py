"""The client's side of a session: what to do when, without sockets, tasks, futures or a clock.

Events and the monotonic time go in; `Action`s come out, to be carried out in order. The driver asks
`deadline` and calls `tick` then. It feeds events of the connection there is only: after a `HangUp`
nothing more of what was hung up, after `Negotiate` nothing more of the link before.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from salon.clients.odyssey import messages
from salon.clients.odyssey.actions import (
    Action,
    AddCandidate,
    Connected,
    ConnectFailed,
    Dial,
    HangUp,
    Negotiate,
    Notify,
    Prepare,
    SendSignal,
)
from salon.clients.odyssey.errors import (
    OdysseyAuthError,
    OdysseyConnectionError,
    OdysseyError,
    OdysseyStreamError,
    OdysseyUsageError,
    plain_text,
)
from salon.clients.odyssey.pending import CallKind
from salon.clients.odyssey.retry import RetrySchedule, SessionLimits
from salon.clients.odyssey.stream import StreamCore, report
from salon.clients.odyssey.types import ConnectionStatus

_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001


class Route(Enum):
    """How a session is come by."""

    BROKER = "broker"
    CREDENTIALS = "credentials"
    DIRECT = "direct"


class Phase(Enum):
    """Where the session stands; finer than `ConnectionStatus`."""

    IDLE = "idle"
    PREPARING = "preparing"
    DIALING = "dialing"
    PAUSING = "pausing"
    NEGOTIATING = "negotiating"
    ESTABLISHED = "established"


class _Timer(Enum):
    RETRY = "retry"
    READY = "ready"
    SETTLE = "settle"
    CONTACT = "contact"
    KEEPALIVE = "keepalive"


_OPEN: Final = frozenset({Phase.NEGOTIATING, Phase.ESTABLISHED})
"""Phases with an open socket."""

_BEGINNING: Final[Mapping[Route, tuple[ConnectionStatus, str]]] = {
    Route.BROKER: (ConnectionStatus.AUTHENTICATING, "Connecting to Odyssey..."),
    Route.CREDENTIALS: (
        ConnectionStatus.CONNECTING,
        "Connecting with pre-minted credentials...",
    ),
    Route.DIRECT: (ConnectionStatus.CONNECTING, "Connecting to signaling server..."),
}
"""The first status of a connect (O71, O9)."""

_LASTING: Final = frozenset({"duration_limit_reached"})
"""Reasons of a signaling error for which a reconnect would be held against the user."""


class SessionCore:
    """One client's session, from one connect to the next.

    `status`, `session_id` and `last_applied_prompt` are what the client shows. Methods of events
    return actions. Calls to the streamer go to `stream`, after `require_connected`.
    """

    def __init__(
        self,
        schedule: RetrySchedule | None = None,
        limits: SessionLimits | None = None,
    ) -> None:
        self.status = ConnectionStatus.DISCONNECTED
        self.phase = Phase.IDLE
        self.session_id: str | None = None
        self.stream = StreamCore()
        self.ignored = 0
        """Messages of types nobody knows (O28) and candidates before an offer (O42)."""
        self._schedule = schedule or RetrySchedule()
        self._limits = limits or SessionLimits()
        self._timers: dict[_Timer, float] = {}
        self._route = Route.BROKER
        self._reconnect = False
        self._failures = 0
        self._offered = False
        self._video = False
        self._channel = False
        self._established_at = 0.0
        self._trouble: OdysseyError | None = None

    @property
    def session_stands(self) -> bool:
        """Whether there is a connection."""
        return self.phase is Phase.ESTABLISHED

    # -- connecting -------------------------------------------------------------------------------

    def begin(self, route: Route, now: float, *, reconnect: bool = False) -> list[Action]:
        """`connect()` is called. `OdysseyConnectionError` while an attempt is under way (O64)."""
        if self.status is ConnectionStatus.CONNECTED:
            return [Connected()]
        if self.phase is not Phase.IDLE:
            raise OdysseyConnectionError(f"Already {self.status.value}")
        self._route = route
        self._reconnect = reconnect
        self._failures = 0
        self.session_id = None
        self.phase = Phase.PREPARING
        return [*self._become(*_BEGINNING[route]), Prepare()]

    def prepared(self, session_id: str, now: float) -> list[Action]:
        """There is a session."""
        if self.phase is not Phase.PREPARING:
            return []
        self.session_id = session_id
        if self._route is Route.BROKER and self.status is ConnectionStatus.AUTHENTICATING:
            told = self._become(ConnectionStatus.CONNECTING, "Connecting to signaling server...")
            return [*told, *self._dial()]
        return self._dial()

    def prepare_failed(self, error: OdysseyError, now: float) -> list[Action]:
        """There is none (O72)."""
        return self._fail(error, now) if self.phase is Phase.PREPARING else []

    def _dial(self) -> list[Action]:
        self.phase = Phase.DIALING
        if self.status is ConnectionStatus.RECONNECTING:
            return [Dial(self._failures)]
        return [*self._become(ConnectionStatus.CONNECTING), Dial(self._failures)]

    def dial_failed(self, error: OdysseyError, now: float) -> list[Action]:
        """No token or no socket: the only failure that is retried on connecting (O74a)."""
        if self.phase is not Phase.DIALING:
            return []
        if self.status is not ConnectionStatus.RECONNECTING and self._pause(now):
            return []
        return self._fail(error, now)

    def _pause(self, now: float) -> bool:
        """Whether another attempt comes; its timer is set then."""
        delay = self._schedule.delay_s(self._failures)
        if delay is None:
            return False
        self._failures += 1
        self.phase = Phase.PAUSING
        self._timers[_Timer.RETRY] = now + delay
        return True

    def socket_opened(self, now: float) -> list[Action]:
        """The signaling socket is open; now the server has to offer (O29)."""
        if self.phase is not Phase.DIALING:
            return []
        self.phase = Phase.NEGOTIATING
        self._offered = False
        self._unready(now)
        self._timers[_Timer.KEEPALIVE] = now + self._limits.keepalive_s
        return []

    def _unready(self, now: float) -> None:
        self._video = self._channel = False
        self._trouble = None
        self._timers.pop(_Timer.SETTLE, None)
        self._timers.pop(_Timer.CONTACT, None)
        self._timers[_Timer.READY] = now + self._limits.ready_s

    # -- the signaling socket ---------------------------------------------------------------------

    def socket_message(self, text: str | bytes, now: float) -> list[Action]:
        """One message of the server (O28)."""
        if self.phase not in _OPEN:
            return []
        try:
            message = messages.read(text)
        except (ValueError, RecursionError) as error:
            return [report(error)]
        match message.get("type"):
            case "offer":
                return self._offer(messages.text_of(message, "sdp"), now)
            case "ice_candidate":
                return self._candidate(message)
            case "error":
                return self._server_error(messages.error_reason(message), now)
        self.ignored += 1
        return []

    def _offer(self, sdp: str, now: float) -> list[Action]:
        if not sdp:
            return [report(ValueError("an offer without sdp"))]
        rejected: list[Action] = []
        if self._offered:  # what was sent over the link before is answered by nobody
            rejected = self.stream.close("The streamer made a new connection")
            self._unready(now)
        self._offered = True
        return [*rejected, Negotiate(sdp)]

    def _candidate(self, message: Mapping[str, Any]) -> list[Action]:
        candidate = messages.text_of(message, "candidate").strip()
        if not candidate:
            return []
        if not self._offered:
            self.ignored += 1
            return []
        index = message.get("sdpMLineIndex")
        usable = isinstance(index, int) and not isinstance(index, bool)
        mid = messages.optional_text(message, "sdpMid")
        return [AddCandidate(candidate, mid, index if usable else None)]

    def _server_error(self, reason: str, now: float) -> list[Action]:
        """O30, D12."""
        error = OdysseyConnectionError(messages.error_text(reason))
        return self._broken(error, now, lasting=reason in _LASTING)

    def socket_closed(self, code: int, reason: str, now: float) -> list[Action]:
        """The server closed the socket, or it broke (1006). In order or not: O33, D4."""
        if self.phase not in _OPEN:
            return []
        clean = code == _NORMAL or (code == _GOING_AWAY and not self._reconnect)
        if self.phase is Phase.ESTABLISHED and clean:
            return self._leave()
        text = f"Signaling disconnected: {reason}" if reason else ""
        error = OdysseyConnectionError(text or "Disconnected from signaling server")
        return self._broken(error, now, farewell=False)

    # -- the link ---------------------------------------------------------------------------------

    def answered(self, sdp: str, now: float) -> list[Action]:
        """The link has an answer to the offer."""
        return [SendSignal(messages.answer(sdp))] if self.phase in _OPEN else []

    def offer_failed(self, error: Exception, now: float) -> list[Action]:
        """The offer can't be answered. Another may come until the time for it is up (O74a)."""
        return [report(error)] if self.phase in _OPEN else []

    def video_announced(self, now: float) -> list[Action]:
        """The link will carry a picture."""
        self._video = True
        return self._ready(now)

    def channel_opened(self, now: float) -> list[Action]:
        """`clientToStreamer` is open."""
        self._channel = True
        return self._ready(now)

    def _ready(self, now: float) -> list[Action]:
        if self.phase not in _OPEN or not (self._video and self._channel):
            return []
        self._timers.pop(_Timer.READY, None)
        if self.phase is Phase.ESTABLISHED:
            return []
        self.phase = Phase.ESTABLISHED
        self._established_at = now
        told = self._become(ConnectionStatus.CONNECTED)
        return [*told, Notify("connected"), Connected()]

    def video_ended(self, now: float) -> list[Action]:
        """There will be no more pictures (D5)."""
        return self._suspect("The video track has ended", now)

    def link_changed(self, state: str, now: float) -> list[Action]:
        """The state of the peer connection, in the words of WebRTC (D5)."""
        if self.phase not in _OPEN:
            return []
        if state == "failed":
            return self._broken(OdysseyConnectionError("WebRTC connection failed"), now)
        if state == "closed":
            return self._suspect("WebRTC connection closed by the streamer", now)
        if state == "disconnected":
            self._timers.setdefault(_Timer.CONTACT, now + self._limits.disconnected_s)
        else:
            self._timers.pop(_Timer.CONTACT, None)
        return []

    def _suspect(self, text: str, now: float) -> list[Action]:
        if self.phase in _OPEN and self._trouble is None:
            self._trouble = OdysseyConnectionError(text)
            self._timers[_Timer.SETTLE] = now + self._limits.settle_s
        return []

    # -- the stream -------------------------------------------------------------------------------

    def require_connected(self, kind: CallKind) -> None:
        """`OdysseyStreamError` unless connected (O60)."""
        if self.status is not ConnectionStatus.CONNECTED:
            raise OdysseyStreamError(
                f"Cannot {kind.value}: client is {self.status.value}, expected connected"
            )

    def stream_message(self, text: str | bytes, now: float) -> list[Action]:
        """One message of the streamer on `streamerToClient`."""
        return self.stream.message(text) if self.phase in _OPEN else []

    @property
    def last_applied_prompt(self) -> str | None:
        """O53"""
        return self.stream.last_applied_prompt

    # -- time -------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When `tick` is to be called next; None if nothing is due ever."""
        times = [*self._timers.values()]
        due = self.stream.deadline()
        if due is not None:
            times.append(due)
        return min(times, default=None)

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = []
        for timer in _Timer:
            due = self._timers.get(timer)
            if due is not None and due <= now:
                del self._timers[timer]
                actions += self._elapsed(timer, now)
        return actions + self.stream.expire(now)

    def _elapsed(self, timer: _Timer, now: float) -> list[Action]:
        match timer:
            case _Timer.RETRY:
                if self.status is not ConnectionStatus.RECONNECTING:
                    return self._dial()
                self.phase = Phase.PREPARING
                return [Prepare()]
            case _Timer.READY:
                return self._broken(OdysseyConnectionError(self._missing()), now)  # O74, D3
            case _Timer.KEEPALIVE:
                self._timers[timer] = now + self._limits.keepalive_s
                return [SendSignal(messages.KEEPALIVE)]
            case _Timer.CONTACT:
                return self._broken(OdysseyConnectionError("WebRTC connection lost"), now)
            case _Timer.SETTLE:
                return [] if self._trouble is None else self._broken(self._trouble, now)

    def _missing(self) -> str:
        parts = (("video_track", self._video), ("data_channel", self._channel))
        missing = ", ".join(name for name, there in parts if not there)
        return f"Connection timed out waiting for: {missing}"

    # -- the end ----------------------------------------------------------------------------------

    def disconnect(self, now: float) -> list[Action]:
        """`disconnect()`, in any state (O63)."""
        if self.status is ConnectionStatus.DISCONNECTED:
            return []
        established = self.phase is Phase.ESTABLISHED
        waiting: list[Action] = []
        if not established:
            waiting = [ConnectFailed(OdysseyConnectionError("Connection closed"))]
        ended = self._leave(farewell=True)
        return [*waiting, *ended]

    def _leave(self, *, farewell: bool = False) -> list[Action]:
        """End in order."""
        established = self.phase is Phase.ESTABLISHED
        rejected = self._reset()
        self.session_id = None
        gone = [Notify("disconnected")] if established else []
        return [
            HangUp(farewell),
            *rejected,
            *self._become(ConnectionStatus.DISCONNECTED),
            *gone,
        ]

    def _broken(
        self, error: OdysseyError, now: float, *, farewell: bool = True, lasting: bool = False
    ) -> list[Action]:
        """The connection is lost, or does not come about."""
        if self.phase is not Phase.ESTABLISHED:
            return self._fail(error, now, farewell=farewell)
        rejected = self._reset(plain_text(error))
        hang_up = HangUp(farewell)
        if self._reconnect and not lasting and self._pause_or_resume(now):
            text = f"Connection lost: {plain_text(error)}"
            return [
                hang_up,
                *rejected,
                *self._become(ConnectionStatus.RECONNECTING, text),
                Notify("error", (error, False)),
                Notify("disconnected"),
                *self._resumed(),
            ]
        return [hang_up, *rejected, *self._failed(error), Notify("disconnected")]

    def _pause_or_resume(self, now: float) -> bool:
        """Whether there will be a reconnect: at once after a steady connection, else after the
        pause that is due, so that a server which keeps dropping us is left alone in the end."""
        if now - self._established_at < self._limits.steady_s:
            return self._pause(now)
        self._failures = 0
        self.phase = Phase.PREPARING
        return True

    def _resumed(self) -> list[Action]:
        return [Prepare()] if self.phase is Phase.PREPARING else []

    def _fail(self, error: OdysseyError, now: float, *, farewell: bool = True) -> list[Action]:
        """There is no connection, and this was the attempt."""
        rejected = self._reset(plain_text(error))
        hang_up = HangUp(farewell)
        hopeless = isinstance(error, OdysseyAuthError | OdysseyUsageError)
        if self.status is ConnectionStatus.RECONNECTING and not hopeless and self._pause(now):
            return [hang_up, *rejected, Notify("error", (error, False))]
        return [hang_up, *rejected, *self._failed(error), ConnectFailed(error)]

    def _failed(self, error: OdysseyError) -> list[Action]:
        told = self._become(ConnectionStatus.FAILED, plain_text(error))
        return [*told, Notify("error", (error, True))]

    def _reset(self, why: str = "Connection closed") -> list[Action]:
        self.phase = Phase.IDLE
        self._timers.clear()
        self._trouble = None
        return self.stream.close(why)

    def _become(self, status: ConnectionStatus, text: str | None = None) -> list[Action]:
        self.status = status
        return [Notify("status_change", (status, text))]
