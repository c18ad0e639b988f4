"""A speech worker that misbehaves on demand: ``python fake_worker.py <mode>``.

Speaks 8 kHz; its sound for a text is one constant sample value per character, 10 ms each.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path

from salon.voice.workers import frames
from salon.voice.workers.serving import EngineUnavailableError, Request, Sink, serve

RATE = 8000
CHARACTER_SAMPLES = RATE // 100


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class FakeEngine:
    def hello(self) -> frames.Fields:
        fields: frames.Fields = {"engine": "fake", "version": "1", "licence": "MIT"}
        return {**fields, "sample_rate": RATE, "words": True}

    def speak(self, request: Request, sink: Sink) -> None:
        word = request.text.split(" ")[0]
        if word == "die":
            sink.audio(b"\0\0")
            os.kill(os.getpid(), 9)
        if word == "dieonce":  # the rest of the text is a file that remembers the first time
            known = Path(request.text.split(" ", 1)[1])
            if not known.exists():
                known.touch()
                os.kill(os.getpid(), 9)
        if word == "diesilent":
            os.kill(os.getpid(), 9)
        if word == "raise":
            raise RuntimeError("no such sound")
        if word == "garbage":
            os.write(3, b"\xff" * 400)
        if word == "foreign":
            os.write(3, frames.encode_fields(frames.DONE, {"id": "of another"}))
        if word == "odd":
            os.write(3, frames.encode(frames.AUDIO, b"abc"))
        if word == "badword":
            os.write(3, frames.encode_fields(frames.WORD, {"start_ms": -1}))
        if word == "notjson":
            os.write(3, frames.encode(frames.WORD, b"[1"))
        if word == "stall":
            time.sleep(60)
        if word == "endless":
            while sink.audio(struct.pack("<h", 5) * RATE):
                pass
            return
        if word == "deaf":
            while True:
                sink.audio(struct.pack("<h", 5) * RATE)
                time.sleep(0.01)
        if word == "noisy":
            os.write(1, b"printed by the library\n")
            os.write(2, b"complaint\n" * 20_000)
        sink.word(0, 10 * len(word), 0, len(word))
        for character in request.text:
            if not sink.audio(struct.pack("<h", ord(character) % 1000) * CHARACTER_SAMPLES):
                return


def missing() -> FakeEngine:
    raise EngineUnavailableError("the fake is not installed: apt-get install fake")


def main(mode: str) -> int:
    if mode == "exit":
        sys.stderr.write("cannot open the voice\n")
        return 3
    if mode == "silent":
        time.sleep(60)
    if mode == "babble":
        write(b"Content-Type: text/plain\r\n\r\n")
        time.sleep(60)
    if mode == "old":
        write(frames.encode_fields(frames.HELLO, {"protocol": 0}))
        time.sleep(60)
    if mode == "incomplete":
        write(frames.encode_fields(frames.HELLO, {"protocol": 1, "engine": "x"}))
        time.sleep(60)
    if mode == "early":
        write(frames.encode_fields(frames.DONE, {"id": "0"}))
        time.sleep(60)
    if mode.startswith("once="):
        # Starts the first time only.
        marker = Path(mode.partition("=")[2])
        if marker.exists():
            return 4
        marker.touch()
    if mode == "missing":
        return serve(missing)
    os.dup2(1, 3)  # the protocol's pipe, for frames no engine could send
    return serve(FakeEngine)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "good"))
