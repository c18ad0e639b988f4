"""The worker's side: messages, noise, and the process seen from its pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.voice.test_stt_pocketsphinx import SENTENCES, needs_engine, speak

import salon
from salon.voice.stt import sphinx_wire as wire

MESSAGES = st.lists(st.tuples(st.sampled_from([wire.AUDIO, wire.BEGIN]), st.binary(max_size=40)))


@given(MESSAGES, st.integers(1, 17))
def test_messages_survive_any_cutting(messages: list[tuple[bytes, bytes]], size: int) -> None:
    stream = b"".join(wire.message(kind, payload) for kind, payload in messages)
    reader = wire.MessageReader()
    found = []
    for at in range(0, len(stream), size):
        found += reader.feed(stream[at : at + size])
    assert found == messages


def test_an_oversize_message_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than"):
        wire.MessageReader().feed(wire.HEADER.pack(b"A", wire.MAX_PAYLOAD + 1))


@needs_engine
def test_dither_is_low_the_same_each_time_and_clamped() -> None:
    from salon.voice.stt.sphinx_model import Dither

    dither = Dither()
    silence = np.zeros(40_000, dtype=np.int16)
    quiet = dither.add(silence)
    assert 10 < quiet.std() < 100
    dither.reset()
    assert np.array_equal(dither.add(silence), quiet)
    loud = dither.add(np.array([32767, -32768] * 8000, dtype=np.int16))
    assert (loud.max(), loud.min()) == (32767, -32768)


class Peer:
    """A worker process and the two ends of its pipes."""

    def __init__(self, directory: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(salon.__file__).parents[1])}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "salon.voice.stt.sphinx_worker", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._reader = wire.MessageReader()
        self._found: list[tuple[bytes, bytes]] = []

    def send(self, kind: bytes, content: object = None) -> None:
        assert self.process.stdin is not None
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.process.stdin.write(wire.message(kind, b"" if content is None else payload))
        self.process.stdin.flush()

    def receive(self) -> tuple[bytes, dict[str, object]]:
        assert self.process.stdout is not None
        while not self._found:
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "the worker ended"
            self._found += self._reader.feed(data)
        kind, payload = self._found.pop(0)
        return kind, json.loads(payload)

    def close(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(5)
        self.process.stdout.close()
        return code


@needs_engine
def test_the_worker_decodes_fails_cancels_and_ends_with_its_input(tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text(json.dumps(SENTENCES))
    peer = Peer(tmp_path)
    peer.send(wire.PREPARE, {"number": 1, "key": "k"})
    assert peer.receive() == (wire.READY, {"number": 1})
    # Unknown models and messages fail alone.
    peer.send(wire.BEGIN, {"number": 2, "key": "unknown", "partials": False})
    peer.send(wire.AUDIO, bytes(640))
    peer.send(wire.FINISH)
    kind, reply = peer.receive()
    assert (kind, reply["number"]) == (wire.FAILED, 2)
    peer.send(b"?")
    assert peer.receive()[0] == wire.FAILED
    # A cancelled utterance is never answered.
    peer.send(wire.BEGIN, {"number": 3, "key": "k", "partials": False})
    peer.send(wire.AUDIO, bytes(640))
    peer.send(wire.CANCEL)
    peer.send(wire.BEGIN, {"number": 4, "key": "k", "partials": True})
    peer.send(wire.AUDIO, speak(SENTENCES[3]).tobytes())
    peer.send(wire.FINISH)
    kind, reply = peer.receive()
    while kind == wire.PARTIAL:
        kind, reply = peer.receive()
    assert (kind, reply["number"], reply["text"]) == (wire.FINAL, 4, SENTENCES[3])
    assert peer.close() == 0


@needs_engine
def test_decoders_are_kept_for_the_last_few_models_only(tmp_path: Path) -> None:
    peer = Peer(tmp_path)
    for number, key in enumerate("abcda"):
        (tmp_path / f"{key}.json").write_text(json.dumps(["open the door"]))
        peer.send(wire.PREPARE, {"number": number, "key": key})
        assert peer.receive() == (wire.READY, {"number": number})
    assert peer.close() == 0


def test_the_workers_imports_are_few() -> None:
    code = (
        "import sys, salon.voice.stt.sphinx_wire, salon.voice.stt.language_model;"
        "sys.exit(any(m in sys.modules for m in ('numpy', 'asyncio', 'pydantic')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(salon.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=30).returncode == 0
