"""One running worker program, seen from its parent.

Knows pipes and frames; which piece it speaks and what happens when it dies is the pool's matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from asyncio.subprocess import SubprocessStreamProtocol
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from salon.base.errors import ConfigurationError
from salon.base.tasks import TaskScope
from salon.voice.errors import SpeechError
from salon.voice.workers import frames
from salon.voice.workers.frames import Fields, FrameError

PIPE_BYTES: Final = 1 << 17
"""Unread output at which the worker is made to wait."""
START_TIMEOUT_S: Final = 10.0
EXIT_TIMEOUT_S: Final = 1.5
"""How long a worker may take to leave after its standard input closed, before it is killed."""
LAST_WORDS_TIMEOUT_S: Final = 0.5
"""How long to listen for the reason why a worker did not start."""
MAX_LOGGED_LINES: Final = 100
MAX_LINE_BYTES: Final = 300
_SECRET_WORDS: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "SALON_")

_log = logging.getLogger("salon.voice.workers")


@dataclass(frozen=True, slots=True)
class WorkerVoice:
    """A voice and the sampling rate of its sound, in Hz."""

    name: str
    sample_rate: int
    language: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerHello:
    """What a worker says of itself when it has started."""

    engine: str
    version: str
    licence: str
    voices: Mapping[str, WorkerVoice]
    sample_rate: int
    default_voice: str | None = None
    words: bool = False
    phonemes: bool = False
    volume: bool = False
    """The worker applies the volume itself; otherwise its parent does."""


def parse_hello(fields: Fields) -> WorkerHello:
    """Read a hello frame. `FrameError` if it is of another protocol version or makes no sense."""
    if fields.get("protocol") != frames.PROTOCOL_VERSION:
        raise FrameError(f"protocol {fields.get('protocol')!r} is not {frames.PROTOCOL_VERSION}")
    try:
        rate = _rate(fields["sample_rate"])
        voices = {
            str(voice["name"]): WorkerVoice(
                str(voice["name"]), _rate(voice.get("sample_rate", rate)), voice.get("language")
            )
            for voice in fields.get("voices", [])
        }
        default = fields.get("default_voice")
        return WorkerHello(
            engine=str(fields["engine"]),
            version=str(fields["version"]),
            licence=str(fields["licence"]),
            voices=voices,
            sample_rate=rate,
            default_voice=None if default is None else str(default),
            words=bool(fields.get("words")),
            phonemes=bool(fields.get("phonemes")),
            volume=bool(fields.get("volume")),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FrameError(f"hello lacks or mistakes a field: {error!r}") from error


def _rate(value: object) -> int:
    if not isinstance(value, int) or not 4_000 <= value <= 192_000:
        raise ValueError(f"sampling rate {value!r} is not within 4000 to 192000")
    return value


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a worker has no use for: credentials and settings."""
    return {
        name: value
        for name, value in environment.items()
        if not any(word in name.upper() for word in _SECRET_WORDS)
    }


class WorkerProcess:
    """A worker program. `start`, then write requests and read frames; `close` once."""

    def __init__(
        self, name: str, command: Sequence[str], *, start_timeout: float = START_TIMEOUT_S
    ) -> None:
        self.name = name
        self.pieces = 0
        """Pieces answered so far."""
        self.stderr_lines = 0
        self.lent = False
        """Somebody else reads its output now."""
        self._command = command
        self._start_timeout = start_timeout
        self._process: asyncio.subprocess.Process | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._scope = TaskScope(f"worker {name}")
        self._last_words: deque[str] = deque(maxlen=5)

    @property
    def pid(self) -> int | None:
        """The process id, once started."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Started and not known to have ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return " | ".join(self._last_words)

    async def start(self) -> WorkerHello:
        """Run the program and wait for its hello.

        `ConfigurationError` if it says that its engine is not installed; `SpeechError` if it
        ends, breaks the protocol or takes longer than the start timeout.
        """
        try:
            # By hand what create_subprocess_exec does, to keep the transport: closing it is the
            # one sure way to free the pipes of a process whose output nobody reads any more.
            loop = asyncio.get_running_loop()
            self._transport, protocol = await loop.subprocess_exec(
                lambda: SubprocessStreamProtocol(limit=PIPE_BYTES, loop=loop),
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=worker_environment(os.environ),
                start_new_session=True,  # Ctrl-C is for the server, which ends its workers
            )
            self._process = asyncio.subprocess.Process(self._transport, protocol, loop)
        except OSError as error:
            raise SpeechError(self.name, f"the worker cannot be started: {error}") from error
        self._scope.spawn(self._drain_stderr(), name="stderr")
        try:
            async with asyncio.timeout(self._start_timeout):
                kind, payload = await self.read()
            fields = frames.decode_fields(payload)
            if kind == frames.ERROR and fields.get("code") == frames.CONFIGURATION:
                raise ConfigurationError(str(fields.get("message")))
            if kind != frames.HELLO:
                raise FrameError(f"frame {bytes((kind,))!r} instead of hello")
            return parse_hello(fields)
        except TimeoutError as error:
            message = f"no hello from the worker within {self._start_timeout:g} s"
            raise SpeechError(self.name, message) from error
        except EOFError as error:
            await self._scope.drain(LAST_WORDS_TIMEOUT_S)
            message = f"the worker ended at once. {self.last_words}"
            raise SpeechError(self.name, message) from error
        except FrameError as error:
            raise SpeechError(self.name, f"not a speech worker: {error}") from error

    def write(self, kind: int, fields: Fields) -> None:
        """Send a request; never waits. A pipe that is gone is noticed by `read`."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._process.stdin.write(frames.encode_fields(kind, fields))

    async def read(self) -> tuple[int, bytes]:
        """The next frame. `EOFError` when the worker has ended, `FrameError` for garbage."""
        if self._process is None or self._process.stdout is None:
            raise EOFError
        reader = self._process.stdout
        try:
            kind, size = frames.decode_header(
                await reader.readexactly(frames.HEADER.size), frames.REPLIES
            )
            return kind, await reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise EOFError("the worker has ended") from error

    def kill(self) -> None:
        """End it now; harmless if it has ended."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def kill_and_drain(self) -> None:
        """End it, and read what is left in the pipe, so that the pipe can close."""
        self.lent = False
        self.kill()
        await self._discard_output()

    async def wait(self) -> int:
        """Wait for its end; gives the exit status, negative for a signal."""
        return 0 if self._process is None else await self._process.wait()

    async def close(self) -> None:
        """Close its input, give it `EXIT_TIMEOUT_S` to leave, then kill it."""
        process, transport = self._process, self._transport
        if process is not None and transport is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    await self._discard_output()
                    await process.wait()
            except TimeoutError:
                _log.warning("%s: worker %s did not leave, killing it", self.name, process.pid)
            finally:
                self.kill()
                transport.close()
            await process.wait()
        await self._scope.close()

    async def _discard_output(self) -> None:
        if self._process is not None and self._process.stdout is not None and not self.lent:
            while await self._process.stdout.read(PIPE_BYTES):
                pass

    async def _drain_stderr(self) -> None:
        """Log the first `MAX_LOGGED_LINES`, count the rest; a full pipe would stop the worker."""
        if self._process is None or self._process.stderr is None:
            return
        rest = b""
        while data := await self._process.stderr.read(4096):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:MAX_LINE_BYTES]
            for line in lines:
                self._heard(line)
        self._heard(rest)

    def _heard(self, data: bytes) -> None:
        line = data[:MAX_LINE_BYTES].decode("utf-8", "replace").strip()
        if not line:
            return
        self.stderr_lines += 1
        self._last_words.append(line)
        if self.stderr_lines <= MAX_LOGGED_LINES:
            _log.warning("%s worker %s: %s", self.name, self.pid, line)
