"""The other commands, as people type them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.integration.asking import ask_until, plain
from tests.integration.conftest import until
from tests.integration.hearing import heard
from tests.integration.program import background, end, run, salon
from tests.integration.wire import placed
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from salon.media import read_wav, write_wav
from salon.testing.server import ServerProcess, free_port, running_server
from salon.testing.speech import silence, speak

# -- new and dev ----------------------------------------------------------------------------------


async def test_new_makes_a_project_that_runs(tmp_path: Path) -> None:
    made = await salon("new", "my-agent", folder=tmp_path)
    assert made.code == 0, made
    project = tmp_path / "my-agent"
    names = {path.relative_to(project).as_posix() for path in project.rglob("*")}
    assert {"agent.py", "README.md", "pyproject.toml", ".gitignore", ".env.example"} <= names
    answered = await salon("console", "agent.py", folder=project, stdin="good morning\n")
    assert answered.out == "You said: good morning. Ask me for the time.\n"

    again = await salon("new", "my-agent", folder=tmp_path)
    assert again.code == 2
    assert "exists already" in again.err
    for wrong in ("../evil", "a b", "1st", ""):
        assert (await salon("new", wrong, folder=tmp_path)).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["my-agent"]


async def test_the_test_of_a_new_project_passes(tmp_path: Path) -> None:
    assert (await salon("new", "my-agent", folder=tmp_path)).code == 0
    project = tmp_path / "my-agent"
    tested = await run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=project)
    assert tested.code == 0, tested
    assert "2 passed" in tested.out


AGENT = """
import salon


@salon.agent
async def echo(turn, room):
    yield "{word} " + turn.text
"""


async def asked(port: int, text: str) -> str | None:
    """What the agent answers in a room; None if no server answers now."""
    url = f"ws://127.0.0.1:{port}/ws/dev?participant=ada"
    try:
        async with connect(url, open_timeout=10) as socket, asyncio.timeout(20):
            await socket.send(json.dumps({"type": "message", "text": text}))
            while True:
                message = json.loads(await socket.recv())
                if message["type"] == "stream_end" and message["event"]:
                    return str(message["event"]["content"]["body"])
    except (OSError, TimeoutError, EOFError, WebSocketException):
        return None  # a server that goes away closes in many ways


async def answer_becomes(port: int, wanted: str, timeout: float = 60.0) -> None:
    async with asyncio.timeout(timeout):
        while await asked(port, "hello") != wanted:
            await asyncio.sleep(0.3)


@pytest.mark.slow
async def test_dev_serves_the_file_as_it_is_now(tmp_path: Path) -> None:
    agent, log, port = tmp_path / "agent.py", tmp_path / "out.txt", free_port()
    agent.write_text(AGENT.format(word="first"))
    arguments = ("-m", "salon.cli", "dev", "agent.py", "--port", str(port), "--stt", "none")
    async with background(*arguments, folder=tmp_path, log=log) as process:
        await answer_becomes(port, "first hello")
        agent.write_text(AGENT.format(word="second"))
        await answer_becomes(port, "second hello")
        # an error is said, and mended by the next change
        agent.write_text(AGENT.format(word="third") + "\nthis is no Python\n")
        await until(lambda: "waiting for a change" in log.read_text(), "the error", timeout=60)
        assert "agent.py:" in log.read_text()
        agent.write_text(AGENT.format(word="third"))
        await answer_becomes(port, "third hello")
        # so is one that shows only when the file runs
        agent.write_text("import nowhere_to_be_found\n")
        await until(lambda: "nowhere_to_be_found" in log.read_text(), "the other error", timeout=60)
        agent.write_text(AGENT.format(word="fourth"))
        await answer_becomes(port, "fourth hello")
        assert await end(process) == 0
    async with httpx.AsyncClient(timeout=20) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/health")


# -- console --------------------------------------------------------------------------------------


async def test_console_answers_each_line_with_one_line(tmp_path: Path) -> None:
    ended = await salon("console", folder=tmp_path, stdin="what is salon\n\ndoes it work offline\n")
    assert ended.code == 0, ended
    first, second = ended.out.splitlines()
    assert "Salon" in first
    assert second
    assert ended.err == ""
    quit_early = await salon("console", folder=tmp_path, stdin="/quit\nwhat is salon\n")
    assert (quit_early.code, quit_early.out) == (0, "")


async def test_console_says_when_there_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(
        "import salon\n\n\n@salon.agent\nasync def broken(turn, room):\n"
        "    raise ValueError('out of order')\n    yield ''\n"
    )
    ended = await salon("console", "agent.py", folder=tmp_path, stdin="hello\n")
    assert ended.code == 1
    assert "out of order" in ended.err
    missing = await salon("console", "nowhere.py", folder=tmp_path, stdin="hello\n")
    assert missing.code == 2
    assert "nowhere.py" in missing.err
    assert "Traceback" not in missing.err


async def test_console_joins_a_room_of_a_server(server: ServerProcess, tmp_path: Path) -> None:
    arguments = ("console", "--url", server.ws_url, "--room", "console", "--name", "Ada")
    ended = await salon(*arguments, folder=tmp_path, stdin="what is salon\ndoes it work offline\n")
    assert ended.code == 0, ended
    assert len(ended.out.splitlines()) == 2, ended.out
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        page = (await client.get("/rooms/console/timeline")).json()["events"]
    said = [event["content"]["body"] for event in page if event["type"] == "message"]
    assert (said[0], said[2]) == ("what is salon", "does it work offline")
    assert ended.out.splitlines() == [" ".join(said[1].split("\n")), " ".join(said[3].split("\n"))]

    nobody = ("console", "--url", f"ws://127.0.0.1:{free_port()}")
    refused = await salon(*nobody, folder=tmp_path, stdin="hello\n")
    assert refused.code == 1
    assert "Traceback" not in refused.err


# -- probe ----------------------------------------------------------------------------------------


async def test_probe_with_a_tone_measures_and_saves(server: ServerProcess, tmp_path: Path) -> None:
    ended = await salon(
        "probe", "websocket", "--sine", "--url", server.ws_url, "--save", "reply.wav",
        folder=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended
    assert "answer" in ended.out
    assert "ms from" in ended.out
    sound, rate = read_wav(tmp_path / "reply.wav")
    assert rate == 16_000
    assert np.abs(sound.astype(int)).max() > 2000


async def test_probe_with_a_recording_hears_the_agent_of_a_room(
    server: ServerProcess, tmp_path: Path
) -> None:
    file = tmp_path / "question.wav"
    write_wav(file, np.concatenate([silence(300), speak("what is salon"), silence(300)]))

    async def once(number: int) -> str:
        ended = await salon(
            "probe", "websocket", "--file", str(file), "--handler", "room",
            "--room", f"probed-{number}", "--url", server.ws_url, "--save", "reply.wav", "--json",
            folder=tmp_path,
        )  # fmt: skip
        assert ended.code == 0, ended
        lines = [json.loads(line) for line in ended.out.splitlines()]
        (turn,) = [line["turn"] for line in lines if "turn" in line]
        assert turn["latency_ms"] > 0
        assert turn["server"]["duration"] > 0
        (report,) = [line["report"] for line in lines if "report" in line]
        assert report["received_ms"] > 500
        sound, _ = read_wav(tmp_path / "reply.wav")
        assert np.abs(sound.astype(int)).max() > 2000
        return plain(turn["heard"])

    await ask_until("what is salon", once)


async def test_probe_as_controller_hears_its_own_words_again(
    server: ServerProcess, tmp_path: Path
) -> None:
    file = tmp_path / "question.wav"
    write_wav(file, np.concatenate([silence(300), speak("what is salon"), silence(300)]))
    sentences = ("you said what is salon", "you said does it work offline", "you said good morning")

    async def once(_number: int) -> tuple[list[str], str]:
        ended = await salon(
            "probe", "websocket", "--file", str(file), "--url", server.ws_url,
            "--save", "reply.wav",
            folder=tmp_path,
        )  # fmt: skip
        assert ended.code == 0, ended
        sound, _ = read_wav(tmp_path / "reply.wav")
        said = np.flatnonzero(np.abs(sound.astype(int)) > 300)
        finals = re.findall(r'asrFinal      "(.*?)[?.]?"', ended.out)
        return [final.lower() for final in finals], heard(sound[said[0] : said[-1]], sentences)

    await ask_until((["what is salon"], sentences[0]), once)


async def test_probe_fails_with_a_reason(server: ServerProcess, tmp_path: Path) -> None:
    probe = ("probe", "websocket")
    nobody = f"ws://127.0.0.1:{free_port()}"
    failed = await salon(*probe, "--sine", "--url", nobody, folder=tmp_path)
    assert failed.code == 1
    assert str(nobody.rpartition(":")[2]) in failed.err
    for wrong in ((), ("--sine", "--file", __file__), ("--sine", "--codec", "mp3")):
        assert (await salon(*probe, *wrong, folder=tmp_path)).code == 2
    quiet = tmp_path / "quiet.wav"
    write_wav(quiet, silence(1000))
    failed = await salon(*probe, "--file", str(quiet), "--url", server.ws_url, folder=tmp_path)
    assert failed.code == 1
    assert "no speech" in failed.err
    assert "Traceback" not in failed.err


async def test_probe_fails_without_a_reply_and_without_the_key(tmp_path: Path) -> None:
    key = "correct-horse-battery-staple"
    with running_server(
        "--stt", "none", "--tts", "none", environment={"SALON_API_KEY": key}
    ) as server:
        arguments = ("probe", "websocket", "--sine", "--url", server.ws_url, "--timeout", "8")
        locked_out = await salon(*arguments, folder=tmp_path)
        assert locked_out.code == 1
        assert "401" in locked_out.err or "key" in locked_out.err
        silent = await salon(*arguments, folder=tmp_path, environment={"SALON_API_KEY": key})
        assert silent.code == 1
        assert "no reply" in silent.err
        assert "SALON_TTS" in silent.err
        for ended in (locked_out, silent):
            assert key not in ended.out + ended.err
            assert "Traceback" not in ended.err


# -- doctor, version ------------------------------------------------------------------------------


async def test_doctor_finds_everything_a_call_needs(tmp_path: Path) -> None:
    ended = await salon("doctor", "--json", folder=tmp_path, environment={"PORT": str(free_port())})
    assert ended.code == 0, ended
    found = json.loads(ended.out)
    assert found["ok"] is True
    checks = {check["name"]: check for check in found["checks"]}
    for name in ("python", "vad model", "data folder", "port", "sqlite", "settings"):
        assert checks[name]["status"] == "ok", checks[name]
    text = await salon("doctor", "--licenses", folder=tmp_path)
    assert "licences" in text.out
    assert not (tmp_path / "data").exists(), "it looks and makes nothing"


async def test_doctor_says_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    ended = await salon("doctor", folder=tmp_path)
    assert ended.code == 1
    assert "SALON_DATA_DIR" in ended.out
    ended = await salon("doctor", folder=tmp_path, environment={"HOST": "0.0.0.0"})
    assert ended.code == 1
    assert "SALON_" in ended.out
    typo = {"SALON_MAX_CALL": "3", "SALON_DATA_DIR": "elsewhere"}
    ended = await salon("doctor", folder=tmp_path, environment=typo)
    assert "SALON_MAX_CALLS" in ended.out


async def test_wrong_usage_is_2_and_version_is_said(tmp_path: Path) -> None:
    assert (await salon("version", folder=tmp_path)).out.startswith("salon ")
    for arguments in (("fly",), ("serve", "--port", "99999"), ("serve", "--max-calls", "none")):
        ended = await salon(*arguments, folder=tmp_path)
        assert ended.code == 2, ended
        assert "Traceback" not in ended.err


async def test_a_call_reaches_an_agent_file_that_serve_is_given(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT.format(word="heard:"))
    with running_server("--stt", "none", "--agent", str(tmp_path / "agent.py")) as server:
        async with placed(server.ws_url, "/ws?handler=room&room=file&participant=ada") as call:
            await call.invite(tts={})
            await call.send("chat", text="good morning")
            await call.expect("trackEnd", trackId="server-side-track")
            await call.send("hangup")
            await call.closed()

        def said() -> list[str]:
            page = server.get("/rooms/file/timeline")["events"]
            return [e["content"]["body"] for e in page if e["type"] == "message"]

        wanted = ["good morning", "heard: good morning"]
        await until(lambda: said() == wanted, "the answer in the room")


# -- Ctrl-C ---------------------------------------------------------------------------------------


def workers_of(pid: int) -> list[int]:
    """The processes that this one started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def runs(pid: int) -> bool:
    """Whether the process is there and not just waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_ctrl_c_reaches_the_whole_process_group_and_calls_still_end(tmp_path: Path) -> None:
    with running_server() as server:
        workers = workers_of(server.pid)
        assert len(workers) >= 2
        async with placed(server.ws_url, "/ws") as call:
            await call.invite(asr={}, tts={})
            os.killpg(server.pid, signal.SIGINT)  # as a terminal does it
            await until(lambda: "waiting up to" in server.log_text(), "the farewell")
            await call.send("tts", text="good morning")
            await call.expect("trackEnd")
            question = np.concatenate([silence(300), speak("what is salon"), silence(300)])
            await call.talk(question)
            async with call.quiet():
                await call.expect("asrFinal")
            assert all(map(runs, workers)), "all of them still serve the call"
            await call.send("hangup")
            await call.closed()
        await until(lambda: not runs(server.pid), "the end of the server")
        await until(lambda: not any(map(runs, workers)), "the end of the workers")
        log = server.log_text()
        assert "Traceback" not in log, log
        assert "KeyboardInterrupt" not in log
        assert server.stop() == 0


async def test_workers_do_not_outlive_a_server_that_was_killed() -> None:
    with running_server() as server:
        workers = workers_of(server.pid)
        assert len(workers) >= 2
        server.kill()
        await until(lambda: not any(map(runs, workers)), "the end of the workers")


async def test_a_voice_that_is_not_there_is_no_start(tmp_path: Path) -> None:
    ended = await salon(
        "serve", "--port", str(free_port()), "--tts-voice", "en-gp", folder=tmp_path
    )
    assert ended.code == 2, ended
    assert "SALON_TTS_VOICE='en-gp': espeak has no such voice; did you mean en-" in ended.err
    assert "Traceback" not in ended.out + ended.err
