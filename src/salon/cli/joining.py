"""The console in a room of a running server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salon.base import SalonError, TaskScope
from salon.cli.running import tls_context
from salon.cli.talking import Loudspeaker, find_programs, recorded
from salon.cli.terminal import Lines

if TYPE_CHECKING:
    from salon.cli.console import Screen
    from salon.clients.call import CallClient, RoomMessage, RoomSocketClient
    from salon.media import Samples

REMEMBERED = 32
"""Streams and own lines that may still come back as events."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Which room of which server, as whom."""

    url: str
    room: str
    name: str
    api_key: str | None
    insecure: bool
    talk: bool
    timeout: float

    @property
    def participant(self) -> str:
        return self.name.lower().replace(" ", "-")


@dataclass(slots=True)
class Captions:
    """Turns the messages of a room's socket into lines of a dialogue, each said once.

    An answer comes as a stream, and then again as the event that was stored; what was typed here
    comes back too.
    """

    screen: Screen
    participant: str
    typed: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when someone else has said something to its end."""
    failures: int = 0
    _streams: dict[str, str] = field(default_factory=dict)
    _said: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def show(self, message: RoomMessage) -> None:
        """Show one message."""
        if message.failure is not None:
            self._fail(message.failure)
            return
        handler = getattr(self, f"_{message.type}", None)
        if handler is not None:
            handler(message.data)

    def _stream_start(self, data: Mapping[str, Any]) -> None:
        while len(self._streams) >= REMEMBERED:
            self._streams.pop(next(iter(self._streams)))
        self._streams[str(data.get("stream_id"))] = ""
        self.screen.speaker(_name(data.get("source"), {}))

    def _stream_chunk(self, data: Mapping[str, Any]) -> None:
        key, delta = str(data.get("stream_id")), str(data.get("delta", ""))
        if key in self._streams:
            self._streams[key] += delta
            self.screen.piece(delta)

    def _stream_end(self, data: Mapping[str, Any]) -> None:
        said = self._streams.pop(str(data.get("stream_id")), None)
        if said is not None:
            self._said.append(said.strip())
            self.screen.finish()
            self._done()

    def _stream_error(self, data: Mapping[str, Any]) -> None:
        self._streams.pop(str(data.get("stream_id")), None)
        self._fail(str(data.get("error") or "the answer broke off"))

    def _error(self, data: Mapping[str, Any]) -> None:
        self._fail(str(data.get("message") or data.get("code") or "refused"))

    def _event(self, data: Mapping[str, Any]) -> None:
        event = data.get("event")
        if not isinstance(event, Mapping) or event.get("type") != "message":
            return
        source, content = event.get("source"), event.get("content")
        body = content.get("body") if isinstance(content, Mapping) else None
        if not isinstance(body, str) or not isinstance(source, Mapping):
            return
        own = source.get("participant_id") == self.participant
        if own and body in self.typed:
            self.typed.remove(body)
            return
        if self._was_streamed(body.strip()):
            return
        metadata = event.get("metadata")
        named = _name(source, metadata if isinstance(metadata, Mapping) else {})
        self.screen.speaker("you (spoken)" if own else named)
        self.screen.piece(body)
        self.screen.finish()
        if not own:
            self._done()

    def _was_streamed(self, body: str) -> bool:
        """Whether it is what a stream said, or the part that was heard of it."""
        texts = [*self._said, *(text.strip() for text in self._streams.values())]
        return bool(body) and any(text.startswith(body) for text in texts)

    def _done(self) -> None:
        self.answered.set()
        self.screen.prompt()

    def _fail(self, text: str) -> None:
        self.failures += 1
        self.screen.error(text)
        self._done()


def _name(source: object, metadata: Mapping[str, Any]) -> str:
    """How the speaker is called."""
    name = metadata.get("sender_name")
    if isinstance(source, Mapping):
        name = name or source.get("name") or source.get("participant_id")
        name = name or source.get("channel_id")
    return str(name or "agent")


class Voice:
    """A call into the same room, placed when it is needed first."""

    def __init__(self, options: Joined, stack: AsyncExitStack, tasks: TaskScope) -> None:
        self._options = options
        self._stack = stack
        self._tasks = tasks
        self._call: CallClient | None = None

    async def say(self, path: Path) -> None:
        """Speak a recording into the room."""
        call = self._call or await self._connect()
        await call.stream_wav(path)

    async def talk(self) -> None:
        """Open microphone and loudspeaker. `ConfigurationError` without the programs."""
        recorder, player = find_programs()
        call = await self._connect(recorded(recorder))
        speaker = await self._stack.enter_async_context(Loudspeaker(player, call))
        self._tasks.spawn(self._interruptions(call, speaker), name="interruptions")

    async def _interruptions(self, call: CallClient, speaker: Loudspeaker) -> None:
        async for event in call.events():
            if event.name == "interruption":
                speaker.clear()

    async def _connect(self, source: AsyncIterator[Samples] | None = None) -> CallClient:
        from salon.clients.call import CallClient

        options = self._options
        call: CallClient = await self._stack.enter_async_context(
            CallClient.connect(
                options.url,
                api_key=options.api_key,
                handler="room",
                room=options.room,
                participant=options.participant,
                name=options.name,
                tls=tls_context(options.insecure),
            )
        )
        await call.invite(asr={}, tts={}, vad={})
        await self._stack.enter_async_context(call.microphone(source))
        self._call = call
        return call


async def join(options: Joined, screen: Screen) -> int:
    """Be in the room until the lines end; how many questions got no answer."""
    from salon.clients.call import RoomSocketClient

    if options.talk:
        find_programs()
    tasks = TaskScope("console")
    async with AsyncExitStack() as stack:
        room = await stack.enter_async_context(
            RoomSocketClient.connect(
                options.url,
                options.room,
                api_key=options.api_key,
                participant=options.participant,
                name=options.name,
                tls=tls_context(options.insecure),
            )
        )
        stack.push_async_callback(tasks.close)
        captions = Captions(screen, options.participant)
        reading = tasks.spawn(_read(room, captions), name="messages")
        typing = tasks.spawn(_type(options, screen, room, captions, stack, tasks), name="typing")
        screen.note(f"in room {options.room} of {options.url}; /quit or Ctrl-D leaves")
        screen.prompt()
        await asyncio.wait({reading, typing}, return_when=asyncio.FIRST_COMPLETED)
        error = await (reading if reading.done() else typing)
        if error is not None:
            raise error
        return captions.failures


async def _read(room: RoomSocketClient, captions: Captions) -> SalonError | None:
    """Show what comes until the connection ends; the error it ended with."""
    try:
        async for message in room.messages():
            captions.show(message)
    except SalonError as error:
        return error
    return None


async def _type(
    options: Joined,
    screen: Screen,
    room: RoomSocketClient,
    captions: Captions,
    stack: AsyncExitStack,
    tasks: TaskScope,
) -> SalonError | None:
    """Send what is typed until it ends; the error that ended it."""
    voice = Voice(options, stack, tasks)
    try:
        if options.talk:
            await voice.talk()
        async for line in Lines():
            if line.strip() == "/quit":
                return None
            if not line.strip():
                screen.prompt()
                continue
            captions.answered.clear()
            if await _send(line.strip(), room, voice, captions) and not screen.terminal:
                await _answer(options.timeout, captions)
    except SalonError as error:
        return error
    return None


async def _send(line: str, room: RoomSocketClient, voice: Voice, captions: Captions) -> bool:
    """Say one line; False if that failed."""
    from salon.cli.console import wav_of

    if not line.startswith("/say"):
        captions.typed.append(line)
        await room.say(line)
        return True
    try:
        await voice.say(wav_of(line))
    except (click.ClickException, OSError, ValueError) as error:
        captions.failures += 1
        captions.screen.error(
            error.message if isinstance(error, click.ClickException) else f"{error}"
        )
        captions.screen.prompt()
        return False
    return True


async def _answer(timeout: float, captions: Captions) -> None:
    try:
        async with asyncio.timeout(timeout):
            await captions.answered.wait()
    except TimeoutError:
        captions.failures += 1
        captions.screen.error(f"no answer within {timeout:g} s")
