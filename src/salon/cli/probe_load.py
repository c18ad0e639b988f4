"""``salon probe load``: many calls at once, and how evenly the server's sound comes back."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import click

from salon.base import SalonError
from salon.cli.running import run_async, tls_context

if TYPE_CHECKING:
    import ssl

    from salon.clients.call.load import LoadPlan, LoadReport, LoadStatus
    from salon.media import Samples

METRICS_TIMEOUT_S = 3.0
EVERY = 5
"""While all calls are held, a line of progress each so many seconds."""
BUZZ_S = 8.0
CLIENT_SHARE = 0.5
"""Above this part of a figure, the client's own lateness spoils it."""
CLIENT_LATE_MS = 20.0
"""And above this in any case."""
T = TypeVar("T")


class LoadFailed(SalonError):
    """Calls were refused or lost, or sound was later than allowed."""

    code = "load"


@click.command()
@click.option(
    "--url", default="ws://127.0.0.1:8000", show_default=True, help="The server, or its /ws."
)
@click.option("--calls", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1000, min_open=True),
    default=10.0,
    show_default=True,
    help="New calls a second.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 86_400),
    default=30.0,
    show_default=True,
    help="How long all of them are held and measured.",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="What each call says, round and round; a buzz with pauses if not given.",
)
@click.option("--play", metavar="SOUND", help="What is played to each: a file or URL there.")
@click.option("--say", metavar="TEXT", help="What is spoken to each by the server's voice.")
@click.option("--asr", is_flag=True, help="Recognise what is said, too.")
@click.option("--no-vad", is_flag=True, help="Without voice activity detection.")
@click.option(
    "--codec",
    type=click.Choice(("pcm", "pcmu", "pcma", "g722")),
    default="pcm",
    show_default=True,
)
@click.option(
    "--limit-ms",
    type=click.FloatRange(0, min_open=True),
    help="Fail if 1 % of the frames come later than this.",
)
@click.option("--api-key", envvar="SALON_API_KEY", show_envvar=True, help="Key of the server.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 600, min_open=True),
    default=15.0,
    show_default=True,
    help="Seconds to wait for each connection.",
)
@click.option("--insecure", is_flag=True, help="Accept any TLS certificate.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def load(**given: Any) -> None:
    """Place many calls at once and measure how late their sound comes.

    Each call sends speech and hears a sound of the server, both at their pace. After the ramp all
    are held for --seconds; then they hang up and a table says how late frames came, against the
    grid of 20 ms, and what became of the calls. Exit code 1 if a call was refused, lost or stuck,
    or --limit-ms was passed.
    """
    if given["play"] and given["say"]:
        raise click.UsageError("give either --play or --say")
    as_json, limit = given.pop("as_json"), given.pop("limit_ms")
    show = _Lines(as_json)
    report = _run(place(given, show.status))
    show.report(report)
    why = failure(report, limit)
    if why:
        raise LoadFailed(why)


async def place(given: dict[str, Any], tell: Callable[[LoadStatus], None]) -> LoadReport:
    """Make the plan of what was given on the command line and carry it out."""
    from salon.clients.call.load import Load, LoadPlan

    speech = await _speech(given["file"])
    reply: dict[str, Any] | None = None
    if given["play"]:
        reply = {"command": "play", "url": given["play"]}
    elif given["say"]:
        reply = {"command": "tts", "text": given["say"]}
    option: dict[str, Any] = {"asr": {}} if given["asr"] else {}
    if given["say"]:
        option["tts"] = {}
    tls = tls_context(given["insecure"])
    plan = LoadPlan(
        given["url"],
        given["calls"],
        speech,
        seconds=given["seconds"],
        rate=given["rate"],
        codec=given["codec"],
        reply=reply,
        vad=not given["no_vad"],
        option=option,
        api_key=given["api_key"],
        timeout=given["timeout"],
        tls=tls,
    )
    return await Load(plan, tell=tell, late_ticks=lambda: server_late_ticks(plan, tls)).run()


def server_late_ticks(plan: LoadPlan, tls: ssl.SSLContext | None) -> int | None:
    """What the server's `/metrics` says, None if it can't be had."""
    from salon.clients.call.addresses import call_url
    from salon.clients.call.load import late_ticks

    parts = urlsplit(call_url(plan.url, {}))
    scheme = "https" if parts.scheme == "wss" else "http"
    request = urllib.request.Request(urlunsplit((scheme, parts.netloc, "/metrics", "", "")))
    if plan.api_key:
        request.add_header("Authorization", f"Bearer {plan.api_key}")
    try:
        with urllib.request.urlopen(  # nosec B310 - http(s) only, see above
            request, timeout=METRICS_TIMEOUT_S, context=tls
        ) as answer:
            return late_ticks(answer.read().decode(errors="replace"))
    except (OSError, ValueError):
        return None


async def _speech(file: Path | None) -> Samples:
    if file is None:
        return buzz()
    from salon.clients.call.microphone import load as load_speech

    return await load_speech(file)


def buzz() -> Samples:
    """Something that a detector takes for speech and for pauses, in turn."""
    import numpy as np

    at = np.arange(round(BUZZ_S * 16_000)) / 16_000
    wave = sum(np.sin(2 * np.pi * 130 * k * at) / k for k in range(1, 20))
    loud = (np.sin(2 * np.pi * 3 * at) > -0.2) & (np.sin(2 * np.pi * 0.3 * at) > 0)
    samples: Samples = (wave * loud * 3000).astype(np.int16)
    return samples


def failure(report: LoadReport, limit_ms: float | None) -> str:
    """Why the run is a failure, "" if it is none."""
    if not report.held:
        refused = sum(report.refused.values())
        return (
            f"{report.answered} of {report.calls} calls were answered: {refused} refused, "
            f"{report.failed} failed, {report.lost} lost, {report.stuck} did not end"
        )
    if not report.frames:
        return "no sound came back"
    if limit_ms is not None and report.p99_ms > limit_ms:
        return f"1 % of the frames came {report.p99_ms:.1f} ms late or more, over {limit_ms:g} ms"
    return ""


class _Lines:
    """Says how it goes: for people, or one JSON object a line."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._held = 0

    def status(self, status: LoadStatus) -> None:
        if self._json:
            click.echo(json.dumps({"status": asdict(status)}))
            return
        if status.phase == "hold":
            self._held += 1
            if self._held % EVERY:
                return
        wrong = status.refused + status.failed + status.lost
        late = f"late p99 {status.p99_ms:.1f} max {status.max_ms:.1f} ms"
        click.echo(
            f"{status.at:7.1f} s  {status.phase:<4}  {status.live}/{status.wanted} calls live, "
            f"{status.frames} frames/s, {late}" + (f", {wrong} gone wrong" if wrong else "")
        )

    def report(self, report: LoadReport) -> None:
        if self._json:
            click.echo(json.dumps({"report": asdict(report) | {"held": report.held}}))
            return
        click.echo("")
        for name, value in _rows(report):
            click.echo(f"{name:<22}{value}")
        if report.client_p99_ms > min(CLIENT_SHARE * max(report.p99_ms, 1.0), CLIENT_LATE_MS):
            click.echo(
                click.style("this program itself was late: ", bold=True)
                + "use fewer calls per client, or another machine, to measure the server"
            )
        for error, count in report.errors.items():
            click.echo(f"error ({count}x)  {error}")


def _rows(report: LoadReport) -> list[tuple[str, str]]:
    refused = ", ".join(f"{count} with {status}" for status, count in report.refused.items())
    server = "not known (no /metrics)"
    if report.server_late_ticks is not None:
        share = 100 * report.server_late_ticks / max(1, report.server_ticks or 0)
        server = f"{report.server_late_ticks} of {report.server_ticks} ticks ({share:.2f} %)"
    share = 100 * report.missing / report.expected if report.expected else 0.0
    return [
        ("calls", f"{report.answered} of {report.calls} answered, held {report.seconds:.0f} s"),
        ("refused", refused or "none"),
        ("failed, lost, stuck", f"{report.failed}, {report.lost}, {report.stuck}"),
        ("frames", f"{report.frames} came, about {report.missing} missing ({share:.2f} %)"),
        (
            "late",
            f"p50 {report.p50_ms:.2f}  p99 {report.p99_ms:.2f}  max {report.max_ms:.2f} ms",
        ),
        ("late here", f"p99 {report.client_p99_ms:.2f}  max {report.client_max_ms:.2f} ms"),
        ("late in the server", server),
    ]


def _run(work: Coroutine[Any, Any, T]) -> T:
    """On uvloop where it is installed: half the cost per call."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return run_async(work)
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        return run_async(work)
    finally:
        asyncio.set_event_loop_policy(before)
