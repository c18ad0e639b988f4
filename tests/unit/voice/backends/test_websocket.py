"""Voice over WebSockets: the protocol, slow clients, both kinds of socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.backends.hearing import chunk, frequency
from tests.unit.voice.backends.parts import PaperSocket

from salon.base import ConfigurationError, LocalProtocolError, RemoteProtocolError
from salon.media import AudioFrame, decode_ulaw
from salon.media.g711 import encode_alaw
from salon.testing import MemorySocket, Received, VirtualClock, tone, virtual_time
from salon.voice.backends import VoiceCapability, VoiceSession, VoiceSessionState
from salon.voice.backends.websocket import WebSocketVoiceBackend
from salon.voice.backends.wire import MAX_MESSAGE, SLOW, QueueSink, WireFormat, parse


class Line:
    """A session over a socket without network."""

    def __init__(self, **settings: Any) -> None:
        self.backend = WebSocketVoiceBackend(clock=VirtualClock(), **settings)
        self.socket = PaperSocket()
        self.frames: list[AudioFrame] = []
        self.keys: list[str] = []
        self.marks: list[str] = []
        self.gone: list[VoiceSessionState] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        self.backend.on_dtmf_received(lambda _session, event: self.keys.append(event.digit))
        self.backend.on_mark(lambda _session, name: self.marks.append(name))
        self.backend.on_client_disconnected(lambda session: self.gone.append(session.state))
        self.session: VoiceSession
        self.serving: asyncio.Task[None]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [text for text in self.socket.texts if text["type"] == kind]

    @property
    def reason(self) -> str:
        return str(self.session.metadata["ended_reason"])


@asynccontextmanager
async def line(*first: object, **settings: Any) -> AsyncIterator[Line]:
    one = Line(**settings)
    one.session = await one.backend.connect("room", "ann", "voice")
    one.serving = asyncio.create_task(one.backend.accept(one.session, one.socket))
    for message in first:
        one.socket.say(message)
    await asyncio.sleep(0.01)
    try:
        yield one
    finally:
        await one.backend.close()
        await one.serving


@virtual_time
async def test_binary_messages_are_16_khz_samples_unless_said_otherwise() -> None:
    async with line() as one:
        samples = tone(100)
        one.socket.say_bytes(samples[:1000].tobytes())
        one.socket.say_bytes(samples[1000:].tobytes())
        one.socket.say_bytes(b"")
        await asyncio.sleep(0.05)
        heard = np.concatenate([frame.samples for frame in one.frames])
        assert np.array_equal(heard, samples)
        assert one.of("ready") == [
            {
                "type": "ready",
                "session_id": one.session.id,
                "codec": "pcm_s16le",
                "sample_rate": 16_000,
                "output_sample_rate": 16_000,
                "frame_ms": 20,
            }
        ]
        await one.backend.send_audio(one.session, chunk(500, 100).data)
        await asyncio.sleep(0.3)
        assert {len(data) for data in one.socket.binary} == {640}
        assert one.backend.capabilities is VoiceCapability.INTERRUPTION
        assert one.backend.name == "WebSocketVoiceBackend"


@virtual_time
async def test_the_first_message_may_choose_codec_and_rates() -> None:
    async with line({"type": "start", "codec": "mulaw"}) as one:
        await one.backend.send_audio(one.session, chunk(500, 500).data)
        await asyncio.sleep(0.6)
        heard = decode_ulaw(b"".join(one.socket.binary))
        assert {len(data) for data in one.socket.binary} == {160}
        assert frequency(heard[800:3200], 8000) == pytest.approx(500, abs=10)
        assert one.of("ready")[0]["sample_rate"] == 8000
    async with line({"type": "start", "codec": "alaw"}) as one:
        one.socket.say_bytes(encode_alaw(tone(200)[::2]))
        await asyncio.sleep(0.05)
        heard = np.concatenate([frame.samples for frame in one.frames])
        assert frequency(heard[320:], 16_000) == pytest.approx(440, abs=12)
    wide = {"type": "start", "sample_rate": 48_000, "output_sample_rate": 24_000}
    async with line(wide, default=WireFormat("mulaw", 8000, 8000)) as one:
        assert len(one.of("error")) == 1  # mu-law has one rate, and the codec was not named


@virtual_time
async def test_an_interruption_tells_the_client_to_drop_what_it_has() -> None:
    async with line({"type": "start"}) as one:
        await one.backend.send_audio(one.session, chunk(500, 3000).data)
        await asyncio.sleep(0.2)
        assert one.backend.is_playing(one.session)
        one.backend.interrupt(one.session)
        await asyncio.sleep(0.1)
        assert one.of("clear") == [{"type": "clear"}]
        assert not one.backend.is_playing(one.session)


@virtual_time
async def test_a_mark_follows_the_sound_and_comes_back() -> None:
    async with line({"type": "start"}) as one:
        one.backend.on_mark(lambda *_args: 1 / 0)
        await one.backend.send_audio(one.session, chunk(500, 400).data)
        one.backend.end_of_response(one.session)
        await asyncio.sleep(0.1)
        assert one.of("mark") == []
        await asyncio.sleep(0.5)
        (mark,) = one.of("mark")
        one.socket.say(mark)
        await asyncio.sleep(0.01)
        assert one.marks == [mark["name"]]
        await one.backend.send_audio(one.session, chunk(500, 400).data)
        one.backend.send_mark(one.session, "never")
        await asyncio.sleep(0.05)
        one.backend.interrupt(one.session)
        await asyncio.sleep(0.6)
        assert [item["name"] for item in one.of("mark")] == [mark["name"]]


@virtual_time
async def test_keys_texts_and_unknown_messages() -> None:
    async with line({"type": "dtmf", "digit": "5"}, {"type": "ping"}, {"type": "later"}) as one:
        await one.backend.send_transcription(one.session, "hello", "assistant")
        await asyncio.sleep(0.05)
        assert one.keys == ["5"]
        assert one.of("transcription") == [
            {"type": "transcription", "role": "assistant", "text": "hello"}
        ]
        with pytest.raises(NotImplementedError):
            one.backend.send_dtmf(one.session, "1")
        one.socket.say({"type": "bye"})
        await asyncio.sleep(0.05)
        assert one.gone == [VoiceSessionState.ACTIVE]
        assert one.session.state is VoiceSessionState.ENDED
        assert one.socket.closed == (1000, "")
        await one.backend.send_transcription(one.session, "late")
        one.backend.end_of_response(one.session)
        one.backend.lose(one.session)


BROKEN: list[object] = [
    "no json",
    "[" * 100_000,
    "x" * (MAX_MESSAGE + 1),
    [1],
    {"type": 5},
    {"type": "start", "codec": "mp3"},
    {"type": "start", "sample_rate": 4000},
    {"type": "start", "sample_rate": "fast"},
    {"type": "start", "codec": "mulaw", "sample_rate": 16_000},
    {"type": "dtmf", "digit": "x"},
    {"type": "dtmf", "digit": ["5"]},
    {"type": "mark", "name": 5},
]


@virtual_time
@pytest.mark.parametrize("message", BROKEN, ids=range(len(BROKEN)))
async def test_what_breaks_the_protocol_ends_the_session_with_a_reason(message: object) -> None:
    async with line(message) as one:
        await asyncio.sleep(0.05)
        assert one.session.state is VoiceSessionState.ENDED
        assert one.socket.closed is not None
        assert one.socket.closed[0] == 1007
        (error,) = one.of("error")
        assert one.reason == error["reason"]
        assert len(one.gone) == 1


@virtual_time
@pytest.mark.parametrize("data", [b"odd", bytes(MAX_MESSAGE + 2)])
async def test_binary_messages_without_whole_samples_are_refused(data: bytes) -> None:
    async with line() as one:
        one.socket.say_bytes(data)
        await asyncio.sleep(0.05)
        assert one.socket.closed is not None
        assert one.socket.closed[0] == 1007


@virtual_time
async def test_a_client_that_says_nothing_is_sent_away() -> None:
    async with line(start_timeout=3.0) as one:
        await asyncio.sleep(2.9)
        assert str(one.session.state) == "connecting"
        await asyncio.sleep(0.2)
        assert one.session.state is VoiceSessionState.ENDED
        assert one.socket.closed == (1008, "nothing was said")


@virtual_time
async def test_a_slow_reader_is_dropped_with_a_reason_and_what_it_missed_is_counted() -> None:
    async with line({"type": "start"}, send_timeout=4.0, max_waiting=50) as one:

        async def stuck(_data: object) -> None:
            await asyncio.sleep(3600)

        one.socket.send_bytes = stuck  # type: ignore[method-assign, assignment]
        await one.backend.send_audio(one.session, chunk(500, 8000).data)
        await asyncio.sleep(3.5)
        assert one.backend.dropped_frames(one.session) > 80
        assert one.gone == []
        await asyncio.sleep(1.0)
        assert one.gone == [VoiceSessionState.ACTIVE]
        assert one.reason == SLOW
        assert one.socket.closed == (1008, SLOW)
        assert one.session.state is VoiceSessionState.ENDED


@virtual_time
async def test_a_client_that_reads_no_control_is_dropped_too() -> None:
    async with line({"type": "start"}, max_waiting=10) as one:
        one.socket.stuck = True
        for number in range(20):
            await one.backend.send_transcription(one.session, str(number))
        await asyncio.sleep(6)
        assert one.reason == SLOW


@virtual_time
async def test_a_socket_that_fails_is_a_client_that_left() -> None:
    async with line({"type": "start"}) as one:

        async def broken(*_args: object) -> Any:
            raise RuntimeError("the connection is closed")

        one.socket.send_bytes = broken  # type: ignore[method-assign, assignment]
        one.socket.close = broken  # type: ignore[method-assign, assignment]
        await one.backend.send_audio(one.session, chunk(500, 100).data)
        await asyncio.sleep(0.2)
        assert one.session.state is VoiceSessionState.ENDED
        assert one.reason == "the client has left"
    async with line() as one:
        one.socket.receive = broken  # type: ignore[method-assign]
        one.socket.say({"type": "start"})
        await asyncio.sleep(0.05)
        assert one.session.state is VoiceSessionState.ENDED


@virtual_time
async def test_a_session_has_one_socket() -> None:
    async with line({"type": "start"}) as one:
        second = PaperSocket()
        serving = asyncio.create_task(one.backend.serve(second, one.session))
        second.say({"type": "start"})
        await asyncio.sleep(0.05)
        await serving
        assert second.closed is not None
    with pytest.raises(LocalProtocolError):
        await one.backend.serve(PaperSocket(), one.session)
    with pytest.raises(LocalProtocolError):
        one.backend.handler(one.session)


@virtual_time
async def test_a_cancelled_route_ends_its_session() -> None:
    one = Line()
    one.session = await one.backend.connect("room", "ann", "voice")
    serving = asyncio.create_task(one.backend.serve(one.socket, one.session))
    one.socket.say({"type": "start"})
    await asyncio.sleep(0.05)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert one.session.state is VoiceSessionState.ENDED
    assert one.socket.closed is not None
    await one.backend.close()


# -- sockets of our own server ---------------------------------------------------------------------


class Served:
    """A session over a `MediaSocket` in memory."""

    def __init__(self) -> None:
        self.backend = WebSocketVoiceBackend(clock=VirtualClock())
        self.got: list[Received] = []
        self.frames: list[AudioFrame] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))

    async def open(self) -> Served:
        self.session = await self.backend.connect("room", "ann", "voice")
        self.handler = self.backend.handler(self.session)
        self.handler.text("{}")  # before it is connected: nothing
        self.handler.binary(b"")
        self.handler.closed(1000, "")
        self.socket = MemorySocket(self.handler, self.got.append)
        self.handler.connected(self.socket)
        return self


@virtual_time
async def test_a_handler_carries_a_session_too() -> None:
    one = await Served().open()
    one.handler.text('{"type": "start"}')
    one.handler.binary(tone(40).tobytes())
    assert len(one.frames) == 2
    await one.backend.send_audio(one.session, chunk(500, 100).data)
    await asyncio.sleep(0.3)
    assert sum(isinstance(item.data, bytes) for item in one.got) >= 5
    one.backend.interrupt(one.session)
    assert one.backend.dropped_frames(one.session) == 0
    one.handler.closed(1001, "")
    await asyncio.sleep(0.05)
    assert one.session.state is VoiceSessionState.ENDED
    assert one.session.metadata["ended_reason"] == "the client has left (1001)"
    await one.backend.close()


@virtual_time
async def test_a_handler_whose_socket_overflows_ends_as_a_slow_reader() -> None:
    one = await Served().open()
    one.handler.text('{"type": "start"}')
    assert one.socket.overflow_notice is not None
    assert SLOW in one.socket.overflow_notice()
    one.handler.closed(1008, "too slow")
    await asyncio.sleep(0.05)
    assert one.session.metadata["ended_reason"] == SLOW
    await one.backend.close()


@virtual_time
async def test_a_sink_gives_sound_up_before_control() -> None:
    socket = PaperSocket()
    sink = QueueSink(socket, max_waiting=2, send_timeout=1.0)
    sink.text('{"type": "a"}')
    sink.sound(b"1")
    sink.sound(b"2")
    assert (sink.dropped, sink.held) == (1, True)
    sink.clear()
    sink.text('{"type": "b"}')
    sink.sound(b"3")
    assert (sink.dropped, sink.held) == (2, False)
    await sink.close(1000, "")  # nobody writes: it gives up
    sink.sound(b"4")
    await sink.close(1000, "")
    assert not await sink.run()
    assert [text["type"] for text in socket.texts] == ["a", "b"]
    assert socket.binary == []


def test_a_format_is_checked() -> None:
    for wrong in (("mp3",), ("pcm_s16le", 4000), ("mulaw", 8000, 16_000)):
        with pytest.raises(ConfigurationError):
            WireFormat(*wrong)
    with pytest.raises(RemoteProtocolError):
        parse("5")
