"""Spans around the work of a room, each below the one that caused it (R261).

The current span is a context variable. Lanes run in contexts of their own, so what is put into one
is wrapped by `carried`. Attributes are ids, types, counts, times and codes: never what somebody
said, an address or a secret. Nothing here costs more than a lookup while nobody listens.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.ports.telemetry import (
    NoopTelemetryProvider,
    SpanKind,
    TelemetryConfig,
    TelemetryProvider,
    error_code,
)

if TYPE_CHECKING:
    from salon.core.kit import RoomKit

_log = logging.getLogger("salon.core.telemetry")

T = TypeVar("T")


class ActiveSpan:
    """A span in the making. As a context manager it is the current one inside, and ends with it.

    This class itself is the span that nobody wants: it does nothing, and is false.
    """

    __slots__ = ()

    id: str | None = None

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> ActiveSpan:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def set_attribute(self, key: str, value: Any) -> None:
        """Add to it; ignored once it has ended."""

    def record_error(self, error: BaseException | str) -> None:
        """It failed; of an exception only the code is kept (`error_code`)."""

    def end(self) -> None:
        """It is over, also if its block goes on. Idempotent."""

    def child(
        self,
        kind: SpanKind,
        name: str,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ActiveSpan:
        """A span below this one, for those who know no `Tracer`."""
        return NO_SPAN

    def metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """A measurement by whoever runs inside it."""


NO_SPAN = ActiveSpan()

_current: ContextVar[ActiveSpan] = ContextVar("salon_current_span", default=NO_SPAN)


def current_span() -> ActiveSpan:
    """The span that the running code belongs to."""
    return _current.get()


def get_current_span() -> str | None:
    """The id of the current span, as its provider calls it."""
    return _current.get().id


def carried(job: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """`job` as it would run here: below the current span, in whatever context it is run."""
    span = _current.get()
    if span is NO_SPAN:
        return job

    async def below() -> T:
        with _inside(span):
            return await job()

    return below


@contextmanager
def _inside(span: ActiveSpan) -> Iterator[None]:
    token = _current.set(span)
    opened = span.opened() if isinstance(span, _Span) else None
    try:
        yield
    finally:
        if isinstance(span, _Span):
            span.closed(opened)
        _current.reset(token)


class _Quiet(ActiveSpan):
    """What is below it is not traced either; its measurements count. Entered once."""

    __slots__ = ("_token", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._token: Token[ActiveSpan] | None = None

    def __enter__(self) -> ActiveSpan:
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
            self._token = None

    def metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._tracer.metric(name, value, unit=unit, attributes=attributes)


class _Span(_Quiet):
    """A span that a provider knows as `id`."""

    __slots__ = ("_error", "_opened", "_over", "id")

    def __init__(self, tracer: Tracer, span_id: str) -> None:
        super().__init__(tracer)
        self.id: str = span_id
        self._error: str | None = None
        self._over = False
        self._opened: Any = None

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> ActiveSpan:
        super().__enter__()
        self._opened = self.opened()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closed(self._opened)
        if error is not None:
            self.record_error(error)
        self.end()
        super().__exit__(kind, error, trace)

    def opened(self) -> Any:
        """It becomes the current one of the provider's library too."""
        return self._tracer.ask("activate", self.id)

    def closed(self, token: Any) -> None:
        """Undo an `opened`."""
        if token is not None:
            self._tracer.ask("deactivate", token)

    def set_attribute(self, key: str, value: Any) -> None:
        if not self._over:
            self._tracer.ask("set_attribute", self.id, key, value)

    def record_error(self, error: BaseException | str) -> None:
        self._error = error if isinstance(error, str) else error_code(error)

    def end(self) -> None:
        if self._over:
            return
        self._over = True
        status = "ok" if self._error is None else "error"
        self._tracer.ask("end_span", self.id, status=status, error_message=self._error)

    def child(
        self,
        kind: SpanKind,
        name: str,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ActiveSpan:
        return self._tracer.start(
            self, kind, name, room_id=room_id, channel_id=channel_id, attributes=attributes
        )


@dataclass(frozen=True, slots=True)
class PastSpan:
    """A span that is over, with those below it."""

    kind: SpanKind
    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Any] = field(default_factory=dict)
    below: tuple[PastSpan, ...] = ()


class Tracer:
    """Opens spans for one provider, as its configuration wants them.

    What a provider raises is logged once and counted in `failures`; the room goes on without the
    span. `chance` gives numbers from 0 to below 1, of which the sampling makes its choice.
    """

    def __init__(
        self,
        telemetry: TelemetryProvider | TelemetryConfig | None = None,
        *,
        chance: Callable[[], float] = random.random,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        config = (
            telemetry
            if isinstance(telemetry, TelemetryConfig)
            else TelemetryConfig(provider=telemetry)
        )
        self.provider = config.provider or NoopTelemetryProvider()
        self.on = not isinstance(self.provider, NoopTelemetryProvider)
        """Whether anybody listens. Where a span would cost something, look first."""
        self._config = config
        self._kinds = None if config.enabled_spans is None else frozenset(config.enabled_spans)
        self._untold = frozenset(str(item) for item in config.suppressed_hook_triggers)
        self._chance = chance
        self._clock = clock
        self.failures = 0

    def span(
        self,
        kind: SpanKind,
        name: str,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ActiveSpan:
        """A span below the current one; enter it."""
        if not self.on:
            return NO_SPAN
        return self.start(
            _current.get(),
            kind,
            name,
            room_id=room_id,
            channel_id=channel_id,
            attributes=attributes,
        )

    def root(
        self,
        kind: SpanKind,
        name: str,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
    ) -> ActiveSpan:
        """A span, if the running code belongs to none yet."""
        if not self.on or _current.get() is not NO_SPAN:
            return NO_SPAN
        return self.start(NO_SPAN, kind, name, room_id=room_id, channel_id=channel_id)

    def hook(self, name: str, trigger: str, room_id: str, *, waits: bool) -> ActiveSpan:
        """The span of one hook; `waits`: the event waits for it."""
        if not self.on or trigger in self._untold:
            return NO_SPAN
        kind = SpanKind.HOOK_SYNC if waits else SpanKind.HOOK_ASYNC
        told = {"hook.name": name, "hook.trigger": trigger}
        return self.span(kind, "hook_execution", room_id=room_id, attributes=told)

    def start(
        self,
        parent: ActiveSpan,
        kind: SpanKind,
        name: str,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ActiveSpan:
        """A span below `parent`."""
        if not parent:
            if isinstance(parent, _Quiet):
                return NO_SPAN  # which leaves it the current one
            if self._left_out():
                return _Quiet(self)
        if self._kinds is not None and kind not in self._kinds:
            return NO_SPAN
        span_id = self.ask(
            "start_span",
            kind,
            name,
            parent_id=parent.id,
            attributes={**self._config.metadata, **(attributes or {})},
            room_id=room_id,
            channel_id=channel_id,
        )
        return NO_SPAN if span_id is None else _Span(self, span_id)

    def record(
        self,
        past: PastSpan,
        *,
        room_id: str | None = None,
        channel_id: str | None = None,
        session_id: str | None = None,
    ) -> None:
        """A tree of its own whose times are known; sampled as one."""
        if self.on and not self._left_out():
            place = {"room_id": room_id, "channel_id": channel_id, "session_id": session_id}
            self._record(past, None, place)

    def _record(self, past: PastSpan, parent: str | None, place: Mapping[str, str | None]) -> None:
        wanted = self._kinds is None or past.kind in self._kinds
        own = self._begin(past, parent, place) if wanted else None
        for span in past.below:
            self._record(span, parent if own is None else own, place)
        if own is not None:
            self.ask("end_span", own, **self._times(end_time=past.end))

    def _begin(
        self, past: PastSpan, parent: str | None, place: Mapping[str, str | None]
    ) -> str | None:
        span_id: str | None = self.ask(
            "start_span",
            past.kind,
            past.name,
            parent_id=parent,
            attributes={**self._config.metadata, **past.attributes},
            **place,
            **self._times(start_time=past.start),
        )
        return span_id

    def _times(self, **times: datetime) -> dict[str, datetime]:
        return times if self.provider.takes_times else {}

    def _left_out(self) -> bool:
        rate = self._config.sample_rate
        return rate < 1.0 and self._chance() >= rate

    def metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """One measurement."""
        if self.on:
            told = None if attributes is None else dict(attributes)
            self.ask("record_metric", name, value, unit=unit, attributes=told)

    def event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Something happened."""
        if self.on:
            self.ask("record_event", name, dict(attributes or {}))

    def follow(self, framework: FrameworkEvents) -> None:
        """Record every framework event, without what it says in words."""
        if self.on:
            framework.on("*", self._happened)

    def _happened(self, event: FrameworkEvent) -> None:
        told: dict[str, Any] = {
            "room_id": event.room_id,
            "channel_id": event.channel_id,
            "event_id": event.event_id,
        }
        told |= {key: item for key, item in event.data.items() if isinstance(item, int | float)}
        self.event(event.type, {key: item for key, item in told.items() if item is not None})

    def now(self) -> float:
        """Seconds, for `metric`."""
        return self._clock.monotonic()

    def ask(self, method: str, *args: Any, **options: Any) -> Any:
        """Call the provider; None if that failed."""
        try:
            return getattr(self.provider, method)(*args, **options)
        except Exception:  # noqa: BLE001 - the host's code, and no room fails for it
            self.failures += 1
            if self.failures == 1:
                _log.exception("telemetry %s failed at %s", self.provider.name, method)
            return None

    async def close(self) -> None:
        """Hand over what is buffered, which may take a while."""
        if self.on:
            await asyncio.to_thread(self.ask, "close")


NO_TRACER = Tracer()


def tracer_of(kit: RoomKit) -> Tracer:
    """The tracer of a framework, for channels whose work begins outside of it."""
    return kit._parts.tracer


__all__ = [
    "NO_SPAN",
    "NO_TRACER",
    "ActiveSpan",
    "PastSpan",
    "Tracer",
    "carried",
    "current_span",
    "get_current_span",
    "tracer_of",
]
