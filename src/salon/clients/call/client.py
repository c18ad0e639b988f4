"""One call to a server of the active-call protocol."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from salon.base import SYSTEM_CLOCK, Clock
from salon.clients.call.addresses import CALL_PATH, call_url
from salon.clients.call.connection import Connection
from salon.clients.call.errors import CallFailed, ClientError
from salon.clients.call.events import CallEvent, parse_object
from salon.clients.call.journal import Cursor, Journal
from salon.clients.call.microphone import Microphone, Spoken, frames_of, load
from salon.clients.call.pace import FRAME_SECONDS, Beat
from salon.clients.call.received import AudioPacket, ReceivedAudio, codec_for

if TYPE_CHECKING:
    from salon.media import AudioCodec, Samples

MAX_EVENTS: Final = 4096
"""Events kept for readers."""


class CallClient:
    """Places a call and drives it: `connect`, then `invite`, then speak and listen.

    Every reader of `events` and `audio` sees everything from the beginning of the call, so none
    can be late; both are bounded, and what was dropped is counted. After the end of the connection
    every sending method raises `CallClosed`.
    """

    path: ClassVar[str] = CALL_PATH
    """Where such calls are placed, if the URL names no path."""

    def __init__(self, connection: Connection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Use `connect` instead."""
        self._connection = connection
        self._clock = clock
        self._events: Journal[CallEvent] = Journal(MAX_EVENTS)
        self._waiting = self._events.read()
        self._callbacks: list[Callable[[AudioPacket], None]] = []
        self._codec: AudioCodec | None = None
        self._microphone: Microphone | None = None
        self.received = ReceivedAudio()
        """The sound that came, with its times of arrival."""
        self.bad_frames = 0
        """Text frames that were no event."""
        connection.start(self._on_text, self._on_binary, self._on_end)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        api_key: str | None = None,
        handler: str | None = None,
        room: str | None = None,
        participant: str | None = None,
        name: str | None = None,
        session_id: str | None = None,
        params: Mapping[str, str] | None = None,
        open_timeout: float = 10,
        tls: ssl.SSLContext | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> AsyncIterator[Self]:
        """Connect to `url`, e.g. ``ws://127.0.0.1:8000`` (the path `/ws` is added).

        `handler="room"` puts the call into `room`, where an agent answers; without it the client
        drives the call itself. `params` go into the query too. On leaving, the connection is
        closed in order, within 2 s. Raises `Unauthorized`, `Forbidden`, `ServerBusy`, other
        `Refused`, `ConnectFailed`, `MissingExtraError`.
        """
        query = {
            **(params or {}),
            "id": session_id,
            "handler": handler,
            "room": room,
            "participant": participant,
            "name": name,
        }
        connection = await Connection.open(
            call_url(url, query, cls.path), api_key=api_key, open_timeout=open_timeout, tls=tls
        )
        call = cls(connection, clock=clock)
        try:
            yield call
        finally:
            await call.close()

    # -- commands ---------------------------------------------------------------------------------

    async def send(self, command: Mapping[str, Any]) -> None:
        """Send any command as it is, e.g. ``{"command": "pause"}``."""
        await self._connection.send(json.dumps(command, ensure_ascii=False))

    async def invite(
        self,
        codec: str = "pcm",
        asr: Mapping[str, Any] | None = None,
        tts: Mapping[str, Any] | None = None,
        vad: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = 10,
        **option: Any,
    ) -> CallEvent | None:
        """Start the call and wait for its `answer`, which is returned.

        `asr`, `tts` and `vad` switch recognition, speech and voice activity on (``{}`` = with the
        server's own settings); more fields of the call option by keyword, in snake_case. With
        `timeout=None` it returns None at once. `CallFailed` if the server refuses or is silent.
        """
        self.received.codec = codec
        self._codec = None
        given = {"asr": asr, "tts": tts, "vad": vad, **option}
        await self.send({"command": "invite", "option": {"codec": codec} | _fields(given)})
        if timeout is None:
            return None
        return await self._answered(timeout)

    async def _answered(self, timeout: float | None) -> CallEvent:
        """The `answer`; `CallFailed` if something else comes of the invite."""
        event = await self.wait_for("answer", "reject", "hangup", "error", timeout=timeout)
        while event is not None and _harmless(event):
            event = await self.wait_for("answer", "reject", "hangup", "error", timeout=timeout)
        if event is None:
            within = "" if timeout is None else f" within {timeout:g} s"
            raise CallFailed(f"the server did not answer{within}")
        if event.name != "answer":
            why = event.data.get("error") or event.data.get("reason") or "no reason given"
            raise CallFailed(f"the server did not take the call: {why}", event)
        return event

    async def tts(self, text: str, **more: Any) -> None:
        """Have `text` spoken. More fields by keyword: `play_id`, `speaker`, `streaming`,
        `end_of_stream`, `auto_hangup`, `option`, `cache_key`, `wait_input_timeout` (ms)."""
        await self._command("tts", text=text, **more)

    async def play(self, url: str, **more: Any) -> None:
        """Have a file or URL played; more: `play_id`, `auto_hangup`, `offset_ms`."""
        await self._command("play", url=url, **more)

    async def interrupt(
        self, *, graceful: bool | None = None, fade_out_ms: int | None = None
    ) -> None:
        """Stop what plays."""
        await self._command("interrupt", graceful=graceful, fade_out_ms=fade_out_ms)

    async def chat(self, text: str, **more: Any) -> None:
        """Say something by text to whoever handles the call."""
        await self._command("chat", text=text, **more)

    async def hangup(self, reason: str | None = None) -> None:
        """Ask for the end of the call; the `hangup` event follows, then the connection closes."""
        await self._command("hangup", reason=reason)

    async def _command(self, command: str, **given: Any) -> None:
        await self.send({"command": command} | _fields(given))

    # -- sound out --------------------------------------------------------------------------------

    async def send_audio(self, frame: bytes) -> None:
        """Send one packet, already in the codec of the call (20 ms: 640 bytes of `pcm`, 160 of the
        others). The pacing is the caller's."""
        await self._connection.send(frame)

    async def stream_wav(self, source: str | Path | Samples, *, pace: bool = True) -> Spoken:
        """Speak a WAV file of any rate, or ``int16[n]`` at 16 kHz; returns when the last frame has
        left. Frames leave at absolute deadlines 20 ms apart, without `pace` as fast as the server
        reads. While a `microphone` is open the sound goes through it. Afterwards nothing more is
        sent: servers find the end of speech in the silence that a `microphone` goes on to send.
        """
        if self._microphone is not None and pace:
            return await self._microphone.say(source)
        frames = frames_of(await load(source))
        if not frames:
            raise ValueError("there is no sound to speak")
        codec = self._encoder()
        beat = Beat(self._clock)
        start = self._clock.monotonic()
        for number, frame in enumerate(frames):
            deadline = await beat.next() if pace else start
            if not number:
                start = deadline
            await self.send_audio(codec.encode(frame))
        return Spoken(start - FRAME_SECONDS, self._clock.monotonic(), len(frames))

    @asynccontextmanager
    async def microphone(
        self, source: AsyncIterator[Samples] | None = None
    ) -> AsyncIterator[Microphone]:
        """An open microphone: 20 ms every 20 ms, silence while nothing is said. One at a time."""
        if self._microphone is not None:
            raise ValueError("the microphone is open already")
        made = Microphone(self.send_audio, self._encoder(), source=source, clock=self._clock)
        self._microphone = made
        try:
            async with made:
                yield made
        finally:
            self._microphone = None

    def _encoder(self) -> AudioCodec:
        if self._codec is None:
            self._codec = codec_for(self.received.codec)
        return self._codec

    # -- what comes back --------------------------------------------------------------------------

    def events(self) -> Cursor[CallEvent]:
        """All events of the call, from the first kept (of `MAX_EVENTS`) to the last.

        It ends with the connection. `CallClosed` is raised there if the server broke it off: an
        end without `hangup` and with another code than 1000.
        """
        return self._events.read()

    async def wait_for(
        self, *names: str, timeout: float | None = 10, **data: Any
    ) -> CallEvent | None:
        """The next event with one of these names (any, without names) and these values in its
        data, after the one that `wait_for` gave last. None after `timeout` seconds or at the end
        of the call; `CallClosed` as in `events`. For one task at a time."""
        try:
            async with asyncio.timeout(timeout):
                async for event in self._waiting:
                    right = not names or event.name in names
                    if right and all(event.data.get(key) == data[key] for key in data):
                        return event
        except TimeoutError:
            return None
        return None

    def audio(self) -> Cursor[AudioPacket]:
        """All packets of sound, from the first kept, as they come; ends as `events` does."""
        return self.received.read()

    def on_audio(self, callback: Callable[[AudioPacket], None]) -> None:
        """Have `callback` called on the event loop with each packet. It must return at once; if it
        raises, the connection is closed and readers of `events` get a `ClientError`."""
        self._callbacks.append(callback)

    # -- the end ----------------------------------------------------------------------------------

    async def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait for the end of the connection; False if it still stands after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._connection.wait_closed()
        except TimeoutError:
            return False
        return True

    @property
    def close_code(self) -> int | None:
        """How the connection ended: the code of its Close frame, 1006 without one; None if open."""
        return self._connection.close_code

    async def close(self) -> None:
        """Close the connection without `hangup`: for the server that is a hang-up by the caller."""
        await self._connection.close()

    def _on_text(self, text: str) -> None:
        parsed = parse_object(text, "event")
        if parsed is None:
            self.bad_frames += 1
            return
        name, data = parsed
        self._connection.finished |= name == "hangup" and not data.get("refer")
        self._events.append(CallEvent(name, data, self._clock.monotonic()))

    def _on_binary(self, data: bytes) -> None:
        packet = AudioPacket(data, self._clock.monotonic())
        self.received.add(packet)
        for callback in self._callbacks:
            callback(packet)

    def _on_end(self, error: ClientError | None) -> None:
        self._events.close(error)
        self.received.close(error)


def _harmless(event: CallEvent) -> bool:
    """An `error` that does not concern the invite (G33)."""
    return event.name == "error" and event.data.get("sender") != "invite"


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """As the wire wants them: camelCase, absent in place of None (G1, G2)."""
    return {_camel(key): value for key, value in given.items() if value is not None}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
