"""Many calls at once to one server, and how evenly its sound comes back."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from salon.base import SYSTEM_CLOCK, TaskScope
from salon.clients.call.addresses import call_url, host
from salon.clients.call.errors import ConnectFailed
from salon.clients.call.load_call import BINARY, FRAME_S, SERVER_TRACK, Lateness, LoadCall, frame
from salon.clients.call.pace import Beat

if TYPE_CHECKING:
    from salon.media.frame import Samples

GROUPS: Final = 10
"""Calls send at this many different moments of a frame, as callers do who know nothing of each
other."""
REPLY_S: Final = 10
STEP_S: Final = 1.0
"""Between two reports of progress."""
GOODBYE_S: Final = 6.0
"""Calls have so long to end after their `hangup`."""
WARM_UP_S: Final = 1.0
"""Lateness counts from so long after the last call was placed."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to place: `calls` calls, `rate` new ones a second, all held for `seconds`.

    Each sends `speech` (``int16[n]``, 16 kHz) round and round at its pace and asks for `reply`
    again whenever it has ended: a command such as ``{"command": "play", "url": "x.wav"}``; None
    plays a tone that the client brings. Without `vad` nothing is listened for.
    """

    url: str
    calls: int
    speech: Samples
    seconds: float = 30.0
    rate: float = 10.0
    codec: str = "pcm"
    reply: Mapping[str, Any] | None = None
    vad: bool = True
    option: Mapping[str, Any] = field(default_factory=dict)
    api_key: str | None = None
    timeout: float = 15.0
    tls: ssl.SSLContext | None = None
    prefix: str = "load"


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """How it stands: calls wanted, asked for, live now, and gone wrong; the phase is ``ramp``,
    ``hold`` or ``end``. `frames` came since the last status; `p99_ms` and `max_ms` are the lateness
    in the phase so far, `client_max_ms` this program's own since the last status."""

    at: float
    phase: str
    wanted: int
    placed: int
    live: int
    refused: int
    failed: int
    lost: int
    frames: int
    p99_ms: float
    max_ms: float
    client_max_ms: float


@dataclass(slots=True)
class LoadReport:
    """The outcome.

    `refused` were not let in (by HTTP status), `failed` got no connection or no `answer`, `lost`
    ended before they were asked to, `stuck` did not end when asked to. Frame figures belong to the
    time in which all calls were live; `expected` counts one frame per call and 20 ms less the
    pauses between two replies, so `missing` is a rough figure. `client_*` is how late this program
    itself was: figures below it say nothing about the server. `server_late_ticks` is what the
    server says of the same time, None if it says nothing.
    """

    calls: int = 0
    answered: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    failed: int = 0
    lost: int = 0
    stuck: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    frames: int = 0
    expected: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    client_p99_ms: float = 0.0
    client_max_ms: float = 0.0
    server_late_ticks: int | None = None
    server_ticks: int | None = None

    @property
    def held(self) -> bool:
        """Every call was answered, stayed and ended when asked to."""
        wrong = self.failed + self.lost + self.stuck + sum(self.refused.values())
        return self.answered == self.calls and not wrong

    @property
    def missing(self) -> int:
        """Frames that did not come."""
        return max(0, self.expected - self.frames)


Tell = Callable[[LoadStatus], None]
LateTicks = Callable[[], int | None]


class Load:
    """Places the calls of one plan; `run` once.

    `tell` gets a status a second. `late_ticks` is asked in a thread, before and after the time that
    counts, for the server's own count of late ticks.
    """

    def __init__(
        self,
        plan: LoadPlan,
        *,
        tell: Tell = lambda _status: None,
        late_ticks: LateTicks = lambda: None,
    ) -> None:
        self.plan = plan
        self.calls: list[LoadCall] = []
        self.report = LoadReport(calls=plan.calls)
        self._tell = tell
        self._late_ticks = late_ticks
        self._late = Lateness()
        self._recent = Lateness()
        self._own = Lateness()
        self._own_recent = Lateness()
        self._frames = [frame(BINARY, payload) for payload in encoded(plan.speech, plan.codec)]
        self._reply = dict(plan.reply) if plan.reply is not None else tone_reply()
        self._began = SYSTEM_CLOCK.monotonic()
        self._counting = False
        self._leaving = False
        self._phase = "ramp"
        self._failed = 0
        self._refused: Counter[int] = Counter()
        self._gaps = 0

    async def run(self) -> LoadReport:
        """Returns after all calls have ended. `ConnectFailed` if not even the first gets a
        connection."""
        tasks = TaskScope("load")
        loop = asyncio.get_running_loop()
        self._began = SYSTEM_CLOCK.monotonic()
        try:
            await self._place(0)
            tasks.spawn(self._progress(), name="progress")
            for group in range(GROUPS):
                tasks.spawn(self._send(group), name=f"sound {group}")
            await self._ramp(tasks)
            await asyncio.sleep(WARM_UP_S)
            before = await loop.run_in_executor(None, self._late_ticks)
            await self._hold()
            after = await loop.run_in_executor(None, self._late_ticks)
            if before is not None and after is not None:
                self.report.server_late_ticks = after - before
                self.report.server_ticks = round(self.report.seconds / FRAME_S)
            await self._part()
        finally:
            await tasks.close()
            for call in self.calls:
                call.abort()
        return self._finish()

    # -- placing ----------------------------------------------------------------------------------

    async def _ramp(self, tasks: TaskScope) -> None:
        """The remaining calls, at their rate, each in a task of its own."""
        beat = Beat(period=1 / self.plan.rate)
        await beat.next()
        placing = []
        for number in range(1, self.plan.calls):
            await beat.next()
            placing.append(tasks.spawn(self._place(number), name=f"call {number}"))
        if placing:
            await asyncio.wait(placing)

    async def _place(self, number: int) -> None:
        """One call, from the connection to the answer."""
        plan = self.plan
        url = call_url(plan.url, {"id": f"{plan.prefix}-{number}", "ping": "20"})
        made: list[LoadCall] = []

        def make() -> LoadCall:
            made.append(LoadCall(url, self._recent, api_key=plan.api_key, on_event=self._event))
            return made[0]

        try:
            async with asyncio.timeout(plan.timeout):
                await connect(url, make, plan.tls)
                call = made[0]
                if not await call.open:
                    if call.status and call.status != 101:
                        self._refused[call.status] += 1
                    else:
                        self._failed += 1
                    return
        except (OSError, TimeoutError) as error:
            self._failed += 1
            for call in made:
                call.abort()
            if number == 0:
                raise ConnectFailed(f"no connection to {url}: {error or 'no answer'}") from None
            return
        self.calls.append(call)
        call.grid.late = self._late if self._counting else self._recent
        option = {"codec": plan.codec, **({"vad": {}} if plan.vad else {}), **plan.option}
        call.command("invite", option=option)

    def _event(self, call: LoadCall, event: Mapping[str, Any]) -> None:
        """What a call is told: play after the answer, and again after the end."""
        name = event.get("event")
        ended = name == "trackEnd" and event.get("trackId") == SERVER_TRACK
        if name == "answer" or (ended and not self._leaving):
            self._gaps += self._counting
            command = dict(self._reply)
            call.command(command.pop("command"), **command)

    # -- sound ------------------------------------------------------------------------------------

    async def _send(self, group: int) -> None:
        """Speech of every tenth call, each somewhere else in it."""
        await asyncio.sleep(group * FRAME_S / GROUPS)
        beat, frames, tick = Beat(), self._frames, 0
        while True:
            deadline = await beat.next()
            late = SYSTEM_CLOCK.monotonic() - deadline
            self._own_recent.add(late)
            if self._counting:
                self._own.add(late)
            for number in range(group, len(self.calls), GROUPS):
                call = self.calls[number]
                if call.answered and not call.ended:
                    call.sound(frames[(tick + 7 * number) % len(frames)])
            tick += 1

    async def _hold(self) -> None:
        """The time that counts."""
        self._phase, self._counting = "hold", True
        for call in self.calls:
            call.grid.late = self._late
        packets, gaps = self._packets(), self._gaps
        began = SYSTEM_CLOCK.monotonic()
        await asyncio.sleep(self.plan.seconds)
        self._counting = False
        report = self.report
        report.seconds = SYSTEM_CLOCK.monotonic() - began
        report.frames = self._packets() - packets
        live = sum(call.answered and not call.lost for call in self.calls)
        # a reply that ends leaves a pause of one to three ticks until the next one is heard
        report.expected = max(0, round(live * report.seconds / FRAME_S) - 3 * (self._gaps - gaps))
        for call in self.calls:
            call.grid.late = self._recent

    async def _part(self) -> None:
        """Hang up, and wait until the calls have ended."""
        self._phase, self._leaving = "end", True
        self.report.lost = sum(call.lost or call.ended for call in self.calls)
        live = [call for call in self.calls if not call.lost]
        for call in live:
            call.command("hangup")
        if live:
            await asyncio.wait({call.gone for call in live}, timeout=GOODBYE_S)
        self.report.stuck = sum(not call.lost for call in live)

    # -- figures ----------------------------------------------------------------------------------

    def _packets(self) -> int:
        return sum(call.packets for call in self.calls)

    async def _progress(self) -> None:
        packets = 0
        while True:
            await asyncio.sleep(STEP_S)
            total = self._packets()
            self._tell(self._status(total - packets))
            packets = total

    def _status(self, frames: int) -> LoadStatus:
        calls = self.calls
        gone = sum(call.lost for call in calls)
        recent = self._late if self._counting else self._recent
        status = LoadStatus(
            at=SYSTEM_CLOCK.monotonic() - self._began,
            phase=self._phase,
            wanted=self.plan.calls,
            placed=len(calls) + self._failed + self._refused.total(),
            live=sum(call.answered and not call.lost for call in calls),
            refused=self._refused.total(),
            failed=self._failed,
            lost=0 if self._leaving else gone,
            frames=frames,
            p99_ms=round(recent.quantile(0.99), 2),
            max_ms=round(recent.max_ms, 2),
            client_max_ms=round(self._own_recent.max_ms, 2),
        )
        self._own_recent = Lateness()
        return status

    def _finish(self) -> LoadReport:
        report = self.report
        report.answered = sum(call.answered for call in self.calls)
        report.refused = dict(self._refused)
        report.failed = self._failed + len(self.calls) - report.answered
        report.errors = dict(
            Counter(error for call in self.calls for error in call.errors).most_common(10)
        )
        report.p50_ms = self._late.quantile(0.5)
        report.p99_ms = self._late.quantile(0.99)
        report.max_ms = self._late.max_ms
        report.client_p99_ms = self._own.quantile(0.99)
        report.client_max_ms = self._own.max_ms
        return report


async def connect(url: str, make: Callable[[], LoadCall], tls: ssl.SSLContext | None) -> None:
    """Open the connection for one call; `OSError` if that fails."""
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    await asyncio.get_running_loop().create_connection(
        make,
        host(url),
        parts.port or (443 if secure else 80),
        ssl=(tls or ssl.create_default_context()) if secure else None,
    )


def encoded(speech: Samples, codec: str) -> list[bytes]:
    """`speech` as packets of 20 ms. `ValueError` if it is shorter than one."""
    from salon.media import FRAME_SAMPLES, make_codec

    encoder = make_codec(codec)
    whole = len(speech) // FRAME_SAMPLES
    if not whole:
        raise ValueError("the speech is shorter than 20 ms")
    frames = speech[: whole * FRAME_SAMPLES].reshape(whole, FRAME_SAMPLES)
    return [encoder.encode(samples) for samples in frames]


def tone_reply() -> dict[str, Any]:
    """A `tts` command that brings its own sound, so that the server needs neither voice nor
    file."""
    from salon.media import sine

    sound = sine(330, REPLY_S, dbfs=-20.0).astype("<i2").tobytes()
    return {"command": "tts", "base64": True, "text": base64.b64encode(sound).decode()}


def late_ticks(metrics: str) -> int | None:
    """The server's late ticks in what its `/metrics` says; None if they are not in it."""
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name == "salon_ticker_late_ticks":
            return round(float(value))
    return None
