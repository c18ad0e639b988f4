"""The programs in the guide do what they say."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.cli.serverthread import server_thread
from tests.unit.clients.server import Peer

from salon.media import read_wav, sine, write_wav

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "python-client.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def agent(peer: Peer, message: dict[str, Any]) -> None:
    """Understands when silence follows sound, and answers with one frame."""
    if message["command"] == "hangup":
        peer.event("hangup", reason="caller")
        peer.socket.close(1000)
        return
    peer.event("answer", sdp="")
    spoke = False

    def heard(frame: bytes) -> None:
        nonlocal spoke
        if spoke and not any(frame):
            peer.event("asrFinal", text="are you open", index=0)
            peer.socket.send_binary(sine(500, 0.02).tobytes())
            peer.event("trackEnd", duration=20, ssrc=1)
        spoke = any(frame)

    peer.on_frame = heard


def test_the_first_program_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav("question.wav", sine(300, 0.1))
    with server_thread(agent) as server:
        program = BLOCKS[0].replace("ws://127.0.0.1:8000", server.url)
        exec(compile(program, str(GUIDE), "exec"), {})
        query = server.peer.request.query
    assert (query["room"], query["participant"]) == ("demo", "ann")
    said = capsys.readouterr().out
    assert "spoke for 0." in said
    assert "understood: are you open" in said
    assert np.any(read_wav("reply.wav")[0])


@pytest.mark.parametrize("block", BLOCKS)
def test_every_program_compiles(block: str) -> None:
    compile(block, str(GUIDE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
