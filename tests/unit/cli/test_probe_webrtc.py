"""``salon probe webrtc`` against a real answering side in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.unit.cli.serverthread import server_thread
from tests.unit.clients.rtcserver import RtcServer
from tests.unit.clients.server import Peer

from salon.cli import probe, probe_webrtc
from salon.cli.commands import salon
from salon.media import read_wav, sine, write_wav
from salon.transport.sockets import Refusal


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as short as the test server's replies."""
    monkeypatch.setattr(probe, "QUIET", 0.3)
    monkeypatch.setattr(probe, "GREETING", 0.1)
    monkeypatch.setattr(probe, "TONE_SECONDS", 0.04)
    monkeypatch.setattr(probe_webrtc, "KEY_TIMEOUT", 0.5)
    monkeypatch.delenv("SALON_API_KEY", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(salon, ["probe", "webrtc", *arguments])


def test_a_tone_and_keys_are_answered_and_all_figures_shown(tmp_path: Path) -> None:
    saved = tmp_path / "reply.wav"
    script = RtcServer()
    with server_thread(script) as server:
        result = run("--url", server.url, "--sine", "--dtmf", "1#", "--save", str(saved))
        assert server.peer.request.path == "/webrtc"
    assert result.exit_code == 0, result.output
    assert script.keys == "1#"
    assert "dtmf          digit=1" in result.output
    assert "keys: 1# pressed and heard" in result.output
    assert "opus/48000 as payload type 111, keys as telephone-event/48000" in result.output
    assert "ms after the offer (answer after " in result.output
    assert "route: host " in result.output
    assert "from the written question to the first reply sound" in result.output
    assert "received 5 packets, 0 lost (0.0 %), jitter " in result.output
    samples, rate = read_wav(saved)
    assert rate == 16_000
    assert np.abs(samples).max() > 1000


def test_json_has_connection_keys_network_and_report() -> None:
    with server_thread(RtcServer()) as server:
        arguments = ("--url", server.url, "--sine", "--codec", "pcmu", "--dtmf", "7", "--json")
        result = run(*arguments, "--handler", "room")
        assert server.peer.texts[1] == {"command": "chat", "text": "Hello."}
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.output.splitlines()]
    found = {key: line[key] for line in lines for key in line}
    assert found["connection"]["codec"]["encoding"] == "PCMU"
    assert found["connection"]["route"]["remote"].startswith("host ")
    assert found["connection"]["connect_ms"] > 0
    assert found["dtmf"] == {"pressed": "7", "heard": "7"}
    assert found["network"]["received"] == 5
    assert found["network"]["lost"] == 0
    assert found["report"]["turns"][0]["latency_ms"] > 0


def test_a_wav_is_spoken(tmp_path: Path) -> None:
    file = tmp_path / "speech.wav"
    write_wav(file, sine(300, 0.2))

    class Early(RtcServer):
        """Replies as soon as it hears anything."""

        def _take(self, *given: Any) -> None:
            super()._take(*given)
            if len(self.packets) == 40:
                self.reply()

    with server_thread(Early()) as server:
        result = run("--url", server.url, "--file", str(file))
    assert result.exit_code == 0, result.output
    assert "turn 1: " in result.output


@pytest.mark.parametrize(("tells", "said"), [(False, "told of no key"), (True, "told of '1'")])
def test_keys_that_are_not_heard_are_exit_code_1(tells: bool, said: str) -> None:
    script = RtcServer(tells_keys=tells)
    if tells:
        script._receiver.feed = (  # type: ignore[method-assign]
            lambda *_: "1" if not script.keys else None
        )
    with server_thread(script) as server:
        result = run("--url", server.url, "--sine", "--dtmf", "12")
    assert result.exit_code == 1
    assert f"pressed '12', but the server {said}" in result.output
    assert "network: round trip" in result.output


def test_a_refused_upgrade_is_exit_code_1_with_the_reason() -> None:
    with server_thread(RtcServer()) as server:
        server.refusal = Refusal(501, "calls over WebRTC are switched off (SALON_WEBRTC=off)")
        result = run("--url", server.url, "--sine")
    assert result.exit_code == 1
    assert "HTTP 501, calls over WebRTC are switched off (SALON_WEBRTC=off)" in result.output


def test_an_answer_without_sound_is_exit_code_1() -> None:
    def script(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("answer", sdp="")

    with server_thread(script) as server:
        result = run("--url", server.url, "--sine")
    assert result.exit_code == 1
    assert "the answer can't carry sound: it has no session description" in result.output
    assert "network" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sine", "--dtmf", "12x"), "--dtmf: '12x' has other keys"),
        (("--sine", "--ice-server", "http://x"), "--ice-server: a server is stun:host"),
        (("--sine", "--codec", "pcm"), "'pcm' is not one of"),
        ((), "either --sine or --file"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_server_that_knows_no_keys_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with server_thread(RtcServer(("PCMU",))) as server:
        result = run("--url", server.url, "--sine", "--codec", "pcmu", "--dtmf", "1")
    assert result.exit_code == 1
    assert "PCMU/8000 as payload type 0, no keys" in result.output
    assert "takes no key presses" in result.output


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    result = run("--sine")
    assert result.exit_code != 0
    assert 'pip install "salon[webrtc]"' in result.output


def test_ice_servers_may_come_with_a_credential() -> None:
    given = '[{"urls": "turn:127.0.0.1:3478", "username": "u", "credential": "c"}]'
    way = probe_webrtc.WebRtcWay(ice_servers=(given, "stun:127.0.0.1:3478"))
    assert [server.urls for server in way._servers] == [
        ("turn:127.0.0.1:3478",),
        ("stun:127.0.0.1:3478",),
    ]
    assert way._servers[0].credential == "c"
