"""``salon probe`` against a real server in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.unit.cli.serverthread import server_thread
from tests.unit.clients.server import Peer

from salon.cli import probe as module
from salon.cli.commands import salon
from salon.clients.call import CallEvent
from salon.media import FRAME_SAMPLES, read_wav, sine, write_wav
from salon.transport.sockets import Refusal

REPLY = sine(500, 0.02).tobytes()


class Echo:
    """Answers after the speech: in place of VAD, 100 ms of frames below -40 dBFS after louder."""

    def __init__(self, *, understands: bool = True, greets: bool = False) -> None:
        self.understands = understands
        self.greets = greets

    def __call__(self, peer: Peer, message: dict[str, Any]) -> None:
        command = message["command"]
        room = peer.request.query.get("handler") == "room"
        if command == "invite":
            peer.event("answer", sdp="")
            self._listen(peer, room)
            if self.greets:
                peer.socket.send_binary(REPLY)
        elif command in {"tts", "chat"}:
            peer.event("trackStart", playId="1")
            for _ in range(3):
                peer.socket.send_binary(REPLY)
            peer.event("trackEnd", duration=60, ssrc=1)
        elif command == "hangup":
            peer.event("hangup", reason="caller", initiator="caller")
            peer.socket.close(1000)

    def _listen(self, peer: Peer, room: bool) -> None:
        """The fifth quiet frame in a row after speech is the end of the turn."""
        quiet, spoke = 0, False

        def heard(frame: bytes) -> None:
            nonlocal quiet, spoke
            loud = bool(np.abs(np.frombuffer(frame, dtype=np.int16)).max(initial=0) > 300)
            quiet, spoke = (0, True) if loud else (quiet + 1, spoke)
            if quiet == 5 and spoke and self.understands:
                spoke = False
                peer.event("asrFinal", text="good morning", index=0)
                if room:
                    data = {"turn": 1, "recognised": 101, "firstWord": 102, "firstAudio": 103}
                    peer.event("metrics", key="turn.latency", duration=103, data=data)
                    peer.socket.send_binary(REPLY)

        peer.on_frame = heard


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as short as the test server's replies."""
    monkeypatch.setattr(module, "QUIET", 0.1)
    monkeypatch.setattr(module, "GREETING", 0.1)
    monkeypatch.setattr(module, "TONE_SECONDS", 0.04)
    monkeypatch.delenv("SALON_API_KEY", raising=False)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    file = tmp_path / "speech.wav"
    silence = np.zeros(FRAME_SAMPLES * 2, dtype=np.int16)
    write_wav(file, np.concatenate([silence, sine(300, 0.2), silence]))
    return file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(salon, ["probe", "websocket", *arguments])


def test_a_wav_as_controller_is_answered_with_what_was_understood(
    wav: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "reply.wav"
    with server_thread(Echo()) as server:
        result = run("--url", server.url, "--file", str(wav), "--save", str(saved), "--turns", "2")
        commands = [text["command"] for text in server.peer.texts]
        said = server.peer.texts[1]
    assert result.exit_code == 0, result.output
    assert commands == ["invite", "tts", "tts", "hangup"]
    assert said == {"command": "tts", "text": "You said: good morning"}
    assert 'asrFinal      "good morning"' in result.output
    assert "turn 1: " in result.output
    assert "from the end of speech to the first reply byte" in result.output
    assert "latency: median" in result.output
    samples, rate = read_wav(saved)
    assert rate == 16_000
    assert np.count_nonzero(samples) == 6 * 300


def test_latency_runs_from_the_true_end_of_speech(wav: Path) -> None:
    with server_thread(Echo()) as server:
        result = run("--url", server.url, "--file", str(wav), "--room", "r1", "--json")
        query = server.peer.request.query
    assert result.exit_code == 0, result.output
    assert (query["handler"], query["room"]) == ("room", "r1")
    lines = [json.loads(line) for line in result.output.splitlines()]
    (turn,) = (line["turn"] for line in lines if "turn" in line)
    # five quiet frames after the last loud one, which itself leaves 20 ms after it was spoken
    assert 95 <= turn["latency_ms"] <= 1500
    assert turn["server"]["duration"] == 103
    assert turn["heard"] == "good morning"
    assert turn["reply_ms"] == 20.0
    assert any(line.get("event", {}).get("event") == "answer" for line in lines)
    assert lines[-1]["report"]["received_ms"] == 20.0


def test_a_tone_asks_in_writing_and_a_greeting_is_waited_for() -> None:
    with server_thread(Echo(understands=False, greets=True)) as server:
        result = run("--url", server.url, "--sine", "--handler", "room", "--codec", "pcm")
        assert server.peer.texts[1] == {"command": "chat", "text": "Hello."}
        assert server.peer.request.query["room"].startswith("probe-")
    assert result.exit_code == 0, result.output
    assert "from the written question" in result.output
    assert result.output.index("reply audio begins") < result.output.index("asked in writing")


def test_a_tone_as_controller_asks_for_speech() -> None:
    with server_thread(Echo(understands=False)) as server:
        result = run("--url", server.url, "--sine")
        assert server.peer.texts[1] == {"command": "tts", "text": "Hello."}
    assert result.exit_code == 0, result.output


def test_no_reply_in_time_is_exit_code_1_and_says_so(wav: Path) -> None:
    with server_thread(Echo(understands=False)) as server:
        result = run("--url", server.url, "--file", str(wav), "--timeout", "0.6")
    assert result.exit_code == 1
    assert "Error: turn 1: no reply, 0.6 s have passed" in result.output


def test_a_call_that_breaks_is_exit_code_1_with_what_the_server_said(wav: Path) -> None:
    def broken(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("answer", sdp="")
        peer.event("error", sender="tts", error="no voice")
        peer.socket.close(1011, "engine gone")

    with server_thread(broken) as server:
        result = run("--url", server.url, "--file", str(wav))
    assert result.exit_code == 1
    assert "code 1011: engine gone" in result.output


def test_a_call_that_ends_without_reply_says_what_the_error_was() -> None:
    def ends(peer: Peer, message: dict[str, Any]) -> None:
        if message["command"] == "invite":
            peer.event("answer", sdp="")
        elif message["command"] == "tts":
            peer.event("error", sender="tts", error="no voice")
            peer.event("hangup", reason="failed")
            peer.socket.close(1000)

    with server_thread(ends) as server:
        result = run("--url", server.url, "--sine", "--timeout", "5")
    assert result.exit_code == 1
    assert "turn 1: no reply, the call ended; the server said: no voice" in result.output


def test_a_reply_that_begins_too_early_gives_no_figure(wav: Path) -> None:
    def eager(peer: Peer, message: dict[str, Any]) -> None:
        if message["command"] == "invite":
            peer.event("answer", sdp="")
            peer.on_frame = lambda frame: peer.socket.send_binary(REPLY) if any(frame) else None
        elif message["command"] == "hangup":
            peer.socket.close(1000)

    with server_thread(eager) as server:
        result = run("--url", server.url, "--file", str(wav))
    assert result.exit_code == 0, result.output
    assert "turn 1: the reply began before the end of speech" in result.output


def test_a_recording_without_speech_is_said(tmp_path: Path) -> None:
    file = tmp_path / "silence.wav"
    write_wav(file, np.zeros(3200, dtype=np.int16))
    with server_thread(Echo()) as server:
        result = run("--url", server.url, "--file", str(file))
    assert result.exit_code == 1
    assert "there is no speech in it" in result.output


def test_a_full_server_is_exit_code_1() -> None:
    with server_thread(Echo()) as server:
        server.refusal = Refusal(503, "full", {"Retry-After": "2"})
        result = run("--url", server.url, "--sine")
    assert result.exit_code == 1
    assert "HTTP 503, full (try again in 2 s)" in result.output


@pytest.mark.parametrize("arguments", [(), ("--sine", "--file", __file__)])
def test_exactly_one_sound_is_wanted(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "either --sine or --file" in result.output


def test_a_reply_without_end_does_not_hold_the_probe(
    wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(peer: Peer, message: dict[str, Any]) -> None:
        if message["command"] == "invite":
            peer.event("answer", sdp="")
            peer.on_frame = lambda _frame: peer.socket.send_binary(REPLY)
        elif message["command"] == "hangup":
            peer.socket.close(1000)

    with server_thread(endless) as server:
        result = run("--url", server.url, "--file", str(wav), "--timeout", "0.6")
    assert result.exit_code == 0, result.output
    assert "the reply goes on" in result.output


def test_the_figures_of_the_server_stand_beside_those_of_the_client() -> None:
    data = {"turn": 1, "text": "hi", "recognised": 200, "firstWord": 210, "firstSound": 260}
    turn = module.Turn(
        2, "the end of speech", 412.4, 1820.0, "hello", {"duration": 398, "data": data}
    )
    assert list(module._turn_lines(turn)) == [
        "\x1b[1mturn 2: 412 ms from the end of speech to the first reply byte\x1b[0m"
        "  (server: 398 ms: recognised 200, first word 210, first sound 260)",
        '        heard "hello"; reply of 1.82 s',
    ]


def test_events_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    screen = module.Screen(False)
    screen.start = 10.0
    screen.event(CallEvent("metrics", {"key": "turn.latency", "duration": 398}, 10.5))
    screen.event(CallEvent("hangup", {"reason": "caller", "initiator": "caller"}, 11.0))
    assert capsys.readouterr().out == (
        "    0.500 s  metrics       turn.latency 398 ms\n"
        "    1.000 s  hangup        reason=caller  initiator=caller\n"
    )


def test_a_reply_that_cannot_be_written_after_all_is_said(wav: Path) -> None:
    with server_thread(Echo()) as server:
        result = run("--file", str(wav), "--url", server.url, "--save", "/proc/reply.wav")
    assert result.exit_code == 1
    assert "Error: --save /proc/reply.wav: " in result.output
