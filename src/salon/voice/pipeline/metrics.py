"""What the pipeline measures of itself, for who asks (V210)."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, Protocol

from salon.media.frame import AudioFrame
from salon.voice.pipeline.failures import Failures

Step = Callable[[AudioFrame], AudioFrame]
"""One stage bound to its stream; never raises."""
NamedSteps = tuple[tuple[str, Step], ...]
StageTimer = Callable[[str, float, str], None]
"""Takes a stage's name, milliseconds, and the stream."""

SAMPLED_EVERY: Final = 50
"""One frame in so many is timed: one per second at 20 ms."""


class Metrics(Protocol):
    """What takes measurements; every telemetry provider does."""

    def record_metric(
        self, name: str, value: float, *, unit: str = "", attributes: dict[str, Any] | None = None
    ) -> None: ...


def timed(steps: NamedSteps, timer: StageTimer, stream: str, clock: Callable[[], float]) -> Step:
    """All of `steps` as one, which measures each of them on every 50th frame, the first one
    included. `clock` gives seconds."""
    plain = tuple(step for _, step in steps)
    until_next = 1

    def run(frame: AudioFrame) -> AudioFrame:
        nonlocal until_next
        until_next -= 1
        if until_next:
            for step in plain:
                frame = step(frame)
            return frame
        until_next = SAMPLED_EVERY
        for name, step in steps:
            begin = clock()
            frame = step(frame)
            timer(name, (clock() - begin) * 1000, stream)
        return frame

    return run


class Gauges:
    """Tells `sink` what happened, with the session and its parent span. Without a sink nothing is
    done; one that raises is counted."""

    __slots__ = ("_failures", "_parents", "_sink", "clock")

    def __init__(
        self,
        sink: Metrics | None,
        failures: Failures,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._sink = sink
        self._failures = failures
        self._parents: dict[str, str] = {}
        self.clock = clock

    def set_parent(self, session_id: str, span_id: str) -> None:
        """Name the span that the session's measurements belong to."""
        if self._sink is not None:
            self._parents[session_id] = span_id

    def forget(self, session_id: str) -> None:
        """The session has ended."""
        self._parents.pop(session_id, None)

    def record(self, name: str, value: float, unit: str, stream: str, **more: Any) -> None:
        """One measurement."""
        sink = self._sink
        if sink is None:
            return
        attributes = {"session_id": stream, **more}
        parent = self._parents.get(stream)
        if parent is not None:
            attributes["parent_span_id"] = parent
        self._failures.guard(
            "telemetry",
            stream,
            lambda: sink.record_metric(name, value, unit=unit, attributes=attributes),
        )

    def stage_timer(self, given: StageTimer | None) -> StageTimer | None:
        """Who is told how long stages take: `given`, else the sink, else nobody."""
        if given is not None or self._sink is None:
            return given

        def tell(stage: str, latency_ms: float, stream: str) -> None:
            self.record("pipeline.stage_latency_ms", latency_ms, "ms", stream, stage_name=stage)

        return tell
