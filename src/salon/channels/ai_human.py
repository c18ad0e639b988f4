"""The tools of an agent that ask a person (R167)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from salon.base import Clock, TaskScope
from salon.channels.ai_hooks import TurnHooks
from salon.core.errors import HumanInputRejectedError
from salon.core.ports.ai import AITool, AIToolCall, AIToolResult
from salon.models import ChannelType, HookTrigger, PendingInputEvent
from salon.providers.toolloop import LoopReport
from salon.tools import HumanInputToolHandler

ENDED = "the agent was closed"
ENDED_WITH_ROOM = "room_ended"


class TurnClock(Clock):
    """The clock of one turn; it stands still while a person is asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asking = 0
        self._stopped_at = 0.0
        self._lost = 0.0

    def time(self) -> float:
        return self._clock.time()

    def monotonic(self) -> float:
        now = self._stopped_at if self._asking else self._clock.monotonic()
        return now - self._lost

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still; several may stop it at once."""
        if not self._asking:
            self._stopped_at = self._clock.monotonic()
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._lost += self._clock.monotonic() - self._stopped_at


class HumanInput:
    """Asks people for one channel, and tells its hooks of what is asked.

    Of a request the hooks hear when it can be answered already, and nobody waits for them. It ends
    with its room, and so does its turn: what came of it could be said nowhere.
    """

    def __init__(
        self, tools: HumanInputToolHandler | None, hooks: TurnHooks, channel_id: str
    ) -> None:
        self._tools = tools
        self._hooks = hooks
        self._channel_id = channel_id
        self._scope = TaskScope(f"questions of {channel_id}")
        self._open: dict[str, str] = {}
        """The room of each request."""
        self._over: set[str] = set()
        """Those of them whose answer would go nowhere."""
        self._closed = False

    @property
    def specs(self) -> list[AITool]:
        """What the model is told of."""
        return self._tools.tools if self._tools else []

    def serves(self, name: str) -> bool:
        """Whether a call of this tool asks a person."""
        return self._tools is not None and name in self._tools.tool_names

    async def serve(
        self,
        call: AIToolCall,
        room_id: str,
        actor_id: str | None,
        clock: TurnClock,
        report: LoopReport | None = None,
    ) -> AIToolResult | None:
        """What a person answers, or in words why nobody did; None if the call asks nobody. Of a
        turn that has nowhere to go on, `report` says how it ended."""
        if self._tools is None or not self.serves(call.name):
            return None
        if self._closed:
            return _failed(call, f"was rejected: {ENDED}")
        asked: list[str] = []

        def announce(event: PendingInputEvent) -> None:
            asked.append(event.pending_id)
            self._open[event.pending_id] = event.room_id
            self._scope.spawn(self._tell(event), name=event.pending_id)

        try:
            with clock.stopped():
                answer = await self._tools.ask(
                    call.name,
                    dict(call.arguments),
                    channel_type=ChannelType.AI,
                    channel_id=self._channel_id,
                    room_id=room_id,
                    tool_call_id=call.id,
                    actor_id=actor_id,
                    announce=announce,
                )
        except TimeoutError:
            return _failed(call, f"was not answered within {self._tools.timeout:g} s")
        except HumanInputRejectedError as error:
            return _failed(call, f"was rejected: {error}")
        finally:
            if report is not None and self._over.intersection(asked):
                report.end = ENDED_WITH_ROOM
            for pending_id in asked:
                self._open.pop(pending_id, None)
                self._over.discard(pending_id)
        return AIToolResult(call.id, answer)

    async def _tell(self, event: PendingInputEvent) -> None:
        """Run the hooks. A block rejects what is still open; an answer that is there stays. In a
        room that ended before there was a request, nobody is asked."""
        over = await self._hooks.over(event.room_id, self._channel_id)
        if over is not None:
            self._give_up(event.pending_id, over)
            return
        outcome = await self._hooks.run(HookTrigger.ON_USER_INPUT_REQUIRED, event.room_id, event)
        if outcome.blocked and self._tools is not None:
            self._tools.handler.reject(event.pending_id, outcome.reason or "")
        self._hooks.emit(
            "user_input_required",
            room_id=event.room_id,
            channel_id=self._channel_id,
            pending_id=event.pending_id,
            tool_name=event.tool_name,
            tool_call_id=event.tool_call_id,
            allowed=not outcome.blocked,
            reason=outcome.reason,
        )

    def end(self, room_id: str, reason: str) -> None:
        """Nothing can be said in a room any more: what is asked for it is rejected."""
        for pending_id, where in tuple(self._open.items()):
            if where == room_id:
                self._give_up(pending_id, reason)

    def _give_up(self, pending_id: str, reason: str) -> None:
        if self._tools is not None and pending_id in self._open:
            self._over.add(pending_id)
            self._tools.handler.reject(pending_id, reason)

    async def close(self) -> None:
        """Reject what this channel asked and stop telling of it. Others who share the handler go
        on."""
        self._closed = True
        if self._tools is not None:
            for pending_id in tuple(self._open):
                self._tools.handler.reject(pending_id, ENDED)
        await self._scope.close()


def _failed(call: AIToolCall, what: str) -> AIToolResult:
    return AIToolResult(call.id, f"{call.name} {what}", is_error=True)
