"""The command group: finding commands, saying errors, `version`, `new`, `serve`, `dev`."""

from __future__ import annotations

import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from salon import cli
from salon.app import server as server_module
from salon.app.house import AgentInfo, EngineInfo
from salon.app.settings import Settings
from salon.base import ConfigurationError, SalonError
from salon.cli import commands
from salon.cli.commands import COMMANDS, as_missing_extra, said, salon
from salon.cli.dev import Worker, is_watched, problem_of, worker_command
from salon.cli.new import starter_files
from salon.cli.serve import banner, warnings_of
from salon.cli.terminal import Lines
from salon.providers import load_agent

dev_module = import_module("salon.cli.dev")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("SALON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(salon, list(arguments))


# -- the group ------------------------------------------------------------------------------------


def test_help_lists_every_command() -> None:
    listed = run("-h").output
    assert all(f"\n  {name} " in listed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output


def test_an_unknown_command_is_wrong_usage() -> None:
    result = run("server")
    assert result.exit_code == 2
    assert "No such command 'server'" in result.output


def test_version_is_one_line() -> None:
    result = run("version")
    assert result.exit_code == 0
    assert result.output.startswith("salon ")
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in result.output


def test_a_missing_distribution_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> Any:
        raise ModuleNotFoundError("no uvicorn", name="uvicorn.config")

    monkeypatch.setattr(commands, "import_module", missing)
    result = run("version")
    assert result.exit_code == 2
    assert 'pip install "salon[serve]"' in result.output
    assert "Traceback" not in result.output


def test_a_module_that_is_nobodys_extra_is_a_bug_and_stays_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_name: str) -> Any:
        raise ModuleNotFoundError("no such thing", name="salon.nothing")

    monkeypatch.setattr(commands, "import_module", missing)
    assert isinstance(run("version").exception, ModuleNotFoundError)
    assert as_missing_extra(ModuleNotFoundError("nameless")) is None


def test_wrong_settings_are_exit_code_2_and_other_errors_1() -> None:
    assert said(ConfigurationError("wrong")).exit_code == 2
    assert said(SalonError("failed")).exit_code == 1


def test_the_program_runs_as_a_command_and_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["salon", "version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("salon.cli.__main__", run_name="__main__")
    assert ended.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_without_click_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "salon.cli.commands")
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert 'pip install "salon[serve]"' in capsys.readouterr().err


def test_another_missing_module_is_no_matter_of_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "salon.cli.commands", None)
    with pytest.raises(ModuleNotFoundError):
        cli.main()


# -- new ------------------------------------------------------------------------------------------


def test_a_new_project_runs(place: Path) -> None:
    result = run("new", "My-Agent")
    assert result.exit_code == 0, result.output
    assert "salon dev agent.py" in result.output
    project = place / "My-Agent"
    assert load_agent(project / "agent.py").name
    assert {"README.md", "pyproject.toml", ".gitignore", ".env.example", "tests"} <= {
        file.name for file in project.iterdir()
    }
    for file in project.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")


def test_nothing_of_the_template_stays_in_a_new_project() -> None:
    files = starter_files("My-Agent")
    assert not any(name.endswith(".tmpl") or "dot_" in name for name in files)
    assert "my_agent" in "".join(files.values()) or "My-Agent" in "".join(files.values())
    assert not any("${" in text for text in files.values())


def test_a_project_can_be_made_elsewhere_but_not_twice(place: Path) -> None:
    (place / "there").mkdir()
    assert run("new", "one", "--into", "there").exit_code == 0
    assert (place / "there" / "one" / "agent.py").is_file()
    again = run("new", "one", "--into", "there")
    assert again.exit_code == 2
    assert "exists already" in again.output


@pytest.mark.parametrize("name", ["1st", "../up", "a b", "a/b", "", "x" * 65])
def test_a_name_that_is_no_project_is_wrong_usage(place: Path, name: str) -> None:
    result = run("new", name)
    assert result.exit_code == 2
    assert "is no name for a project" in result.output
    assert list(place.iterdir()) == []


# -- serve ----------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Settings]]:
    """The settings `serve` would have run with; the server is announced and ends at once."""
    ran: list[Settings] = []
    before = logging.getLogger().level

    def instead(settings: Settings, app: Any, listener: Any, announce: Any) -> None:
        assert listener.getsockname()[1] > 0
        announce()
        ran.append(settings)

    monkeypatch.setattr(server_module, "run", instead)
    yield ran
    logging.getLogger().setLevel(before)


QUIET = ("--port", "0", "--stt", "none", "--tts", "none", "--data-dir", "kept")


def test_serve_announces_what_runs(served: list[Settings], place: Path) -> None:
    result = run("serve", *QUIET)
    assert result.exit_code == 0, result.output
    assert "is open: http://localhost:" in result.output
    assert "agent        Salon" in result.output
    assert "recognition  missing: recognition is switched off" in result.output
    assert f"data         {place / 'kept'}" in result.output
    assert (place / "kept" / "logs" / "salon.log").is_file()


def test_flags_win_over_the_env_file(served: list[Settings], place: Path) -> None:
    file = place / "other.env"
    file.write_text("SALON_MAX_CALLS=3\nSALON_RECORDING=true\nSALON_STORE_URL=memory://\n")
    result = run("serve", *QUIET, "--env-file", str(file), "--no-recording")
    assert result.exit_code == 0, result.output
    (settings,) = served
    assert (settings.max_calls, settings.recording) == (3, False)
    assert "rooms are kept in memory" in result.output
    assert "up to 3" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "many"), "'many': must be a whole number"),
        (("--host", "0.0.0.0"), "SALON_API_KEY must be set"),
        (("--agent", "nowhere.py"), "no such file"),
        (("--stt", "openai"), "SALON_STT_BASE_URL"),
    ],
)
def test_wrong_settings_are_exit_code_2_and_no_server(
    served: list[Settings], arguments: tuple[str, ...], words: str
) -> None:
    result = run("serve", *QUIET, *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert served == []


def test_a_server_that_cannot_start_frees_its_port_and_its_logs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers = list(logging.getLogger().handlers)
    kept: list[Any] = []

    def broken(_settings: Any, _app: Any, listener: Any, _announce: Any) -> None:
        kept.append(listener)
        raise SalonError("the store is gone")

    monkeypatch.setattr(server_module, "run", broken)
    result = run("serve", *QUIET)
    assert result.exit_code == 1
    assert "Error: the store is gone" in result.output
    assert kept[0].fileno() == -1
    assert [h for h in logging.getLogger().handlers if h not in handlers] == []


class Described:
    """A house, as far as the banner asks."""

    def describe_agent(self) -> AgentInfo:
        return AgentInfo("Otto")

    def describe_engines(self) -> dict[str, EngineInfo]:
        return {
            "recognition": EngineInfo("ears", True, "hears well"),
            "synthesis": EngineInfo("voice", True),
            "vad": EngineInfo("none", False, "not installed"),
        }


def test_the_banner_names_every_address_and_engine() -> None:
    house: Any = Described()
    text = "\n".join(banner(Settings(), house, ["http://a/", "http://b/"]))
    for line in (
        "also at      http://b/",
        "agent        Otto",
        "recognition  ears (hears well)",
        "synthesis    voice",
        "vad          missing: not installed",
    ):
        assert f"  {line}" in text


KEY = "a-key-of-enough-length"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "0.0.0.0", "api_key": KEY}, "without HTTPS"),
        ({"tls_self_signed": True}, "self-signed"),
        ({"allowed_hosts": frozenset({"*"})}, "Host check is off"),
        ({"store_url": "memory://"}, "kept in memory"),
    ],
)
def test_people_are_warned_of_what_settings_mean(changes: dict[str, Any], words: str) -> None:
    (warning,) = warnings_of(Settings(**changes))
    assert words in warning
    assert list(warnings_of(Settings())) == []


# -- dev ------------------------------------------------------------------------------------------


class FakeWorker:
    """Writes down what is asked of the server process."""

    happened: list[str]

    def __init__(self, command: list[str]) -> None:
        type(self).command = command
        type(self).happened = []

    command: list[str] = []  # noqa: RUF012

    def start(self) -> None:
        self.happened.append("start")

    def stop(self) -> None:
        self.happened.append("stop")


def watched(monkeypatch: pytest.MonkeyPatch, *steps: Any) -> None:
    """`dev` sees a change after each of these steps, then the end."""
    import watchfiles

    def watch(folder: Path, *, watch_filter: Any, stop_event: threading.Event, **_: Any) -> Any:
        assert watch_filter(1, str(folder / "agent.py"))
        assert not watch_filter(1, str(folder / "data" / "salon.db"))
        for step in steps:
            step(stop_event)
            if stop_event.is_set():
                return
            yield {(1, "agent.py")}

    monkeypatch.setattr(watchfiles, "watch", watch)
    monkeypatch.setattr(dev_module, "Worker", FakeWorker)


def test_dev_starts_again_with_each_change(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    (place / "agent.py").write_text("x = 1\n")
    watched(monkeypatch, lambda _stop: None, lambda _stop: None)
    before = signal.getsignal(signal.SIGTERM)
    result = run("dev", "agent.py", "--port", "9000", "--no-recording")
    assert result.exit_code == 0, result.output
    assert f"watching {place}" in result.output
    assert FakeWorker.happened == ["start", "stop", "start", "stop", "start", "stop"]
    assert FakeWorker.command[-5:] == [
        "--port", "9000", "--no-recording", "--shutdown-timeout", "0",
    ]  # fmt: skip
    assert signal.getsignal(signal.SIGTERM) == before


def test_dev_waits_while_the_file_is_broken(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    file = place / "agent.py"
    file.write_text("def broken(:\n")
    watched(monkeypatch, lambda _stop: file.write_text("x = 1\n"))
    result = run("dev", "agent.py")
    assert "agent.py:1: " in result.output
    assert "waiting for a change" in result.output
    assert FakeWorker.happened == ["stop", "start", "stop"]


def test_dev_ends_with_sigterm(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    (place / "agent.py").write_text("x = 1\n")
    watched(monkeypatch, lambda _stop: os.kill(os.getpid(), signal.SIGTERM))
    assert run("dev", "agent.py").exit_code == 0
    assert FakeWorker.happened == ["start", "stop"]


def test_dev_wants_a_file_that_is_there() -> None:
    assert run("dev", "nowhere.py").exit_code == 2


def test_the_server_gets_the_flags_that_were_given_and_no_calls_hold_it_up() -> None:
    flags = {
        "port": 9000,
        "data_dir": Path("d"),
        "recording": False,
        "tls_self_signed": True,
        "host": None,
    }
    command = worker_command(Path("agent.py"), flags)
    assert command == [
        sys.executable, "-m", "salon.cli", "serve", "--agent", "agent.py", "--port", "9000",
        "--data-dir", "d", "--no-recording", "--tls-self-signed", "--shutdown-timeout", "0",
    ]  # fmt: skip


def test_what_is_wrong_with_a_file_is_said_with_its_line(place: Path) -> None:
    file = place / "agent.py"
    file.write_text("x = 1\n")
    assert problem_of(file) is None
    file.write_text("x = 1\ny = (\n")
    assert (problem_of(file) or "").startswith(f"{file}:2: ")
    file.write_bytes(b"x = '\xff'\n")
    assert str(file) in (problem_of(file) or "")
    file.write_bytes(b"x = 1\0\n")
    assert str(file) in (problem_of(file) or "")
    assert str(place) in (problem_of(place) or "")


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("/p/agent.py", True),
        ("/p/.env", True),
        ("/p/house/facts.md", True),
        ("/p/data/salon.db", False),
        ("/p/data/notes.md", False),
        ("/p/.git/config.toml", False),
        ("/p/x/__pycache__/a.py", False),
        ("/p/agent.py~", False),
        ("/elsewhere/agent.py", False),
    ],
)
def test_only_changes_that_matter_start_the_server_again(path: str, matters: bool) -> None:
    assert is_watched(Path("/p"), Path(path)) is matters


def test_a_worker_is_one_process_at_most_and_is_gone_after_stop() -> None:
    worker = Worker([sys.executable, "-c", "input()"])
    assert not worker.running
    worker.stop()
    worker.start()
    process = worker._process
    assert process is not None
    worker.stop()
    assert process.returncode is not None
    assert not worker.running


def test_a_worker_that_ended_by_itself_needs_no_stop() -> None:
    worker = Worker([sys.executable, "-S", "-c", ""])
    worker.start()
    assert worker._process is not None
    worker._process.wait(20)
    assert not worker.running
    worker.stop()


def test_a_worker_that_will_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn:
        """Ends only when killed."""

        def __init__(self, *_: object, **options: Any) -> None:
            assert options == {"start_new_session": True}
            self.asked: list[str] = []

        def poll(self) -> None:
            return None

        def terminate(self) -> None:
            self.asked.append("terminate")

        def kill(self) -> None:
            self.asked.append("kill")

        def wait(self, timeout: float | None = None) -> int:
            if "kill" not in self.asked:
                raise subprocess.TimeoutExpired("server", timeout or 0)
            return -9

    monkeypatch.setattr(dev_module.subprocess, "Popen", Stubborn)
    worker = Worker(["server"])
    worker.start()
    process: Any = worker._process
    assert worker.running
    worker.stop()
    assert process.asked == ["terminate", "kill"]


# -- standard input -------------------------------------------------------------------------------


async def test_a_reader_whose_program_has_ended_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        def call_soon_threadsafe(self, *_: object) -> None:
            raise RuntimeError("Event loop is closed")

    asked: list[str] = []

    def source() -> Iterator[str]:
        for line in ("one", "two"):
            asked.append(line)
            yield line

    monkeypatch.setattr("salon.cli.terminal.source", source)
    lines = Lines.__new__(Lines)
    lines._wanted = threading.Semaphore(2)
    lines._loop = Ended()  # type: ignore[assignment]
    lines._read()
    assert asked == ["one"]
