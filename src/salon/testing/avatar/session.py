"""The server's side of one session: bytes and time in, actions out.

No socket, no clock, no task: every call says what time it is (seconds of any clock that never goes
back). A driver hands messages to `receive`, asks `poll` whenever `wake_at` says so, and carries out
the actions in order.

    handshake ── configure taken ──→ running ──→ closed
        │  └──── refused, time out ───────────────↗
        └─ answering: the configuration is there, the answer is late or wrong on purpose
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final

from salon.base.errors import ConfigurationError
from salon.media.errors import MediaError
from salon.media.opus_library import load_opus
from salon.testing.avatar import animation, wire
from salon.testing.avatar.acceptance import (
    INTERNAL,
    INVALID_ARGUMENT,
    UNAUTHENTICATED,
    Refusal,
    refusal,
)
from salon.testing.avatar.actions import Action, Close, Drop, Send
from salon.testing.avatar.egress import EgressStage
from salon.testing.avatar.faults import AnimationFault, Fail, Faults, HandshakeFault, Step
from salon.testing.avatar.record import SessionRecord
from salon.testing.avatar.request import Request
from salon.testing.avatar.requests import RequestQueue
from salon.testing.avatar.settings import AvatarSettings

MAX_REQ_ID: Final = 256
"""Characters of the id of a request (A44 makes 27; old clients have others)."""

SESSION_OVER: Final = 4002
TOO_MANY: Final = 4003

EXPECTED_CONFIGURE: Final = "expected ClientConfigureSession message"
HOLLOW_CONFIGURE: Final = "ClientConfigureSession message is nil"
BROKEN_CONFIGURE: Final = "failed to unmarshal initial message"

_POLICY, _INTERNAL_ERROR = 1008, 1011
_NORMAL_ANIMATION: Final = AnimationFault()


class _State(Enum):
    HANDSHAKE = 1
    ANSWERING = 2
    RUNNING = 3
    CLOSED = 4


def close_code(code: int) -> int:
    """The close code that goes with the code of a `ServerError` (A63)."""
    if code >= 4000:
        return code
    return _POLICY if code in (INVALID_ARGUMENT, UNAUTHENTICATED) else _INTERNAL_ERROR


class AvatarServerSession:
    """One session. `full`: there are too many already, refuse it (4003).

    `faults` is looked at all the time: what is switched takes effect at once. Nothing here raises
    for what a client sends.
    """

    def __init__(
        self,
        record: SessionRecord,
        settings: AvatarSettings,
        faults: Faults,
        now: float,
        *,
        full: bool = False,
    ) -> None:
        self.record = record
        self._settings = settings
        self._faults = faults
        self._full = full
        self._state = _State.HANDSHAKE
        self._began_at = now
        self._confirmed_at = now
        self._last_audio_at = now
        self._audio_messages = 0
        self._late: HandshakeFault | None = None
        self._answer_at = now
        self._said: wire.Configure | None = None
        self._egress: EgressStage | None = None
        self._requests: RequestQueue | None = None
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            wire.Configure: self._again,
            wire.Audio: self._audio,
            wire.Interrupt: self._interrupt,
            wire.Pause: self._pause,
            wire.Resume: self._resume,
            wire.Hollow: self._hollow,
        }

    @property
    def closed(self) -> bool:
        """Whether nothing more will be said."""
        return self._state is _State.CLOSED

    def receive(self, data: bytes, now: float) -> list[Action]:
        """A binary message of the client."""
        if self._state in (_State.CLOSED, _State.ANSWERING):
            return []
        try:
            message = wire.read(data)
        except wire.WireError as error:
            if self._state is _State.HANDSHAKE:
                return self._refuse(Refusal(INVALID_ARGUMENT, BROKEN_CONFIGURE))
            return [self._error(INVALID_ARGUMENT, f"failed to unmarshal message: {error}")]
        if self._state is _State.HANDSHAKE:
            return self._first(message, now)
        handler = self._handlers.get(type(message))
        return [] if handler is None else handler(message, now)  # unknown types pass (A30)

    def receive_text(self, now: float) -> list[Action]:
        """A text message: none of the protocol's."""
        if self._state is _State.HANDSHAKE:
            return self._refuse(Refusal(INVALID_ARGUMENT, EXPECTED_CONFIGURE))
        if self._state is _State.RUNNING:
            return [self._error(INVALID_ARGUMENT, "text messages are not part of the protocol")]
        return []

    def inject(self, steps: Iterable[Step], now: float) -> list[Action]:
        """Do something wrong now."""
        return [] if self.closed else self._steps(steps)

    def lost(self, now: float) -> None:
        """The connection is over, whoever ended it."""
        self._state = _State.CLOSED
        if self.record.closed_at is None:
            self.record.closed_at = now

    def poll(self, now: float) -> list[Action]:
        """What is due: at most one piece of work and one animation message per call."""
        if self._state is _State.RUNNING:
            return self._limits(now) or self._produce(now)
        if self._state is _State.ANSWERING and self._late is not None and now >= self._answer_at:
            fault, self._late = self._late, None
            actions = self._steps(fault.steps)
            return actions + self._confirm(now) if fault.confirm and not self.closed else actions
        waited = self._settings.handshake_timeout_s
        if self._state is _State.HANDSHAKE and now >= self._began_at + waited:
            return self._steps([Close(_POLICY, "no ClientConfigureSession message came")])
        return []

    def wake_at(self) -> float | None:
        """When `poll` should be called if nothing is received before; None: no need."""
        if self._state is _State.HANDSHAKE:
            return self._began_at + self._settings.handshake_timeout_s
        if self._state is _State.ANSWERING:
            return None if self._late is None else self._answer_at
        if self._state is _State.RUNNING:
            times = [*self._limit_times(), *self._production_times()]
            return min(times, default=None)
        return None

    # handshake

    def _first(self, message: wire.ClientMessage, now: float) -> list[Action]:
        if isinstance(message, wire.Hollow) and message.type == 1:
            return self._refuse(Refusal(INVALID_ARGUMENT, HOLLOW_CONFIGURE))
        if not isinstance(message, wire.Configure):
            return self._refuse(Refusal(INVALID_ARGUMENT, EXPECTED_CONFIGURE))
        self.record.configure = self._said = message
        if (fault := self._faults.take_handshake()) is not None:
            self._state = _State.ANSWERING
            self._late, self._answer_at = fault, now + fault.delay_s
            return self.poll(now)
        return self._confirm(now)

    def _confirm(self, now: float) -> list[Action]:
        said = self._said
        assert said is not None
        refused = refusal(said, self._settings) or self._without_opus(said)
        if refused is None and self._full:
            refused = Refusal(TOO_MANY, "too many concurrent sessions")
        if refused is not None:
            return self._refuse(refused)
        capabilities: tuple[str, ...] = ()
        if said.egress_type != wire.EGRESS_NONE:
            capabilities = self._settings.capabilities
            self._egress = EgressStage(
                self.record.connection_id, capabilities, self._settings.pause_timeout_s
            )
        self._requests = RequestQueue(self.record, said.sample_rate, said.audio_format)
        self._state = _State.RUNNING
        self._confirmed_at = self._last_audio_at = self.record.confirmed_at = now
        return [self._send(wire.confirm(self.record.connection_id, capabilities))]

    @staticmethod
    def _without_opus(said: wire.Configure) -> Refusal | None:
        if said.audio_format != wire.OGG_OPUS:
            return None
        try:
            load_opus()
        except ConfigurationError as error:
            return Refusal(INTERNAL, str(error))
        return None

    def _refuse(self, refused: Refusal) -> list[Action]:
        closing = close_code(refused.code)
        return self._steps([Fail(refused.code, refused.text, ""), Close(closing, refused.text)])

    # what a running session receives

    def _again(self, _message: wire.Configure, _now: float) -> list[Action]:
        return [self._error(INVALID_ARGUMENT, "session is already configured")]

    def _hollow(self, message: wire.Hollow, _now: float) -> list[Action]:
        return [self._error(INVALID_ARGUMENT, f"message of type {message.type} is nil")]

    def _audio(self, said: wire.Audio, now: float) -> list[Action]:
        requests = self._running()
        if not said.req_id:
            return [self._error(INVALID_ARGUMENT, "req_id is empty")]
        if len(said.req_id) > MAX_REQ_ID:  # it is kept, and goes out again with every answer
            text = f"req_id has {len(said.req_id)} characters, more than {MAX_REQ_ID}"
            return [self._error(INVALID_ARGUMENT, text)]
        self._last_audio_at = now
        self._audio_messages += 1
        requests.add(said, now)
        if (
            requests.waiting_bytes > self._settings.max_waiting_bytes
            or len(requests) > self._settings.max_waiting_requests
        ):
            return self._refuse(Refusal(INVALID_ARGUMENT, "too much audio is waiting"))
        return self._steps(self._faults.take_runtime(self._audio_messages))

    def _interrupt(self, said: wire.Interrupt, now: float) -> list[Action]:
        requests = self._running()
        request = requests.find(said.req_id)
        if request is None:
            return []
        request.record.interrupted = True
        if self._egress is not None and request is requests.head:
            messages = self._egress.stop(request, now)
            return self._over(request, [self._send(one) for one in messages])
        request.abandon()
        return self._over(request, self._end(request, now))

    def _pause(self, said: wire.Pause, now: float) -> list[Action]:
        return self._held(said.req_id, now, pause=True)

    def _resume(self, said: wire.Resume, now: float) -> list[Action]:
        return self._held(said.req_id, now, pause=False)

    def _held(self, req_id: str, now: float, *, pause: bool) -> list[Action]:
        head = self._running().head
        if self._egress is None or head is None or head.req_id != req_id:
            return []
        change = self._egress.pause if pause else self._egress.resume
        return [self._send(one) for one in change(head, now)]

    # production

    def _produce(self, now: float) -> list[Action]:
        head = self._running().head
        if head is None:
            return []
        try:
            if self._egress is not None:
                messages, over = self._egress.advance(head, now)
                actions: list[Action] = [self._answer(head, one, 0, now) for one in messages]
                return self._over(head, actions) if over else actions
            if head.has_work and len(head.keyframes) < self._batch():
                head.work()
        except MediaError as error:
            head.abandon()
            text = f"failed to decode audio: {error}"
            failed: list[Action] = [self._error(INVALID_ARGUMENT, text, head.req_id)]
            return self._over(head, failed + self._end(head, now))
        return self._animate(head, now)

    def _animate(self, head: Request, now: float) -> list[Action]:
        fault = self._fault()
        if self._collecting(head):
            return []
        keyframes = head.take(self._batch(), now, self._settings.pace, fault.delay_s)
        over = head.worked_off and not head.keyframes and now >= head.began_at + fault.delay_s
        end = over and not fault.without_end
        actions: list[Action] = []
        if keyframes:
            data = animation.encode(
                self.record.connection_id,
                fault.req_id or head.req_id,
                self.record.avatar_id,
                keyframes,
                end=end,
                extension=self._settings.extension,
            )
            actions.append(self._answer(head, data, len(keyframes), now))
            if end:
                actions += self._end(head, now, fault.ends - 1)
        elif over:
            actions += self._end(head, now)
        return self._over(head, actions) if over else actions

    def _end(self, request: Request, now: float, times: int | None = None) -> list[Action]:
        fault = self._fault()
        count = (0 if fault.without_end else fault.ends) if times is None else times
        ended = wire.signal(self.record.connection_id, fault.req_id or request.req_id, end=True)
        return [self._answer(request, ended, 0, now) for _ in range(count)]

    def _over(self, request: Request, actions: list[Action]) -> list[Action]:
        request.record.ended = True
        self._running().finish(request)
        return actions

    def _answer(self, request: Request, data: bytes, keyframes: int, now: float) -> Send:
        record = request.record
        record.messages += 1
        record.keyframes += keyframes
        if record.first_answer_at is None:
            record.first_answer_at = now
        return self._send(data)

    def _fault(self) -> AnimationFault:
        return self._faults.animation or _NORMAL_ANIMATION

    def _batch(self) -> int:
        return self._fault().batch_frames or self._settings.batch_frames

    def _collecting(self, head: Request) -> bool:
        """Whether keyframes wait because a fault wants more of them in one message."""
        wanted = self._fault().batch_frames
        return wanted is not None and len(head.keyframes) < wanted and not head.worked_off

    def _production_times(self) -> list[float]:
        head = self._running().head
        if head is None:
            return []
        if self._egress is not None:
            if head.has_work:
                return [head.began_at]
            at = self._egress.wake_at()
            return [] if at is None else [at]
        if head.has_work and len(head.keyframes) < self._batch():
            return [head.began_at]
        fault = self._fault()
        if self._collecting(head):
            return []
        if head.keyframes:
            return [head.due_at(self._settings.pace, fault.delay_s)]
        return [head.began_at + fault.delay_s] if head.worked_off else []

    # limits

    def _limits(self, now: float) -> list[Action]:
        longest, idle = self._settings.max_session_s, self._idle_s()
        if longest is not None and now >= self._confirmed_at + longest:
            return self._refuse(Refusal(SESSION_OVER, "session time limit reached"))
        if idle is not None and now >= self._last_audio_at + idle[0]:
            return self._steps([Fail(INTERNAL, idle[1], ""), Close(1000, idle[1])])
        return []

    def _limit_times(self) -> list[float]:
        times = []
        if self._settings.max_session_s is not None:
            times.append(self._confirmed_at + self._settings.max_session_s)
        if (idle := self._idle_s()) is not None:
            times.append(self._last_audio_at + idle[0])
        return times

    def _idle_s(self) -> tuple[float, str] | None:
        """How long it may be silent, and the words for its end (A68, A104)."""
        room = None if self._said is None or self._egress is None else self._said.livekit
        if room is not None and room.idle_timeout > 0:
            return room.idle_timeout, "livekit silence timeout"
        idle = self._settings.idle_timeout_s
        return None if idle is None else (idle, f"no audio input for {idle:g}s")

    # actions

    def _running(self) -> RequestQueue:
        assert self._requests is not None
        return self._requests

    def _steps(self, steps: Iterable[Step]) -> list[Action]:
        actions: list[Action] = []
        for step in steps:
            if isinstance(step, Fail):
                newest = self._requests.newest_id if self._requests is not None else ""
                req_id = newest if step.req_id is None else step.req_id
                actions.append(self._error(step.code, step.text, req_id))
            else:
                actions.append(step)
            if isinstance(step, Close | Drop):
                self._state = _State.CLOSED
                break
        return actions

    def _error(self, code: int, text: str, req_id: str = "") -> Send:
        self.record.errors += 1
        return self._send(wire.error(self.record.connection_id, req_id, code, text))

    def _send(self, data: bytes) -> Send:
        self.record.largest_message = max(self.record.largest_message, len(data))
        return Send(data)
