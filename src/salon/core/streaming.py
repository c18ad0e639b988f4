"""One streamed answer to every channel that takes it live (R63, V240)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from salon.core.errors import RoomKitError
from salon.core.ports.channel import Channel, StreamOutcome
from salon.models import (
    ChannelBinding,
    CompositeContent,
    EventContent,
    RichContent,
    RoomContext,
    RoomEvent,
    TextContent,
)

_log = logging.getLogger("salon.core.streaming")

MAX_ANSWER_CHARS = 200_000
"""A longer answer is cut off there, streamed or not, and marked `truncated` in its metadata: it is
text for people, not a download."""
GRACE_S = 10.0
"""How long the other channels may take to finish after an interruption."""


@dataclass(slots=True)
class StreamResult:
    """What is to be stored of a streamed answer."""

    text: str
    interrupted: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    """What became of it: `interrupted`, `truncated`, `failed`."""
    error: BaseException | None = None


class _Sink:
    """One channel's view of the stream."""

    def __init__(self, channel: Channel, binding: ChannelBinding) -> None:
        self.channel = channel
        self.binding = binding
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.revoked = False
        """Its people may not have the answer any more."""

    def put(self, delta: str | None) -> None:
        self._queue.put_nowait(delta)

    def revoke(self) -> None:
        """End here: what it did not read yet, it never gets."""
        self.revoked = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self.put(None)

    async def text(self) -> AsyncIterator[str]:
        while (delta := await self._queue.get()) is not None:
            yield delta


class StreamTee:
    """Reads an answer once and gives it to all sinks, at the pace at which it comes.

    A sink that raises or stops early ends only its own part, and so does one whose people lose the
    right to the answer: they get no word after that. One that reports an interruption ends the
    answer for all, and what its listeners heard is what is stored.
    """

    def __init__(
        self,
        announced: RoomEvent,
        choose: Callable[[], Awaitable[list[tuple[Channel, ChannelBinding]]]],
        context: RoomContext,
        still: Callable[[], Awaitable[Collection[ChannelBinding]]],
    ) -> None:
        """`choose` names the channels that get the answer live, once it has words, and `still`
        the bindings that may have it, after `look_again` was called."""
        self._still = still
        self._stale = False
        self._announced = announced
        self._context = context
        self._choose = choose
        self._sinks: list[_Sink] = []
        self.chosen: list[tuple[Channel, ChannelBinding]] = []
        self._parts: list[str] = []
        self._size = 0
        self._cut = False
        self.taken: set[str] = set()
        """Channels that got the text live and wholly; the others get the stored event."""
        self.failure: BaseException | None = None
        """Why the answer broke off, even if `run` was cancelled after that."""

    def look_again(self) -> None:
        """The room has changed: no further word for those who may not have it any more."""
        self._stale = True

    async def run(self, stream: AsyncIterator[str]) -> StreamResult:
        """Run to the end of the answer and of its playback. Cancelling stops all of it."""
        result = await self._run(stream)
        self.failure = result.error
        return result

    async def _run(self, stream: AsyncIterator[str]) -> StreamResult:
        first = await self._first(stream)
        if first is None:
            return StreamResult("")
        if isinstance(first, BaseException):
            return StreamResult("", error=first)
        self._stale = False
        self.chosen = await self._choose()
        if not self.chosen:
            return await self._unheard(first, stream)
        self._sinks = [_Sink(channel, binding) for channel, binding in self.chosen]
        reader = asyncio.ensure_future(self._read(first, stream))
        running: dict[asyncio.Future[StreamOutcome], _Sink] = {
            asyncio.ensure_future(self._serve(sink)): sink for sink in self._sinks
        }
        try:
            return await self._watch(reader, running)
        except asyncio.CancelledError:
            self.failure = _failure(reader) if reader.done() else None
            raise
        finally:
            tasks: list[asyncio.Future[Any]] = [reader, *running]
            rest = [task for task in tasks if not task.done()]
            for task in rest:
                task.cancel()
            if rest:
                await asyncio.gather(*rest, return_exceptions=True)
            await _close(stream)

    async def _unheard(self, first: str, stream: AsyncIterator[str]) -> StreamResult:
        """Nobody takes it live: there is nothing to wait for but its end."""
        error: Exception | None = None
        try:
            await self._read(first, stream)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            error = RoomKitError("the work was cancelled")
        except Exception as failure:  # noqa: BLE001 - told to whoever asked
            error = failure
        finally:
            await _close(stream)
        return self._result(error)

    async def _first(self, stream: AsyncIterator[str]) -> str | BaseException | None:
        """The first words: nobody is told of an answer before it has any."""
        try:
            async for delta in stream:
                if _checked(delta):
                    return delta
        except asyncio.CancelledError:
            await _close(stream)
            raise
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            return error
        return None

    async def _read(self, first: str, stream: AsyncIterator[str]) -> None:
        if not await self._give(first):
            return
        async for delta in stream:
            if not await self._give(_checked(delta)):
                return

    async def _give(self, delta: str) -> bool:
        """Give a piece to all who may have it; False if the answer ends here."""
        while self._stale:
            self._stale = False
            allowed = {binding.channel_id for binding in await self._still()}
            for sink in [s for s in self._sinks if s.binding.channel_id not in allowed]:
                self._sinks.remove(sink)
                sink.revoke()
        return self._spread(delta)

    def _spread(self, delta: str) -> bool:
        """Give a piece to all sinks; False if the answer is too long and ends here."""
        left = MAX_ANSWER_CHARS - self._size
        if len(delta) > left:
            self._cut = True
            _log.warning("an answer in room %s was cut off", self._announced.room_id)
            delta = delta[:left]
        if delta:
            self._size += len(delta)
            self._parts.append(delta)
            for sink in self._sinks:
                sink.put(delta)
        return not self._cut

    async def _serve(self, sink: _Sink) -> StreamOutcome:
        async with aclosing(sink.text()) as text:  # type: ignore[type-var]
            outcome = await sink.channel.deliver_stream(
                text, self._announced, sink.binding, self._context
            )
        if sink.revoked:
            await sink.channel.finish_stream(self._announced, None, sink.binding, None)
            return StreamOutcome()
        self.taken.add(sink.binding.channel_id)
        return outcome

    async def _watch(
        self,
        reader: asyncio.Future[None],
        running: dict[asyncio.Future[StreamOutcome], _Sink],
    ) -> StreamResult:
        error: BaseException | None = None
        waiting: set[asyncio.Future[Any]] = {reader, *running}
        over: float | None = None
        """When the last word was produced."""
        loop = asyncio.get_running_loop()
        while waiting:
            ends = {} if over is None else self._ends(waiting, running, over)
            left = max(min(ends.values()) - loop.time(), 0.0) if ends else None
            done, waiting = await asyncio.wait(
                waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                waiting -= self._give_up(ends, loop.time())
            for task in done:
                if task is reader:
                    error = _failure(reader)
                    over = loop.time()
                    self._end_sinks()
                elif (outcome := self._outcome(task, running)) and outcome.interrupted:
                    if error is None and reader.done():
                        error = _failure(reader)
                    reader.cancel()
                    self._end_sinks()
                    others = [task for task in waiting if task is not reader]
                    if others:
                        await asyncio.wait(others, timeout=GRACE_S)
                    return StreamResult(
                        outcome.text if outcome.text is not None else "".join(self._parts),
                        True,
                        {"interrupted": True, "cancelled": True, **outcome.metadata},
                        error,
                    )
        return self._result(error)

    def _result(self, error: BaseException | None) -> StreamResult:
        """The whole of it, or what there was before the error."""
        facts = {"truncated": True} if self._cut else {}
        if error is not None:
            facts["failed"] = True
        return StreamResult("".join(self._parts), metadata=facts, error=error)

    def _ends(
        self,
        waiting: set[asyncio.Future[Any]],
        running: dict[asyncio.Future[StreamOutcome], _Sink],
        over: float,
    ) -> dict[asyncio.Future[Any], float]:
        """By when each channel has to be done with the answer."""
        return {
            task: over + sink.channel.playout_timeout
            for task, sink in running.items()
            if task in waiting
        }

    def _give_up(
        self, ends: dict[asyncio.Future[Any], float], now: float
    ) -> set[asyncio.Future[Any]]:
        """Stop what has taken too long; its channel gets the stored event."""
        late = {task for task, end in ends.items() if end <= now}
        for task in late:
            task.cancel()
            _log.warning("an answer in room %s never ended", self._announced.room_id)
        return late

    @staticmethod
    def _outcome(
        task: asyncio.Future[StreamOutcome], running: dict[asyncio.Future[StreamOutcome], _Sink]
    ) -> StreamOutcome | None:
        error = _failure(task)
        if error is None:
            return task.result()
        channel_id = running[task].binding.channel_id
        _log.error("streaming to %s failed", channel_id, exc_info=error)
        return None

    def _end_sinks(self) -> None:
        for sink in self._sinks:
            sink.put(None)


def _checked(delta: object) -> str:
    """A piece of an answer; `RoomKitError` if it is no text."""
    if not isinstance(delta, str):
        raise RoomKitError(f"an answer is made of text, not of {type(delta).__name__}")
    return delta


def bounded(event: RoomEvent) -> RoomEvent:
    """The event with at most `MAX_ANSWER_CHARS` characters of text; marked if that cut it."""
    content, left = _shortened(event.content, MAX_ANSWER_CHARS)
    if left >= 0:
        return event
    _log.warning("an answer in room %s was cut off", event.room_id)
    metadata = {**event.metadata, "truncated": True}
    return event.model_copy(update={"content": content, "metadata": metadata})


def _shortened(content: EventContent, left: int) -> tuple[EventContent, int]:
    """The content with at most `left` characters, and how many are left; negative: it was cut."""
    match content:
        case TextContent() | RichContent():
            update: dict[str, Any] = {"body": content.body[: max(left, 0)]}
            size = len(content.body)
            if isinstance(content, RichContent) and content.plain_text is not None:
                update["plain_text"] = content.plain_text[: max(left, 0)]
                size = max(size, len(content.plain_text))
            if size > left:
                return content.model_copy(update=update), -1
            return content, left - size
        case CompositeContent():
            parts = []
            for part in content.parts:
                shorter, left = _shortened(part, left)
                parts.append(shorter)
            return content.model_copy(update={"parts": parts}), left
        case _:
            return content, left


def _failure(task: asyncio.Future[Any]) -> BaseException | None:
    """Why a task failed; one that ended in a cancellation of its own making failed too."""
    if task.cancelled():
        return RoomKitError("the work was cancelled")
    return task.exception()


async def _close(stream: AsyncIterator[str]) -> None:
    """Stop the generation: no more tokens, no new tool call."""
    closing = getattr(stream, "aclose", None)
    if closing is None:
        return
    try:
        await closing()
    except Exception:  # noqa: BLE001 - the answer is over, whatever its source says to that
        _log.warning("closing an answer failed", exc_info=True)
