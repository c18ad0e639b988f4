"""The image: what its files promise, and its steps run in clean root folders, without Docker."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from scripts.container.dockerfile import (
    DockerfileError,
    Ignored,
    Stage,
    assignments,
    expand,
    stages,
)
from scripts.container.machine import apt_sources, local_paths, mirror, pip_settings
from scripts.container.trial import health_command

from salon.app.tls import self_signed

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/container.sh"
SECRET = re.compile(r"KEY|TOKEN|PASSWORD|SECRET")
RUN_TIMEOUT_S = 600.0


# --- the Dockerfile ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image() -> list[Stage]:
    return stages((ROOT / "Dockerfile").read_text())


def test_the_image_runs_as_a_user_of_its_own(image: list[Stage]) -> None:
    user = image[-1].last("USER")
    assert user is not None
    assert user.text == "10001:10001"


def test_the_image_says_how_it_is_checked_and_stopped(image: list[Stage]) -> None:
    last = image[-1]
    assert health_command(last.last("HEALTHCHECK")) == ["python", "/opt/salon/health.py"]
    for word, text in {"STOPSIGNAL": "SIGTERM", "EXPOSE": "8000", "VOLUME": "/data"}.items():
        found = last.last(word)
        assert found is not None
        assert found.text == text
    entry, arguments = last.last("ENTRYPOINT"), last.last("CMD")
    assert entry is not None
    assert arguments is not None
    assert entry.exec_form() + arguments.exec_form() == ["salon", "serve"]


def test_images_are_named_by_version(image: list[Stage]) -> None:
    for stage in image:
        name, _, tag = stage.image.partition(":")
        assert re.fullmatch(r"\d+\S*", tag), f"{name}:{tag}"


def test_nothing_comes_from_an_address_and_nothing_is_secret(image: list[Stage]) -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"https?://|git@", text)
    for stage in image:
        for step in stage.instructions:
            assert step.word != "ADD"
            if step.word in {"ENV", "ARG"}:
                assert not SECRET.search(step.text), step.text


def test_every_package_is_installed_by_its_hash(image: list[Stage]) -> None:
    for stage in image:
        for step in stage.instructions:
            for part in step.text.split("&&") if step.word == "RUN" else ():
                if "pip" in part and " install " in part and "apt-get" not in part:
                    assert "--require-hashes" in part or "dist/salon-" in part, part


def test_a_build_without_the_voice_does_not_ask_for_it(image: list[Stage]) -> None:
    defaults = [step.text for stage in image for step in stage.instructions if step.word == "ARG"]
    assert defaults.count("VOICE=espeak") == 2
    settings = [step.text for step in image[-1].instructions if step.word == "ENV"]
    assert any("SALON_TTS=$VOICE" in text for text in settings)


def test_what_is_copied_is_there_and_let_in(image: list[Stage]) -> None:
    ignored = Ignored((ROOT / ".dockerignore").read_text())
    for stage in image:
        for step in stage.instructions:
            if step.word == "COPY" and "from" not in step.flags:
                for name in step.text.split()[:-1]:
                    assert (ROOT / name).exists(), name
                    assert not ignored(PurePosixPath(name)), name


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".git/config",
        "data/salon.db",
        "src/.env",
        "web/.env.local",
        "src/salon/web/index.html",
        "tests",
        "web/node_modules/vite/package.json",
        "src/salon/__pycache__/x.pyc",
        "scripts/lock.sh",
    ],
)
def test_what_must_not_reach_the_image_is_left_out(name: str) -> None:
    assert Ignored((ROOT / ".dockerignore").read_text())(PurePosixPath(name))


# --- the locks ---------------------------------------------------------------------------------


def locked(name: str) -> dict[str, str]:
    """``package==version`` to its hashes. Markers differ by what else asks for the package."""
    found: dict[str, str] = {}
    key = ""
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith(("#", " ")):
            key = line.split()[0]
            found.setdefault(key, "")
        elif key:
            found[key] += line
    return found


@pytest.mark.parametrize("name", ["requirements.run.lock", "requirements.build.lock"])
def test_the_image_has_the_versions_that_are_tested(name: str) -> None:
    every, some = locked("requirements.lock"), locked(name)
    assert some
    differs = [key for key in some if some[key] != every.get(key)]
    assert not differs, f"renew with: make lock ({differs})"


def asked_for(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """The names that an extra brings, with those of the extras it joins."""
    found: set[str] = set()
    for line in extras[extra]:
        if joined := re.match(r"salon\[(.+?)\]", line):
            found |= {name for inner in joined[1].split(",") for name in asked_for(inner, extras)}
        else:
            found.add(re.split(r"[^\w.-]", line)[0].lower())
    return found


def test_the_image_has_every_run_time_package_and_no_tool() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"] | {"": project["dependencies"]}
    names = {name for extra in ("", "all", "espeak") for name in asked_for(extra, extras)}
    present = {key.partition("==")[0].lower() for key in locked("requirements.run.lock")}
    assert names <= present, f"renew with: make lock ({names - present})"
    assert not present & {"pytest", "ruff", "mypy", "playwright", "hatchling", "mkdocs"}


# --- compose.yaml ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def test_compose_closes_what_salon_does_not_need(compose: dict[str, Any]) -> None:
    salon = compose["services"]["salon"]
    assert "profiles" not in salon
    assert salon["read_only"] is True
    assert salon["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in salon["security_opt"]
    assert salon["volumes"] == ["salon-data:/data"]
    assert ":?" in salon["environment"]["SALON_API_KEY"]


def test_profile_scale_adds_postgresql_and_redis(compose: dict[str, Any]) -> None:
    services = compose["services"]
    scale = {name for name, service in services.items() if service.get("profiles") == ["scale"]}
    assert scale == {"postgres", "redis"}
    for name in scale:
        assert services[name]["healthcheck"]["test"]
        (volume,) = services[name]["volumes"]
        assert volume.split(":")[0] in compose["volumes"]
    assert services["postgres"]["image"].startswith("postgres:15")
    assert services["redis"]["image"].startswith("redis:7")


def test_without_the_profile_no_password_is_demanded(compose: dict[str, Any]) -> None:
    for name in ("postgres", "redis"):  # Compose fills in variables of every service, on or off
        for value in compose["services"][name]["environment"].values():
            assert ":?" not in value


def test_compose_publishes_on_loopback_only(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for port in service["ports"]:
            assert port.startswith(("127.0.0.1:", "${PUBLISH:-127.0.0.1}:"))


# --- the health check --------------------------------------------------------------------------


@contextmanager
def answering(status: int, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server whose every answer has this status; its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # one that speaks TLS is first asked without

    server = Quiet(("127.0.0.1", 0), Answer)
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def health(port: int) -> int:
    """The exit code of the image's health check."""
    environment = os.environ | {"SALON_PORT": str(port)}
    check = [sys.executable, str(ROOT / "scripts/container/health.py")]
    return subprocess.run(check, env=environment, timeout=20).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_by_its_exit_code(status: int, code: int) -> None:
    with answering(status) as port:
        assert health(port) == code
    assert health(port) == 1, "nobody listens there any more"


def test_the_health_check_takes_tls(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path / "tls", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with answering(200, context) as port:
        assert health(port) == 0


# --- reading a Dockerfile ----------------------------------------------------------------------


def test_continued_lines_comments_and_flags_are_read() -> None:
    text = "FROM a:1 AS one\nRUN b \\\n  # said in between\n  && c\n\nCOPY --from=one d e\n"
    (stage,) = stages(text)
    run, copy = stage.instructions
    assert (run.text, run.line) == ("b && c", 2)
    assert (copy.text, copy.flags) == ("d e", {"from": "one"})


@pytest.mark.parametrize(
    "text",
    [
        "ADD a b",
        "COPY --chmod=755 a b",
        "RUN --mount=type=cache a",
        "FROM a:1",
        "RUN \\",
        "ENV",
        "",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError):
        stages(text if text.startswith("FROM") or not text else f"FROM a:1 AS a\n{text}")


def test_a_step_before_the_first_stage_is_refused() -> None:
    with pytest.raises(DockerfileError, match="before FROM"):
        stages("RUN a")


def test_variables_are_filled_in() -> None:
    assert expand("$A/${B}/$C", {"A": "1", "B": "2"}) == "1/2/"
    (stage,) = stages('FROM a:1 AS a\nENV X=$A Y="b c"')
    assert assignments(stage.instructions[0], {"A": "1"}) == {"X": "1", "Y": "b c"}


def test_the_last_ignore_rule_that_fits_counts() -> None:
    ignored = Ignored("*\n!src\nsrc/*.log\n**/tmp\n!src/a/tmp/kept")
    kept = ["src", "src/x.py", "src/a/b.log", "src/a/tmp/kept"]
    assert [name for name in kept if ignored(PurePosixPath(name))] == []
    for name in ("docs", "docs/x", "src/x.log", "src/a/tmp/x", "src/tmp"):
        assert ignored(PurePosixPath(name)), name
    assert ignored.whole(PurePosixPath("src/tmp"))
    assert not ignored.whole(PurePosixPath("src/a/tmp"))


# --- what the machine lends --------------------------------------------------------------------


def test_only_lines_for_the_suite_are_taken_from_the_machine(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "deb [arch=amd64] http://mirror.test/debian bookworm main contrib\n"
        "# deb http://off.test/debian bookworm main\n"
        "deb http://tool.test/ bookworm stable\n"
    )
    (tmp_path / "sources.list.d/a.sources").write_text(
        "Types: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security trixie\n"
        "Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://off.test/\n"
        "Suites: bookworm\nComponents: main\n"
    )
    found = apt_sources(tmp_path)
    assert found == [
        "deb http://mirror.test/debian bookworm main",
        "deb http://mirror.test/security bookworm-security main",
    ]
    assert mirror(found) == "http://mirror.test/debian"
    assert mirror([]) is None


def test_the_settings_of_pip_are_read_from_its_list(tmp_path: Path) -> None:
    index = tmp_path / "index/simple"
    index.mkdir(parents=True)
    listed = f"global.index-url='file://{index}'\nglobal.timeout='9'\n:env:.timeout='20'\n:env:.cert='x'\n"
    settings = pip_settings(listed)
    assert settings == {"global": {"index-url": f"file://{index}", "timeout": "20"}}
    assert local_paths(settings) == [index.parent]


# --- the whole run -----------------------------------------------------------------------------


def scratch_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("salon-container-*"))


@pytest.fixture(scope="module")
def debootstrap() -> None:
    """Root, debootstrap and Node.js; where all is required debootstrap is installed."""
    required = bool(os.environ.get("SALON_REQUIRE_ALL"))
    if required and os.geteuid() == 0 and not shutil.which("debootstrap"):
        quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        subprocess.run([*quiet, "update"], timeout=300)
        install = [*quiet, "install", "-y", "--no-install-recommends", "debootstrap"]
        quietly = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, env=quietly, capture_output=True, timeout=300)
    give_up = pytest.fail if required else pytest.skip
    if os.geteuid() != 0:
        give_up("this test needs root, for chroot and mounts of its own")
    if not shutil.which("debootstrap"):
        give_up("this test needs debootstrap: apt install debootstrap")
    if not shutil.which("npm"):
        give_up("this test needs Node.js 20.19 or newer with npm")


@pytest.mark.slow
@pytest.mark.usefixtures("debootstrap")
def test_the_image_builds_starts_answers_and_stops() -> None:
    before = scratch_folders()
    done = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("healthy after", "a call was answered", "ended by SIGTERM", "it works"):
        assert said in done.stdout
    assert scratch_folders() <= before


@pytest.mark.slow
@pytest.mark.usefixtures("debootstrap")
def test_a_run_that_is_ended_leaves_nothing_behind() -> None:
    before = scratch_folders()
    with subprocess.Popen([SCRIPT], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert "ready" in running.stdout.readline()
        (scratch,) = scratch_folders() - before
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 128 + signal.SIGTERM
    assert not scratch.exists()
    deadline = time.monotonic() + 60
    while left := [line for line in processes() if str(scratch) in line]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def processes() -> list[str]:
    """The command lines of every process of this machine."""
    found: list[str] = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text(errors="replace").replace("\0", " "))
        except OSError:
            continue  # it has just ended
    return found
