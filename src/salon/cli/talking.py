"""Microphone and loudspeaker of a terminal: `arecord` and `aplay`, no sound library."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from salon.base import ConfigurationError, SalonError, TaskScope

if TYPE_CHECKING:
    from salon.clients.call import AudioPacket, CallClient
    from salon.media import Samples

FORMAT: Final = ("-q", "-t", "raw", "-f", "S16_LE", "-r", "16000", "-c", "1")
FRAME_BYTES: Final = 640
MAX_WAITING: Final = 50
"""Frames of the reply that may wait for the loudspeaker; the oldest are dropped."""
_END: Final = 1.0


class SoundFailed(SalonError):
    """The recording or playing program gave up."""

    code = "sound"


def find_programs() -> tuple[str, str]:
    """Where `arecord` and `aplay` are; `ConfigurationError` naming the package if they aren't."""
    recorder, player = shutil.which("arecord"), shutil.which("aplay")
    if recorder is None or player is None:
        missing = " and ".join(
            name for name, path in (("arecord", recorder), ("aplay", player)) if path is None
        )
        raise ConfigurationError(
            f"--talk needs {missing}, which the system package alsa-utils brings "
            "(apt install alsa-utils); or open the server's page in a browser"
        )
    return recorder, player


async def recorded(recorder: str) -> AsyncIterator[Samples]:
    """The microphone as ``int16[320]`` at 16 kHz. `SoundFailed` if it can't be opened."""
    import numpy as np

    process = await asyncio.create_subprocess_exec(
        recorder,
        *FORMAT,
        "-",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        while True:
            yield np.frombuffer(await process.stdout.readexactly(FRAME_BYTES), dtype="<i2")
    except asyncio.IncompleteReadError:
        said = (await process.stderr.read(500)).decode("utf-8", "replace").strip()
        raise SoundFailed(f"the microphone can't be used: {said or 'arecord ended'}") from None
    finally:
        await end(process)


class Loudspeaker:
    """Plays what a call receives: one frame each 20 ms, silence where there is none, so that the
    device never runs dry. Use it as an async context manager."""

    def __init__(self, player: str, call: CallClient) -> None:
        self._player = player
        self._call = call
        self._waiting: deque[Samples] = deque(maxlen=MAX_WAITING)
        self._tasks = TaskScope("loudspeaker")
        self.dropped = 0

    async def __aenter__(self) -> Loudspeaker:
        from salon.clients.call.received import codec_for

        self._codec = codec_for(self._call.received.codec)
        self._process = await asyncio.create_subprocess_exec(
            self._player,
            *FORMAT,
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._call.on_audio(self._take)
        self._tasks.spawn(self._play(), name="play")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()
        await end(self._process)

    def clear(self) -> None:
        """Forget what waits: the agent was interrupted."""
        self._waiting.clear()

    def _take(self, packet: AudioPacket) -> None:
        if len(self._waiting) == MAX_WAITING:
            self.dropped += 1
        self._waiting.append(self._codec.decode(packet.data))

    async def _play(self) -> None:
        from salon.clients.call.pace import Beat
        from salon.media import SILENCE

        beat = Beat()
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(ConnectionError):
            while True:
                await beat.next()
                frame = self._waiting.popleft() if self._waiting else SILENCE
                pipe.write(frame.astype("<i2", copy=False).tobytes())
                await pipe.drain()


async def end(process: asyncio.subprocess.Process) -> None:
    """Terminate the program, after a second kill it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_END):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
