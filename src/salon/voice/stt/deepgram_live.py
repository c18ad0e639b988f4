"""One utterance over a stream of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import numpy as np

from salon.base import TaskScope
from salon.media.frame import Samples
from salon.voice.deepgram_wire import DeepgramSocket, Query, beside
from salon.voice.errors import SpeechError
from salon.voice.foreign import failure
from salon.voice.stt.base import OnPartial, Transcription, Utterance
from salon.voice.stt.gather import Gathered

if TYPE_CHECKING:
    from salon.voice.stt.deepgram import DeepgramSTTProvider

_log = logging.getLogger("salon.voice.stt")


class DeepgramUtterance(Utterance):
    """Connects at its first sound, which waits in memory until then. The end of the sound is
    ``CloseStream``; all is said when the service answers it with ``Metadata``."""

    def __init__(
        self,
        engine: DeepgramSTTProvider,
        scope: TaskScope,
        query: Query,
        on_partial: OnPartial | None,
    ) -> None:
        self._engine = engine
        self._query = query
        self._on_partial = on_partial
        self._chunks: list[Samples] = []
        self._waiting = 0
        self._ended = False
        self._closing = False
        self._more = asyncio.Event()
        self._result: asyncio.Future[Transcription] = asyncio.get_running_loop().create_future()
        self._task = scope.spawn(self._run(), name="utterance")

    def push(self, samples: Samples) -> None:
        if self._ended or self._result.done():
            return
        room = self._engine.max_samples - self._waiting
        if len(samples) > room:
            self._engine.dropped_samples += len(samples) - room
            samples = samples[:room]
        if len(samples):
            self._waiting += len(samples)
            self._chunks.append(samples.copy())
            self._more.set()

    async def finish(self) -> Transcription:
        self._ended = True
        self._more.set()
        try:
            async with asyncio.timeout(self._engine.service.timeout):
                return await asyncio.shield(self._result)
        except TimeoutError:
            error = self._engine.service.late()
            self.fail(error)
            raise error from None
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        self.fail(SpeechError(self._engine.name, "the utterance was given up"))

    def fail(self, error: SpeechError) -> None:
        """End with this error, unless it has ended."""
        if self._result.done():
            return
        self._result.set_exception(error)
        self._result.exception()  # Who cancels does not ask for it.
        self._leave()
        self._task.cancel()

    def _succeed(self, result: Transcription) -> None:
        if not self._result.done():
            self._result.set_result(result)
            self._leave()

    def _leave(self) -> None:
        self._chunks.clear()
        self._engine.closed(self)

    async def _run(self) -> None:
        try:
            await self._more.wait()
            if self._chunks:
                await self._stream()
            else:
                self._succeed(Transcription("", is_final=True))
        except SpeechError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - the task's outer edge
            _log.exception("an utterance of %s failed", self._engine.name)
            self.fail(failure(self._engine.name, error))

    async def _stream(self) -> None:
        service = self._engine.service
        async with service.stream("/v1/listen", self._query) as socket:
            async with beside(self._send(socket), socket.keep_alive()):
                result = await self._listen(socket)
            # Nobody waits for the closing handshake.
            self._succeed(result)

    async def _send(self, socket: DeepgramSocket) -> None:
        """All that has come since the last message, as one."""
        while True:
            if self._chunks:
                samples = np.concatenate(self._chunks)
                self._chunks.clear()
                self._waiting = 0
                await socket.send(samples.astype("<i2", copy=False).tobytes())
            elif self._ended:
                self._closing = True
                await socket.command("CloseStream")
                return
            else:
                self._more.clear()
                await self._more.wait()

    async def _listen(self, socket: DeepgramSocket) -> Transcription:
        gathered = Gathered(self._engine.name)
        answered = False
        while True:
            message = await socket.receive()
            if message is None and not (self._closing and answered):
                raise self._engine.service.error("the service ended the stream too early")
            if message is None:
                return gathered.result()
            if isinstance(message, bytes):
                continue
            if self._closing and message.get("type") == "Metadata":
                return gathered.result()
            if message.get("type") != "Results":
                continue
            answered = True
            result = self._engine.read(message)
            if result.text or result.is_final:
                partial = gathered.add(result)
                if partial is not None and self._on_partial is not None:
                    self._on_partial(partial)
