"""``salon probe``: a real call, watched from the outside.

What is measured is the client's: the true end of speech is found in the recording by its energy,
and the clock stops at the first byte of the reply.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salon.base import SYSTEM_CLOCK, SalonError, TaskScope, new_id
from salon.cli.probe_load import load
from salon.cli.running import run_async, tls_context

if TYPE_CHECKING:
    from salon.clients.call import AudioPacket, CallClient, CallEvent, Microphone
    from salon.media import Samples

QUIET = 0.8
"""Seconds without sound after which a reply is over."""
GREETING = 1.0
"""Seconds an agent gets to begin a greeting before the first turn."""
TONE_SECONDS = 1.0
ASKED = "Hello."
"""What is asked in writing where there is no speech to understand."""
LATENCY = "turn.latency"
FIRST_BYTE = "the first reply byte"


class ProbeFailed(SalonError):
    """The call did not do what was asked of it."""

    code = "probe"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to try. `file` None means a tone and a question in writing."""

    url: str
    file: Path | None
    handler: str
    room: str | None
    codec: str
    api_key: str | None
    save: Path | None
    turns: int
    timeout: float
    insecure: bool


@dataclass(slots=True)
class Turn:
    """What came of one turn. Times in ms; `latency_ms` is None if the reply began too early."""

    number: int
    measured: str
    latency_ms: float | None = None
    reply_ms: float = 0.0
    heard: str = ""
    server: dict[str, Any] | None = None


@dataclass(slots=True)
class Report:
    """The outcome of a whole call."""

    turns: list[Turn] = field(default_factory=list)
    received_ms: float = 0.0
    saved: str | None = None
    microphone_late_ms: float = 0.0

    @property
    def latencies(self) -> list[float]:
        return [turn.latency_ms for turn in self.turns if turn.latency_ms is not None]


class Screen:
    """Says what happens: lines for people, or one JSON object a line. `first` names what ends the
    wait for a reply."""

    def __init__(self, as_json: bool, first: str = FIRST_BYTE) -> None:
        self._json = as_json
        self._first = first
        self.start: float | None = None

    def event(self, event: CallEvent) -> None:
        if self._json:
            self._object({"at": self._since(event.at), "event": dict(event.data)})
        else:
            self._line(event.at, f"{event.name:<13} {_gist(event)}".rstrip())

    def note(self, at: float, text: str) -> None:
        if self._json:
            self._object({"at": self._since(at), "note": text})
        else:
            self._line(at, click.style(text, dim=True))

    def turn(self, turn: Turn) -> None:
        if self._json:
            self._object({"turn": asdict(turn)})
        else:
            for line in _turn_lines(turn, self._first):
                click.echo(line)

    def figures(self, name: str, data: Mapping[str, Any], *lines: str) -> None:
        """Figures that a way has of its own."""
        if self._json:
            self._object({name: data})
        else:
            for line in lines:
                click.echo(line)

    def report(self, report: Report) -> None:
        if self._json:
            self._object({"report": asdict(report)})
            return
        if len(report.latencies) > 1:
            middle = statistics.median(report.latencies)
            click.echo(f"latency: median {middle:.0f} ms, worst {max(report.latencies):.0f} ms")
        if report.saved:
            click.echo(f"reply saved: {report.saved} ({report.received_ms / 1000:.2f} s of sound)")

    def _since(self, at: float) -> float:
        self.start = at if self.start is None else self.start
        return round(at - self.start, 4)

    def _line(self, at: float, text: str) -> None:
        click.echo(f"{self._since(at):9.3f} s  {text}")

    def _object(self, data: dict[str, Any]) -> None:
        click.echo(json.dumps(data, ensure_ascii=False))


def _gist(event: CallEvent) -> str:
    """What matters of an event, in one short line."""
    data = event.data
    if event.name in {"asrFinal", "asrDelta"}:
        return f'"{data.get("text", "")}"'
    if event.name == "metrics":
        return f"{data.get('key')} {data.get('duration')} ms"
    keys = ("error", "code", "reason", "initiator", "playId", "duration", "current", "digit")
    return "  ".join(f"{key}={data[key]}" for key in keys if key in data)


def _turn_lines(turn: Turn, first: str = FIRST_BYTE) -> Iterator[str]:
    if turn.latency_ms is None:
        said = "the reply began before the end of speech"
    else:
        said = f"{turn.latency_ms:.0f} ms from {turn.measured} to {first}"
    line = click.style(f"turn {turn.number}: {said}", bold=True)
    if turn.server is not None:
        parts = turn.server.get("data") or {}
        stages = ", ".join(
            f"{label} {parts[key]}"
            for key, label in _STAGES.items()
            if isinstance(parts.get(key), int | float)
        )
        line += f"  (server: {turn.server.get('duration')} ms{': ' + stages if stages else ''})"
    yield line
    heard = f'heard "{turn.heard}"; ' if turn.heard else ""
    yield f"        {heard}reply of {turn.reply_ms / 1000:.2f} s"


_STAGES = {
    "recognised": "recognised",
    "firstWord": "first word",
    "firstSound": "first sound",
    "firstAudio": "first audio",
}


class Prober:
    """One call by `plan`."""

    def __init__(self, plan: Plan, screen: Screen, call: CallClient) -> None:
        self._plan = plan
        self._screen = screen
        self._call = call
        self._sound = asyncio.Event()
        self._last_sound: float | None = None
        self._last_error = ""
        self._over = False
        self._ended = "the call ended"
        self._events: deque[CallEvent] = deque(maxlen=1024)
        call.on_audio(self._on_audio)

    def _on_audio(self, packet: AudioPacket) -> None:
        if self._last_sound is None or packet.at - self._last_sound > QUIET:
            self._screen.note(packet.at, "reply audio begins")
        self._last_sound = packet.at
        self._sound.set()

    async def watch(self) -> None:
        """Show every event; as controller, answer what was understood (G126: nobody else does)."""
        from salon.clients.call import ClientError

        try:
            async for event in self._call.events():
                self._screen.event(event)
                self._events.append(event)
                if event.name == "error":
                    self._last_error = str(event.data.get("error", ""))
                text = event.data.get("text")
                if event.name == "asrFinal" and text and self._plan.handler == "controller":
                    await self._call.tts(f"You said: {text}")
        except ClientError as error:
            self._ended = str(error)
        finally:
            self._over = True
            self._sound.set()

    async def turn(self, number: int, speech: Samples | None, microphone: Microphone) -> Turn:
        """Say it and wait for the whole reply."""
        before = self._call.received.total
        self._events.clear()
        if speech is None:
            turn = Turn(number, "the written question")
            end = await self._ask(microphone)
            begin = end
        else:
            turn = Turn(number, "the end of speech")
            begin, end = await self._speak(speech, microphone)
        await self._reply_after(end, turn)
        await self._quiet()
        reply = self._new_packets(before)
        if reply and not begin <= reply[0].at < end:
            first = self._call.received.first_after(end)
            turn.latency_ms = (first.at - end) * 1000 if first else None
        turn.reply_ms = len(self._call.received.samples(reply)) / 16
        for event in self._events:
            if event.name == "asrFinal":
                turn.heard = f"{turn.heard} {event.data.get('text', '')}".strip()
            elif event.name == "metrics" and event.data.get("key") == LATENCY:
                turn.server = {key: event.data.get(key) for key in ("duration", "data")}
        return turn

    def _new_packets(self, before: int) -> list[AudioPacket]:
        new = self._call.received.total - before
        return list(self._call.received.packets[-new:]) if new else []

    async def _speak(self, speech: Samples, microphone: Microphone) -> tuple[float, float]:
        from salon.clients.call import speech_bounds

        bounds = speech_bounds(speech)
        if bounds is None:
            raise ProbeFailed(f"{self._plan.file}: there is no speech in it")
        spoken = await microphone.say(speech)
        self._screen.note(spoken.at(bounds[1]), "end of speech")
        return spoken.at(bounds[0]), spoken.at(bounds[1])

    async def _ask(self, microphone: Microphone) -> float:
        from salon.media import sine

        await microphone.say(sine(440, TONE_SECONDS, dbfs=-12))
        at = SYSTEM_CLOCK.monotonic()
        if self._plan.handler == "controller":
            await self._call.tts(ASKED)
        else:
            await self._call.chat(ASKED)
        self._screen.note(at, f'asked in writing: "{ASKED}"')
        return at

    async def _reply_after(self, end: float, turn: Turn) -> None:
        try:
            async with asyncio.timeout(self._plan.timeout):
                while self._last_sound is None or self._last_sound < end:
                    if self._over:
                        raise ProbeFailed(self._without(turn, self._ended))
                    self._sound.clear()
                    await self._sound.wait()
        except TimeoutError:
            after = f"{self._plan.timeout:g} s have passed"
            raise ProbeFailed(self._without(turn, after)) from None

    def _without(self, turn: Turn, why: str) -> str:
        said = f"; the server said: {self._last_error}" if self._last_error else ""
        return f"turn {turn.number}: no reply, {why}{said}"

    async def _quiet(self) -> None:
        """Wait for the end of what is being said, at most `timeout` seconds."""
        try:
            async with asyncio.timeout(self._plan.timeout):
                while await self._sounds_within(QUIET):
                    pass
        except TimeoutError:
            self._screen.note(SYSTEM_CLOCK.monotonic(), "the reply goes on; next turn")

    async def greeting(self) -> None:
        """Let an agent that begins speak to its end."""
        if await self._sounds_within(GREETING):
            await self._quiet()

    async def _sounds_within(self, seconds: float) -> bool:
        if self._over:
            return False
        self._sound.clear()
        try:
            async with asyncio.timeout(seconds):
                return await self._sound.wait()
        except TimeoutError:
            return False


class Way:
    """How the sound of a call goes: here in binary frames of the call's own WebSocket."""

    first = FIRST_BYTE
    """What ends the wait for a reply."""

    def client(self) -> type[CallClient]:
        """Who places the call."""
        from salon.clients.call import CallClient

        return CallClient

    async def invite(self, call: CallClient, plan: Plan, screen: Screen) -> None:
        """Start the call, which is connected."""
        await call.invite(plan.codec, asr={}, tts={}, vad={}, timeout=plan.timeout)

    async def before_turns(self, call: CallClient, screen: Screen) -> None:
        """What comes after a greeting."""

    def after(self, call: CallClient, screen: Screen) -> None:
        """The call is over, well or not."""


async def place(plan: Plan, screen: Screen, way: Way) -> Report:
    """Place the call. Raises `ProbeFailed` and what `CallClient` raises."""
    from salon.clients.call.microphone import load

    speech = None if plan.file is None else await load(plan.file)
    report = Report()
    tasks = TaskScope("probe")
    async with way.client().connect(
        plan.url,
        api_key=plan.api_key,
        handler=None if plan.handler == "controller" else plan.handler,
        room=plan.room,
        participant="probe",
        name="Probe",
        open_timeout=plan.timeout,
        tls=tls_context(plan.insecure),
    ) as call:
        prober = Prober(plan, screen, call)
        screen.start = SYSTEM_CLOCK.monotonic()
        tasks.spawn(prober.watch(), name="events")
        try:
            await way.invite(call, plan, screen)
            async with call.microphone() as microphone:
                await prober.greeting()
                await way.before_turns(call, screen)
                for number in range(1, plan.turns + 1):
                    report.turns.append(await prober.turn(number, speech, microphone))
                    screen.turn(report.turns[-1])
                report.microphone_late_ms = round(microphone.max_late * 1000, 1)
            await call.hangup()
            await call.wait_closed(plan.timeout)
            await tasks.drain(1.0)
        finally:
            await tasks.close()
            way.after(call, screen)
            await _save(plan, call, report)
    return report


async def _save(plan: Plan, call: CallClient, report: Report) -> None:
    from salon.media import write_wav

    report.received_ms = len(call.received.samples()) / 16
    if plan.save is not None and call.received.total:
        try:
            await asyncio.to_thread(write_wav, plan.save, call.received.timeline())
        except OSError as error:
            raise ProbeFailed(f"--save {plan.save}: {error.strerror}") from None
        report.saved = str(plan.save)


@click.group()
def probe() -> None:
    """Place a test call to a running server and measure it."""


probe.add_command(load)

Command = Callable[..., Any]


def _options(codecs: tuple[str, ...]) -> Callable[[Command], Command]:
    """What every kind of call has; the first of `codecs` is the default."""
    options = (
        click.option("--sine", is_flag=True, help="Send a tone, ask a question in writing."),
        click.option(
            "--file",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Speak this WAV file (any rate).",
        ),
        click.option(
            "--handler",
            type=click.Choice(["controller", "room"]),
            help="Who answers: this program (says what it understood), or the agent of a room. "
            "Default: room if --room is given.",
        ),
        click.option("--room", help="Id of the room; a new one if not given."),
        click.option("--codec", type=click.Choice(codecs), default=codecs[0], show_default=True),
        click.option(
            "--api-key", envvar="SALON_API_KEY", show_envvar=True, help="Key of the server."
        ),
        click.option(
            "--save",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write the reply as WAV.",
        ),
        click.option("--turns", type=click.IntRange(1, 10_000), default=1, show_default=True),
        click.option(
            "--timeout",
            type=click.FloatRange(0, 600, min_open=True),
            default=15.0,
            show_default=True,
            help="Seconds to wait for the connection, the answer and each reply.",
        ),
        click.option("--insecure", is_flag=True, help="Accept any TLS certificate."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@probe.command()
@click.option(
    "--url", default="ws://127.0.0.1:8000", show_default=True, help="The server, or its /ws."
)
@_options(("pcm", "pcmu", "pcma", "g722"))
def websocket(**given: Any) -> None:
    """Place a call over WebSocket and show it live.

    Each event is one line with the seconds since the connection. After each turn stands how long
    the reply took, measured here, beside what the server says. Exit code 1 if a reply is missing.
    """
    _run(Way(), given)


@probe.command()
@click.option(
    "--url", default="ws://127.0.0.1:8000", show_default=True, help="The server, or its /webrtc."
)
@_options(("opus", "pcmu", "pcma", "g722"))
@click.option("--dtmf", default="", metavar="KEYS", help="Press these keys before the first turn.")
@click.option(
    "--ice-server",
    "ice_servers",
    multiple=True,
    metavar="URL",
    help="stun:host:port or turn:host:port, or JSON with user and credential; repeatable.",
)
def webrtc(dtmf: str, ice_servers: tuple[str, ...], **given: Any) -> None:
    """Place a call over WebRTC and show it live.

    As `salon probe websocket`; besides it says how long connecting took, what was agreed on, by
    which addresses the packets went, and what the network did to them.
    """
    from salon.cli.probe_webrtc import WebRtcWay

    _run(WebRtcWay(dtmf, ice_servers), given)


def _run(way: Way, given: dict[str, Any]) -> None:
    """Check what was given, place the call, report."""
    if given.pop("sine") == (given["file"] is not None):
        raise click.UsageError("give either --sine or --file")
    if given["handler"] == "controller" and given["room"]:
        raise click.UsageError(
            "with --handler controller this program answers, no room takes part: leave out --room"
        )
    if given["save"] is not None:
        _check_folder(given["save"].parent)
    handler = given.pop("handler") or ("room" if given["room"] else "controller")
    if handler == "room" and not given["room"]:
        given["room"] = f"probe-{new_id()[:12]}"
    screen = Screen(given.pop("as_json"), way.first)
    screen.report(run_async(place(Plan(handler=handler, **given), screen, way)))


def _check_folder(folder: Path) -> None:
    """`UsageError` before the call if nothing could be saved there after it."""
    if not folder.is_dir():
        raise click.UsageError(f"--save: no such folder: {str(folder)!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"--save: the folder {str(folder)!r} can't be written to")
