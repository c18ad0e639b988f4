"""What goes wrong in somebody's first hour is said in words, before anything was done."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from salon.app.engines import HOUSE_NOTE, Engines, wrong_voice
from salon.app.metrics import Metrics
from salon.app.settings import Settings
from salon.base import ConfigurationError
from salon.cli.commands import salon
from salon.cli.traces import FromTheirs, first_of_theirs, short_traces
from salon.providers import MockAIProvider, load_agent
from salon.providers.house import HouseAgent
from salon.voice.tts import MockTextToSpeech, TextToSpeech

AGENT = """
import salon

@salon.agent
async def helper(turn, room):
    raise ValueError("out of order")
    yield ""
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("SALON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(salon, list(arguments), input=typed)


def refused(result: Result, words: str, code: int = 2) -> None:
    assert result.exit_code == code, result.output
    assert words in result.output
    assert isinstance(result.exception, SystemExit)  # no traceback


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SALON_PORT=0\n\n# a note\n\nthis is no setting\n", 5),
        ("SALON_API_KEY='never closed\n", 1),
        ("A=1\nSALON_API_KEY\n", 2),
    ],
)
def test_a_broken_line_of_the_env_file_is_named_but_not_shown(
    place: Path, text: str, line: int
) -> None:
    (place / ".env").write_text(text)
    result = run("serve")
    refused(result, f".env, line {line}: is not NAME=value")
    assert "never closed" not in result.output
    assert "dotenv" not in result.output


def test_lines_that_other_programs_understand_are_let_be(place: Path) -> None:
    (place / ".env").write_text("export PATH_OF_MINE=x\nJUST_A_WORD\nSALON_MAX_CALLS=0\n")
    refused(run("serve"), "SALON_MAX_CALLS='0': must be from 1")


@pytest.mark.parametrize("host", ["999.1.1.1", "1.2.3", "[::1]", "a b", "-x", "http://x", "::g"])
def test_an_address_that_is_none_is_said_before_a_missing_key(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("SALON_HOST", host)
    result = run("serve")
    refused(result, f"SALON_HOST={host!r}: must be an IP address or a host name")
    assert "SALON_API_KEY" not in result.output


@pytest.mark.parametrize("host", ["::1", "127.0.0.1", "localhost", "my_box.example.", "x"])
def test_addresses_and_names_are_taken(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("SALON_HOST", host)
    assert "must be an IP address" not in run("serve", "--tls-cert", "nowhere.pem").output


# -- voices and agents ----------------------------------------------------------------------------


class Choir(MockTextToSpeech):
    """An engine with voices."""

    closed = 0

    def __init__(self) -> None:
        super().__init__()
        self.name = "choir"

    def voices(self) -> tuple[str, ...]:
        return ("alto", "bass", "soprano")

    async def close(self) -> None:
        self.closed += 1
        await super().close()


def engines(agent: Any = None, **changes: Any) -> Engines:
    settings = Settings(stt="none", tts="none", **changes)
    return Engines(settings, Metrics(), agent or MockAIProvider(["x"]))


async def opened(made: Engines, tts: TextToSpeech) -> None:
    """As the house does it: a failure is told, and may be refused."""
    made.tts = tts
    service = next(item for item in made.services() if item.name.startswith("synthesis"))
    try:
        await service.start()
    except ConfigurationError as error:
        assert service.on_failure is not None
        service.on_failure(str(error))


async def test_a_voice_that_the_engine_lacks_is_no_start_and_the_engine_is_closed() -> None:
    choir = Choir()
    with pytest.raises(ConfigurationError, match=r"SALON_TTS_VOICE='sopran': choir .*soprano\?"):
        await opened(engines(tts_voice="sopran"), choir)
    assert choir.closed == 1


async def test_a_voice_that_the_engine_has_starts_and_a_missing_engine_is_done_without() -> None:
    made = engines(tts_voice="alto")
    await opened(made, Choir())
    assert made.describe()["synthesis"].name == "choir"
    service = next(item for item in made.services() if item.name.startswith("synthesis"))
    assert service.on_failure is not None
    service.on_failure("not installed")
    assert made.describe()["synthesis"].note == "not installed"


def test_a_variant_belongs_to_its_voice_and_engines_without_a_list_take_any() -> None:
    choir = Choir()
    assert "it has alto, bass, soprano" in str(wrong_voice("zz", choir))
    assert wrong_voice("alto+f3", choir) is not None
    choir.name = "espeak"
    assert wrong_voice("alto+f3", choir) is None
    assert wrong_voice("Alto", choir) is None
    assert wrong_voice(None, choir) is None
    assert wrong_voice("anyone", MockTextToSpeech()) is None


def test_the_note_on_the_agent_is_true(place: Path) -> None:
    (place / "agent.py").write_text(AGENT)
    yours = load_agent(place / "agent.py")
    assert engines(yours).describe()["model"].note == "your code"
    assert engines(HouseAgent.load()).describe()["model"].note == HOUSE_NOTE
    yours.model_name = "a model"
    assert engines(yours).describe()["model"].note == ""


# -- new ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("salon", "Salon itself"),
        ("SALON", "Salon itself"),
        ("json", "Python's standard library"),
        ("class", "a word of Python's own"),
    ],
)
def test_a_project_is_not_called_like_what_it_imports(place: Path, name: str, whose: str) -> None:
    refused(run("new", name), whose)
    assert list(place.iterdir()) == []


def test_a_folder_that_takes_no_project_is_said(place: Path) -> None:
    refused(run("new", "my-agent", "--into", "/proc"), "/proc/my-agent can't be made", 1)


# -- probe ----------------------------------------------------------------------------------------

NOBODY = ("probe", "websocket", "--sine", "--url", "ws://127.0.0.1:1")


def test_a_reply_that_could_not_be_saved_is_said_before_the_call() -> None:
    refused(run(*NOBODY, "--save", "/nonexist/x.wav"), "no such folder: '/nonexist'")


def test_nor_is_a_call_placed_for_a_folder_that_is_closed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused(run(*NOBODY, "--save", "x.wav"), "can't be written to")


def test_a_room_and_the_controller_exclude_each_other() -> None:
    refused(run(*NOBODY, "--handler", "controller", "--room", "demo"), "leave out --room")


# -- console --------------------------------------------------------------------------------------


def test_an_agent_that_says_nothing_has_not_answered(place: Path) -> None:
    (place / "agent.py").write_text(
        "import salon\n\n@salon.agent\nasync def mute(turn, room):\n"
        "    if turn.text == 'blank':\n        yield ' '\n"
        "    if turn.text == 'speak':\n        yield 'yes'\n"
    )
    result = run("console", "agent.py", typed="hello\nblank\nspeak\n")
    assert result.exit_code == 1
    assert result.stderr.count("mute gave no answer") == 2
    assert "2 of the questions got no answer" in result.stderr
    assert result.stdout.split() == ["yes"]


def test_the_console_waits_no_longer_than_its_timeout(place: Path) -> None:
    (place / "agent.py").write_text(
        "import asyncio, salon\n\n@salon.agent\nasync def slow(turn, room):\n"
        "    if turn.text == 'wait':\n        await asyncio.Event().wait()\n"
        "    yield turn.text\n"
    )
    result = run("console", "agent.py", "--timeout", "0.05", typed="wait\nhello\n")
    assert result.exit_code == 1
    assert "no answer within 0.05 s" in result.stderr
    assert result.stdout == "hello\n"


# -- tracebacks -----------------------------------------------------------------------------------


def test_a_traceback_begins_in_the_users_code(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "agent.py").write_text(AGENT)
    result = run("console", "agent.py", typed="hello\n")
    assert "out of order (agent.py:6)" in result.stderr
    first = caplog.text.partition("Traceback (most recent call last):\n")[2].splitlines()[0]
    assert first.strip().startswith(f'File "{place / "agent.py"}", line 6')
    assert logging.getLogger("salon.providers.agent").filters == []


def test_records_without_a_trace_and_traces_of_salon_alone_stay_as_they_are() -> None:
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "m", (), None)
    assert FromTheirs().filter(record)
    assert first_of_theirs(None) is None


def test_traces_are_short_only_meanwhile() -> None:
    filters = logging.getLogger("salon.providers.agent").filters
    with short_traces():
        assert [type(found) for found in filters] == [FromTheirs]
    assert filters == []


def test_ctrl_c_while_a_command_begins_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("salon.cli.commands.import_module", interrupted)
    result = run("version")
    assert (result.exit_code, result.output) == (130, "")
