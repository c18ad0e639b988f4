"""One worker process of the recogniser, seen from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from salon.voice.errors import SpeechError
from salon.voice.stt import sphinx_wire as wire

_log = logging.getLogger("salon.voice.stt.sphinx_process")

ENGINE: Final = "pocketsphinx"
SOURCE: Final = str(Path(__file__).resolve().parents[3])
EXIT_SECONDS: Final = 2.0
MODULE: Final = "salon.voice.stt.sphinx_worker"

_SECRET_WORDS: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "SALON_")

Reply = dict[str, Any]


class SphinxProcess:
    """Starts a worker, writes to it, hands its replies to who waits. One user at a time.

    `on_exit` is called once, when the process has ended for whatever reason but `stop`.
    """

    def __init__(
        self, directory: Path, on_exit: Callable[[SphinxProcess], None], module: str = MODULE
    ) -> None:
        self._directory = directory
        self._module = module
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._number = 0
        self._answer: asyncio.Future[Reply] | None = None
        self._on_partial: Callable[[str], None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process id, once started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process runs and takes messages."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process; its models load with the first message that names them. Raises
        `SpeechError` if it can't be started."""
        inherited = os.environ.get("PYTHONPATH")
        path = f"{SOURCE}{os.pathsep}{inherited}" if inherited else SOURCE
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                self._module,
                str(self._directory),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=_environment(path),
                start_new_session=True,  # Ctrl-C is for the server, which ends its workers
            )
        except OSError as error:
            raise SpeechError(ENGINE, f"the worker process can't be started: {error}") from error
        self._reading = asyncio.get_running_loop().create_task(
            self._read(self._process), name=f"{ENGINE}:worker:{self._process.pid}"
        )

    async def prepare(self, key: str) -> None:
        """Have the model of `key` loaded. Raises `SpeechError`."""
        self._expect(None)
        self._send(wire.PREPARE, {"number": self._number, "key": key})
        await self.answer()

    def begin(self, key: str, on_partial: Callable[[str], None] | None) -> None:
        """Start an utterance."""
        self._expect(on_partial)
        partials = on_partial is not None
        self._send(wire.BEGIN, {"number": self._number, "key": key, "partials": partials})

    def hear(self, sound: bytes) -> None:
        """int16 samples of the utterance."""
        self._write(wire.message(wire.AUDIO, sound))

    def finish(self) -> None:
        """No more sound; `answer` brings the text."""
        self._write(wire.message(wire.FINISH))

    def cancel(self) -> None:
        """Give the utterance up; the worker can be used for another at once."""
        self._answer = self._on_partial = None
        self._number += 1
        self._write(wire.message(wire.CANCEL))

    async def answer(self) -> Reply:
        """The reply to what runs. Raises `SpeechError` if the worker fails or ends first."""
        if self._answer is None:
            raise SpeechError(ENGINE, "nothing runs that could be answered")
        return await self._answer

    def kill(self) -> None:
        """End a process that hangs; it is reported like one that ended by itself."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """End the process: its input closes, after 2 s it is killed. Idempotent."""
        self._stopping = True
        process, reading = self._process, self._reading
        if process is None or process.stdin is None or reading is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), EXIT_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await reading

    def _expect(self, on_partial: Callable[[str], None] | None) -> None:
        self._number += 1
        self._answer = asyncio.get_running_loop().create_future()
        self._on_partial = on_partial
        if not self.alive:
            self._fail("the worker process has ended")

    def _send(self, kind: bytes, content: Reply) -> None:
        self._write(wire.message(kind, json.dumps(content).encode()))

    def _write(self, data: bytes) -> None:
        # What piles up behind a slow worker is bounded by the utterance's own bound.
        process = self._process
        if process is not None and process.stdin is not None and process.returncode is None:
            process.stdin.write(data)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        reader = wire.MessageReader()
        while data := await process.stdout.read(1 << 16):
            try:
                for kind, payload in reader.feed(data):
                    self._take(kind, json.loads(payload))
            except (ValueError, KeyError):
                _log.exception("recognition worker %d sends nonsense", process.pid)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                break
        code = await process.wait()
        self._fail(f"the worker process ended with {code}")
        if not self._stopping:
            _log.warning("recognition worker %d ended with %d", process.pid, code)
            self._on_exit(self)

    def _take(self, kind: bytes, reply: Reply) -> None:
        if reply["number"] != self._number:
            return
        if kind == wire.PARTIAL:
            if self._on_partial is not None:
                self._on_partial(reply["text"])
        elif kind == wire.FAILED:
            self._fail(reply["message"])
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(SpeechError(ENGINE, reason))
            self._answer.exception()  # Nobody may ask, and that is no fault.


def _environment(path: str) -> dict[str, str]:
    """What a worker needs of our environment: no secrets."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not any(word in name.upper() for word in _SECRET_WORDS)
    }
    return {**kept, "PYTHONPATH": path}
