"""``salon console``, in this process and in a room of a real server."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.cli.serverthread import server_thread
from tests.unit.clients.server import Peer, serving

from salon.app.settings import Settings
from salon.base import ConfigurationError, SalonError
from salon.cli import console as module
from salon.cli import joining, running, talking, terminal
from salon.cli.commands import salon
from salon.cli.console import Dialogue, Screen, find_agent, wav_of
from salon.clients.call import AudioPacket, CallClient, RoomMessage
from salon.core.ports.ai import (
    AIContext,
    AIProvider,
    AIStreamPart,
    AIToolCall,
    ResponseMetadata,
    TextDelta,
)
from salon.media import sine, write_wav
from salon.providers import MockAIProvider, OpenAIProvider

AGENT = """
from salon.providers.agent import agent

@agent
async def parrot(turn, room):
    turn.state["turns"] = turn.state.get("turns", 0) + 1
    if turn.text == "fail":
        raise ValueError("broken parrot")
    yield f"{turn.state['turns']}: "
    yield turn.text
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own with an agent in it, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("SALON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.py").write_text(AGENT)
    return tmp_path


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(salon, ["console", *arguments], input=typed)


async def lines(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


# -- in this process ------------------------------------------------------------------------------


def test_one_line_is_one_turn_and_the_history_is_kept() -> None:
    result = run("agent.py", typed="hello\n\nagain\n/quit\nnever\n")
    assert result.exit_code == 0, result.output
    assert result.stdout == "1: hello\n2: again\n"


def test_without_an_agent_the_house_agent_answers() -> None:
    result = run(typed="hello\n")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.strip()


def test_an_agent_that_fails_does_not_end_the_dialogue_but_the_exit_code_tells() -> None:
    result = run("agent.py", typed="fail\nhello\n")
    assert result.exit_code == 1
    assert "broken parrot" in result.stderr
    assert "1: hello" in result.stdout
    assert "1 of the questions got no answer" in result.stderr


def test_say_needs_a_server() -> None:
    result = run("agent.py", typed="/say a.wav\n")
    assert result.exit_code == 1
    assert "use --url" in result.stderr


def test_no_such_agent_is_exit_code_2() -> None:
    result = run("nothing.py")
    assert result.exit_code == 2
    assert "no such file" in result.stderr


def test_an_agent_and_a_url_exclude_each_other() -> None:
    result = run("agent.py", "--url", "ws://x")
    assert result.exit_code == 2


async def test_the_terminal_shows_who_speaks_and_the_tools(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Tooled(AIProvider):
        name = "tooled"

        async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
            yield TextDelta("let me see\n")
            yield AIToolCall("1", "look_up", {"day": "Monday"})
            yield ResponseMetadata({"state": {"a": 1}})
            yield TextDelta("nine")

    dialogue = Dialogue(Tooled(), Screen(terminal=True), "Tooled", "r", "be brief")
    await dialogue.run(lines("when?"))
    shown = capsys.readouterr().out
    assert "you> " in shown
    assert "Tooled> let me see" in shown
    assert "[look_up(day='Monday')]" in shown
    assert dialogue.history[-1].text == "let me see\nnine"
    assert dialogue.history[-1].metadata == {"state": {"a": 1}}


async def test_the_provider_is_started_asked_with_the_prompt_and_closed() -> None:
    provider = MockAIProvider(["one", "two"])
    dialogue = Dialogue(provider, Screen(terminal=False), "m", "r", "be brief")
    await dialogue.run(lines("a", "b"))
    assert not provider.started
    assert [context.system_prompt for context in provider.contexts] == ["be brief"] * 2
    assert [m.text for m in provider.contexts[1].messages] == ["a", "one", "b"]


async def test_the_history_is_bounded() -> None:
    provider = MockAIProvider(["x"], repeat=True)
    dialogue = Dialogue(provider, Screen(terminal=False), "m", "r")
    await dialogue.run(lines(*(str(number) for number in range(150))))
    assert len(provider.contexts[-1].messages) == module.MAX_HISTORY
    assert provider.contexts[-1].messages[-1].text == "149"


def test_the_settings_choose_the_agent(place: Path) -> None:
    model = Settings(llm_base_url="http://127.0.0.1:1/v1", llm_model="m")
    assert isinstance(find_agent(None, model)[0], OpenAIProvider)
    chosen, none = find_agent(None, Settings(agent=place / "agent.py"))
    assert (chosen.name, none) == ("parrot", None)
    asking, asked = find_agent("agent.py", model)
    assert isinstance(asked, OpenAIProvider)
    assert asking.model_name == "m"


def test_a_language_model_beside_an_agent_is_started_and_closed() -> None:
    result = run(
        "agent.py",
        "--llm-base-url",
        "http://127.0.0.1:1/v1",
        "--llm-model",
        "m",
        typed="hello\n",
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == "1: hello\n"


# -- standard input -------------------------------------------------------------------------------


def test_lines_come_whole_whatever_the_pieces() -> None:
    pieces = iter([b"a\nb", b"c\r\n", "ü".encode()[:1], "ü".encode()[1:], b""])
    assert list(terminal.lines_of(lambda: next(pieces))) == ["a", "bc", "ü"]


def test_a_line_without_end_comes_in_pieces() -> None:
    pieces = iter([b"x" * terminal.MAX_LINE, b"y\n", b""])
    assert [len(line) for line in terminal.lines_of(lambda: next(pieces))] == [
        terminal.MAX_LINE,
        1,
    ]


async def test_input_is_read_only_when_asked_for_and_a_cancelled_wait_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allowed = threading.Event()

    def slow() -> Iterator[str]:
        allowed.wait(10)
        yield "first"

    monkeypatch.setattr(terminal, "source", slow)
    reader = terminal.Lines()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(reader), 0.01)
    allowed.set()
    assert [line async for line in reader] == ["first"]
    assert [line async for line in reader] == []


async def test_a_pipe_is_read_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    os.write(into, b"one\ntwo\n")
    os.close(into)
    with os.fdopen(out) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert [line async for line in terminal.Lines()] == ["one", "two"]
        assert not terminal.is_terminal()


# -- in a room ------------------------------------------------------------------------------------


def _event(body: str, participant: str, identity: str = "e", **metadata: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "type": "message",
        "source": {"channel_id": "x", "participant_id": participant},
        "content": {"type": "text", "body": body},
        "metadata": metadata,
    }


class RoomScript:
    """A room whose agent streams its answer; calls are answered and listened to."""

    def __init__(self) -> None:
        self.room: Peer | None = None
        self.heard = 0
        self.talks = threading.Event()

    def __call__(self, peer: Peer, message: dict[str, Any]) -> None:
        if message.get("command") == "invite":
            peer.event("answer", sdp="")
            peer.event("interruption", current=1)
            peer.on_frame = lambda frame: self._frame(peer, frame)
        elif message.get("type") == "message":
            self.room = peer
            text = message["text"]
            peer.message("event", event=_event(text, "console"))
            if text == "refuse":
                peer.message("error", code="busy", message="too many")
            elif text == "break":
                peer.message("stream_start", stream_id="1", source={})
                peer.message("stream_error", stream_id="1", error="model gone")
            elif text == "close":
                peer.socket.close(1011, "room broke")
            elif text != "silence":
                self._answer(peer, f"you said {text}")

    def _frame(self, peer: Peer, frame: bytes) -> None:
        self.heard += any(frame)
        peer.socket.send_binary(frame)
        if self.heard == 3:
            self.talks.set()
            if self.room is not None:
                spoken = _event("good morning", "console", "s")
                self.room.message("event", event=spoken)
                self._answer(self.room, "good morning to you")
                self.heard = 100

    def _answer(self, peer: Peer, text: str) -> None:
        peer.message("caption", participant_id="console", name="c", text="x", final=True)
        peer.message("stream_start", stream_id="1", source={"participant_id": "agent"})
        peer.message("stream_chunk", stream_id="1", delta=text[:5], text=text[:5])
        peer.message("stream_chunk", stream_id="1", delta=text[5:], text=text)
        peer.message("stream_end", stream_id="1", event=None)
        peer.message("event", event=_event(text, "agent"))


def test_each_line_waits_for_its_answer_and_each_answer_is_shown_once() -> None:
    with server_thread(RoomScript()) as server:
        result = run("--url", server.url, "--room", "r1", typed="one\n\ntwo\n")
        request = server.peer.request
    assert result.exit_code == 0, result.output
    assert result.stdout == "you said one\nyou said two\n"
    assert request.path == "/ws/r1"
    assert request.query == {"participant": "console", "name": "Console"}


def test_what_the_room_refuses_and_breaks_is_said() -> None:
    with server_thread(RoomScript()) as server:
        result = run("--url", server.url, typed="refuse\nbreak\nfine\n/quit\n")
    assert result.exit_code == 1
    assert "Error: too many" in result.stderr
    assert "Error: model gone" in result.stderr
    assert "you said fine" in result.stdout


def test_no_answer_in_time_is_counted() -> None:
    with server_thread(RoomScript()) as server:
        result = run("--url", server.url, "--timeout", "0.1", typed="silence\n")
    assert result.exit_code == 1
    assert "no answer within 0.1 s" in result.stderr


def test_a_room_that_goes_away_ends_the_console() -> None:
    with server_thread(RoomScript()) as server:
        result = run("--url", server.url, typed="close\n")
    assert result.exit_code == 1
    assert "code 1011: room broke" in result.stderr


def test_say_speaks_a_recording_into_the_room(place: Path) -> None:
    write_wav(place / "a.wav", sine(300, 0.2))
    with server_thread(RoomScript()) as server:
        result = run("--url", server.url, typed="hi\n/say 'a.wav'\n/say b.wav\n/say agent.py\n")
        call = server.peers[1]
    assert call.request.query["handler"] == "room"
    assert call.request.query["room"].startswith("console-")
    assert result.stdout == "you said hi\ngood morning\ngood morning to you\n"
    assert "no such file: 'b.wav'" in result.stderr
    assert "not a WAV file" in result.stderr
    assert result.exit_code == 1


def test_wav_of_expands_home_and_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert wav_of("/say ~/agent.py") == Path.cwd() / "agent.py"


def _shown(capsys: pytest.CaptureFixture[str], *messages: tuple[str, dict[str, Any]]) -> str:
    captions = joining.Captions(Screen(terminal=True), "me")
    captions.typed.append("typed here")
    for kind, data in messages:
        captions.show(RoomMessage(kind, data, 0.0))
    return capsys.readouterr().out


def test_people_are_shown_by_name_and_what_was_heard_of_a_stream_only_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = _shown(
        capsys,
        ("event", {"event": _event("typed here", "me")}),
        ("event", {"event": _event("hello all", "ann", sender_name="Ann")}),
        ("event", {"event": _event("spoken", "me")}),
        ("stream_start", {"stream_id": "1", "source": {"channel_id": "ai"}}),
        ("stream_chunk", {"stream_id": "1", "delta": "a long answer"}),
        ("stream_chunk", {"stream_id": "9", "delta": "of nobody"}),
        ("event", {"event": _event("a long", "agent")}),
        ("stream_end", {"stream_id": "1"}),
        ("stream_end", {"stream_id": "1"}),
        ("event", {"event": {"type": "participant_joined"}}),
        ("event", {"event": {"type": "message", "source": {}, "content": {}}}),
        ("hello", {}),
    )
    assert "typed here" not in shown
    assert "Ann> hello all" in shown
    assert "you (spoken)> spoken" in shown
    assert shown.count("a long") == 1
    assert "ai> a long answer" in shown
    assert "nobody" not in shown


def test_streams_that_never_end_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    captions = joining.Captions(Screen(terminal=False), "me")
    for number in range(100):
        captions.show(RoomMessage("stream_start", {"stream_id": str(number)}, 0.0))
    assert len(captions._streams) == joining.REMEMBERED
    capsys.readouterr()


# -- talking --------------------------------------------------------------------------------------


def _program(folder: Path, name: str, body: str) -> None:
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


@pytest.fixture
def programs(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`arecord` that gives sound, `aplay` that writes what it gets."""
    write_wav(place / "mic.wav", sine(300, 0.4))
    _program(place, "arecord", f"cat {place}/mic.wav; exec sleep 20")
    _program(place, "aplay", f"exec cat > {place}/heard.raw")
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    return place


def test_talk_without_the_programs_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking.shutil, "which", lambda _name: None)
    result = run("--talk")
    assert result.exit_code == 2
    assert "alsa-utils" in result.stderr


def test_talk_sends_the_microphone_and_plays_the_reply(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = RoomScript()

    class Patient(AsyncIterator[str]):
        """Types nothing, and leaves when the call was heard and answered."""

        async def __anext__(self) -> str:
            heard = programs / "heard.raw"
            async with asyncio.timeout(10):
                while not (script.talks.is_set() and heard.exists() and any(heard.read_bytes())):
                    await asyncio.sleep(0.01)
            raise StopAsyncIteration

    monkeypatch.setattr(joining, "Lines", Patient)
    with server_thread(script) as server:
        result = run("--url", server.url, "--talk")
    assert result.exit_code == 0, result.output
    assert any((programs / "heard.raw").read_bytes())


async def test_a_microphone_that_cannot_be_opened_says_why(place: Path) -> None:
    _program(place, "arecord", "echo 'no such card' >&2; exit 1")
    with pytest.raises(SalonError, match="no such card"):
        async for _ in talking.recorded(str(place / "bin" / "arecord")):
            pass


async def test_a_program_that_will_not_end_is_killed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talking, "_END", 0.05)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(flush=True)\n"
        "time.sleep(60)",
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await talking.end(process)
    assert process.returncode == -9
    await talking.end(process)


async def test_the_loudspeaker_is_bounded_and_can_be_cleared(programs: Path) -> None:
    async with (
        serving() as server,
        CallClient.connect(server.url) as call,
        talking.Loudspeaker(str(programs / "bin" / "aplay"), call) as speaker,
    ):
        for _ in range(talking.MAX_WAITING + 5):
            speaker._take(AudioPacket(bytes(640), 0.0))
        assert speaker.dropped == 5
        speaker.clear()
        assert not speaker._waiting


# -- running --------------------------------------------------------------------------------------


def test_ctrl_c_ends_with_130() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        running.run_async(interrupted())
    assert caught.value.code == 130


def test_only_insecure_takes_any_certificate() -> None:
    assert running.tls_context(False) is None
    context = running.tls_context(True)
    assert context is not None
    assert not context.check_hostname


def test_missing_programs_are_named_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        talking.shutil, "which", lambda name: "/x/aplay" if name == "aplay" else None
    )
    with pytest.raises(ConfigurationError, match="needs arecord, which"):
        talking.find_programs()
