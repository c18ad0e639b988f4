"""``salon probe load`` against a real server in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.cli.serverthread import server_thread
from tests.unit.clients.server import Peer

from salon.cli import probe_load as module
from salon.cli.commands import salon
from salon.clients.call import load as client
from salon.clients.call.load import LoadReport, LoadStatus
from salon.media import sine, write_wav
from salon.transport.sockets import Refusal


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WARM_UP_S", 0.05)
    monkeypatch.setattr(client, "STEP_S", 0.2)
    monkeypatch.setattr(client, "GOODBYE_S", 0.5)
    monkeypatch.setattr(module, "EVERY", 1)
    monkeypatch.delenv("SALON_API_KEY", raising=False)


def server(peer: Peer, message: dict[str, Any]) -> None:
    if message["command"] == "invite":
        peer.event("answer", sdp="")
    elif message["command"] in ("tts", "play"):
        peer.event("trackStart", trackId="server-side-track")
        loop = asyncio.get_running_loop()
        for number in range(50):
            loop.call_later(number * 0.02, peer.socket.send_binary, bytes(640))
    elif message["command"] == "hangup":
        peer.event("hangup", reason="caller", initiator="caller")
        peer.socket.close(1000)


def run(url: str, *arguments: str) -> Result:
    given = ["--calls", "2", "--seconds", "1", "--rate", "100", "--timeout", "2", *arguments]
    return CliRunner().invoke(salon, ["probe", "load", "--url", url, *given])


def test_a_table_says_how_it_went() -> None:
    with server_thread(server) as there:
        result = run(there.url)
    assert result.exit_code == 0, result.output
    assert "2/2 calls live" in result.output
    assert "2 of 2 answered, held 1 s" in result.output
    assert "late in the server    not known (no /metrics)" in result.output


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    wav = tmp_path / "speech.wav"
    write_wav(wav, sine(300, 0.2))
    with server_thread(server) as there:
        result = run(there.url, "--json", "--file", str(wav), "--play", "x.wav", "--asr")
        texts = there.peer.texts
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["status"]["live"] for line in lines if "status" in line]
    assert lines[-1]["report"]["held"] is True
    assert texts[0]["option"] == {"codec": "pcm", "vad": {}, "asr": {}}
    assert texts[1] == {"command": "play", "url": "x.wav"}


def test_a_voice_can_be_asked_for() -> None:
    with server_thread(server) as there:
        result = run(there.url, "--say", "Good morning", "--no-vad")
        texts = there.peer.texts
    assert result.exit_code == 0, result.output
    assert texts[0]["option"] == {"codec": "pcm", "tts": {}}
    assert texts[1] == {"command": "tts", "text": "Good morning"}


def test_refusals_fail() -> None:
    with server_thread(server) as there:
        there.refusal = Refusal(503, "full")
        result = run(there.url)
    assert result.exit_code == 1
    assert "2 with 503" in result.output
    assert "0 of 2 calls were answered: 2 refused" in result.output


def test_sound_that_is_too_late_fails() -> None:
    with server_thread(server) as there:
        result = run(there.url, "--limit-ms", "0.0001")
    assert result.exit_code == 1
    assert "ms late or more, over 0.0001 ms" in result.output


def test_play_and_say_exclude_each_other() -> None:
    result = run("ws://127.0.0.1:9", "--play", "x", "--say", "y")
    assert result.exit_code == 2
    assert "either --play or --say" in result.output


def test_where_nobody_listens_it_says_so() -> None:
    result = run("ws://127.0.0.1:9")
    assert result.exit_code == 1
    assert "no connection to ws://127.0.0.1:9" in result.output


def test_the_server_says_how_late_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Answer:
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self) -> bytes:
            return b"salon_ticker_late_ticks 3.0\n"

    def urlopen(request: Any, **_more: Any) -> Answer:
        asked.append((request.full_url, request.get_header("Authorization")))
        return Answer()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    plan = client.LoadPlan("https://host:9/ws?x=1", 1, sine(1, 0.1), api_key="k")
    assert module.server_late_ticks(plan, None) == 3
    assert asked == [("https://host:9/metrics", "Bearer k")]


def shown(report: LoadReport, capsys: pytest.CaptureFixture[str]) -> str:
    module._Lines(False).report(report)
    return capsys.readouterr().out


def test_a_late_client_and_errors_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    report = LoadReport(
        calls=1,
        answered=1,
        frames=90,
        expected=100,
        p99_ms=10,
        client_p99_ms=9,
        server_late_ticks=1,
        server_ticks=100,
        errors={"x: y": 2},
    )
    text = shown(report, capsys)
    assert "this program itself was late" in text
    assert "1 of 100 ticks (1.00 %)" in text
    assert "about 10 missing (10.00 %)" in text
    assert "error (2x)  x: y" in text


def test_progress_says_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    status = LoadStatus(1.0, "ramp", 10, 5, 3, 1, 1, 0, 150, 1.0, 2.0, 0.1)
    module._Lines(False).status(status)
    assert "3/10 calls live" in (text := capsys.readouterr().out)
    assert "2 gone wrong" in text


def test_no_sound_is_a_failure() -> None:
    assert module.failure(LoadReport(calls=1, answered=1), None) == "no sound came back"


def test_without_uvloop_it_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)

    async def one() -> int:
        return 1

    assert module._run(one()) == 1
