"""Sound of a session both ways, whatever carries it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.unit.voice.backends.hearing import chunk, frequency, of_frames
from tests.unit.voice.backends.parts import NotedConnection, PaperBackend

from salon.base import LocalProtocolError
from salon.media import AudioChunk, AudioFrame
from salon.testing import tone, virtual_time
from salon.transport.ticker import Ticker
from salon.voice.backends import VoiceSession, VoiceSessionState
from salon.voice.backends.outgoing import OutgoingAudio
from salon.voice.events import Dtmf, Level


async def connected(backend: PaperBackend) -> tuple[VoiceSession, NotedConnection]:
    session = await backend.connect("room", "ann", "voice")
    connection = NotedConnection()
    backend.attach(session, connection)
    connection.ready()
    await asyncio.sleep(0)
    return session, connection


@virtual_time
async def test_sound_leaves_at_20_ms_and_a_short_rest_is_filled_up() -> None:
    backend = PaperBackend()
    session, connection = await connected(backend)
    assert len(connection.leg.sent) == 1  # silence, to begin with
    await backend.send_audio(session, chunk(500, 110).data)
    await asyncio.sleep(0.0501)
    assert len(connection.leg.sent) == 3
    assert backend.is_playing(session)
    await asyncio.sleep(0.2)
    assert len(connection.leg.sent) == 7
    assert {len(frame) for frame in connection.leg.sent} == {320}
    assert not np.any(connection.leg.sent[-1][160:])
    assert not backend.is_playing(session)
    assert connection.leg.idles > 2
    await backend.close()


@virtual_time
async def test_chunks_of_any_rate_and_channels_are_one_sound() -> None:
    backend = PaperBackend()
    session, connection = await connected(backend)

    async def speech() -> AsyncIterator[AudioChunk]:
        yield chunk(500, 333, 24_000)
        yield AudioChunk(b"", 24_000)
        stereo = np.repeat(np.frombuffer(chunk(500, 300, 8_000).data, "<i2"), 2)
        yield AudioChunk(stereo.astype("<i2").tobytes(), 8_000, 2, is_final=True)

    await backend.send_audio(session, speech())
    await asyncio.sleep(1)
    sound = np.concatenate(connection.leg.sent[1:])
    assert len(sound) / 16 == pytest.approx(640, abs=20)
    assert frequency(sound, 16_000) == pytest.approx(500, abs=5)
    await backend.close()


@virtual_time
async def test_an_interruption_fades_drops_the_rest_and_ends_the_sender() -> None:
    backend = PaperBackend(audio_queue_maxsize=10)
    session, connection = await connected(backend)
    asked = 0

    async def endless() -> AsyncIterator[AudioChunk]:
        nonlocal asked
        while True:
            asked += 1
            yield chunk(500, 40)

    sending = asyncio.create_task(backend.send_audio(session, endless()))
    await asyncio.sleep(0.1)
    assert asked < 12  # it waits for room
    before = len(connection.leg.sent)
    assert await backend.cancel_audio(session)
    await asyncio.wait_for(sending, 0.1)
    assert backend.is_playing(session)  # the frame that fades
    await asyncio.sleep(0.2)
    assert len(connection.leg.sent) == before + 1
    last = connection.leg.sent[-1]
    assert np.abs(last[:100]).max() > 5 * np.abs(last[-30:]).max()
    assert not backend.is_playing(session)
    await backend.send_audio(session, chunk(500, 40).data)
    await asyncio.sleep(0.1)
    assert len(connection.leg.sent) == before + 3
    await backend.close()


@virtual_time
async def test_a_slow_source_counts_as_playing_until_interrupted() -> None:
    backend = PaperBackend()
    session, _ = await connected(backend)
    more = asyncio.Event()

    async def slow() -> AsyncIterator[AudioChunk]:
        yield chunk(500, 20)
        await more.wait()
        yield chunk(500, 20)

    sending = asyncio.create_task(backend.send_audio(session, slow()))
    await asyncio.sleep(1)
    assert backend.is_playing(session)
    backend.interrupt(session)
    assert not backend.is_playing(session)
    more.set()
    await sending
    assert not backend.is_playing(session)
    await backend.close()


@pytest.mark.parametrize("how", ["interrupt", "disconnect"])
@virtual_time
async def test_a_sender_whose_source_gives_nothing_more_ends_with_what_it_sends(how: str) -> None:
    backend = PaperBackend()
    session, _ = await connected(backend)
    left: list[str] = []

    async def stuck() -> AsyncIterator[AudioChunk]:
        try:
            yield chunk(500, 100)
            await asyncio.Event().wait()
        finally:
            left.append("stuck")

    sending = asyncio.create_task(backend.send_audio(session, stuck()))
    await asyncio.sleep(0.05)
    if how == "interrupt":
        backend.interrupt(session)
    else:
        await backend.disconnect(session)
    async with asyncio.timeout(5):
        await sending
    assert left == ["stuck"]
    await asyncio.sleep(0.1)  # the frame that fades out
    assert not backend.is_playing(session)
    await backend.close()


@virtual_time
async def test_the_cancellation_and_the_timeout_of_a_source_are_their_own() -> None:
    backend = PaperBackend()
    session, _ = await connected(backend)

    async def late() -> AsyncIterator[AudioChunk]:
        yield chunk(500, 100)
        raise TimeoutError("the source")

    async def stuck() -> AsyncIterator[AudioChunk]:
        yield chunk(500, 100)
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match="the source"):
        await backend.send_audio(session, late())
    sending = asyncio.create_task(backend.send_audio(session, stuck()))
    await asyncio.sleep(0.05)
    sending.cancel()
    backend.interrupt(session)
    with pytest.raises(asyncio.CancelledError):
        await sending
    await backend.close()


@virtual_time
async def test_long_sound_waits_for_room_and_the_end_of_the_session_frees_it() -> None:
    backend = PaperBackend()
    session, connection = await connected(backend)
    sending = asyncio.create_task(backend.send_audio(session, chunk(500, 60_000).data))
    waiting = asyncio.create_task(backend.send_audio(session, once(chunk(500, 60_000))))
    await asyncio.sleep(1)
    assert not sending.done()
    await backend.disconnect(session)
    await asyncio.gather(sending, waiting)
    assert connection.closed
    assert connection.leg.closed
    await backend.close()


async def once(item: AudioChunk) -> AsyncIterator[AudioChunk]:
    yield item


@virtual_time
async def test_a_chunk_from_another_thread_is_queued_and_a_full_queue_loses_its_oldest() -> None:
    backend = PaperBackend(audio_queue_maxsize=5)
    session, connection = await connected(backend)
    thread = threading.Thread(
        target=backend.send_audio_sync, args=(session, chunk(500, 40)), daemon=True
    )
    thread.start()
    thread.join()
    await asyncio.sleep(0.1)
    assert len(connection.leg.sent) == 3
    for _ in range(10):
        backend.send_audio_sync(session, chunk(500, 20))
    await asyncio.sleep(0.2)
    assert len(connection.leg.sent) == 9  # the first one left at once, five fit into the queue
    await backend.disconnect(session)
    backend.send_audio_sync(session, chunk(500, 20))
    await backend.close()


@pytest.mark.parametrize("offset", [None, 0.003, 0.012])
@virtual_time
async def test_V104_what_is_given_tick_by_tick_has_no_hole_after_a_first_frame_that_came_early(
    offset: float | None,
) -> None:
    ticker = Ticker()
    backend = PaperBackend(ticker=ticker)
    session, connection = await connected(backend)
    await asyncio.sleep(0.1)
    given = 0

    def give(_tick: int) -> None:  # as whoever speaks does: after the backend's own turn
        nonlocal given
        if 0 < given < 20:
            backend.send_audio_sync(session, chunk(500, 20))
            given += 1

    if offset is None:
        ticker.add(give)
    else:
        await asyncio.sleep(offset)
        Ticker().add(give)
    await asyncio.sleep(0.005)
    backend.send_audio_sync(session, chunk(500, 20))
    given, idles = 1, connection.leg.idles
    assert len(connection.leg.sent) == 2, "it left at once"
    await asyncio.sleep(0.33)
    assert connection.leg.idles == idles, "no silence among the words"
    assert len(connection.leg.sent) == given + 1
    await asyncio.sleep(0.3)
    assert connection.leg.idles > idles, "then there is silence again"
    await backend.close()


def test_a_queue_says_what_it_lost_and_what_it_cannot_take() -> None:
    queue = OutgoingAudio(2)
    for _ in range(3):
        queue.put(chunk(500, 20))
    assert (queue.dropped, len(queue)) == (1, 2)
    with pytest.raises(ValueError, match="opus"):
        queue.put(AudioChunk(b"", format="opus"))
    with pytest.raises(ValueError, match="holds nothing"):
        OutgoingAudio(0)
    queue.stop()
    queue.clear()
    assert len(queue) == 0


@virtual_time
async def test_what_is_heard_comes_as_20_ms_at_the_rate_asked_for() -> None:
    backend = PaperBackend(input_sample_rate=48_000)
    frames: list[AudioFrame] = []
    session, connection = await connected(backend)
    assert connection.leg.hear is not None
    connection.leg.hear(tone(20))  # nobody listens yet
    before = backend.audio_received_callback
    assert before is None
    backend.on_audio_received(lambda _session, frame: frames.append(frame))
    assert backend.audio_received_callback is not None
    for start in range(0, 16_000, 500):
        connection.leg.hear(tone(1000)[start : start + 500])
    assert {(len(frame.data), frame.sample_rate) for frame in frames} == {(1920, 48_000)}
    assert len(frames) == 50
    assert frequency(*of_frames(frames)) == pytest.approx(440, abs=3)

    backend.set_input_muted(session, True)
    connection.leg.hear(tone(100))
    backend.set_input_muted(session, False)
    backend.set_input_gated(session, True)
    connection.leg.hear(tone(100))
    backend.set_input_gated(session, False)
    assert len(frames) == 50
    connection.leg.hear(tone(20))
    assert len(frames) == 51
    await backend.close()


@virtual_time
async def test_V23_keys_are_told_and_other_events_of_a_leg_are_not() -> None:
    backend = PaperBackend()
    keys: list[str] = []
    backend.on_dtmf_received(lambda _session, event: keys.append(event.digit))
    session, connection = await connected(backend)
    assert connection.leg.post is not None
    connection.leg.post(Level(-20.0))
    connection.leg.post(Dtmf("#"))
    assert keys == ["#"]
    with pytest.raises(NotImplementedError, match="paper"):
        backend.send_dtmf(session, "1")
    await backend.close()


@virtual_time
async def test_V15_ready_is_told_once_and_a_failing_callback_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = PaperBackend()
    told: list[str] = []

    def broken(_session: VoiceSession) -> None:
        raise ZeroDivisionError

    async def later(session: VoiceSession) -> None:
        await asyncio.sleep(0.1)
        told.append(session.state)

    backend.on_session_ready(broken)
    backend.on_session_ready(later)
    backend.on_client_disconnected(later)
    session, connection = await connected(backend)
    connection.ready()
    await asyncio.sleep(1)
    assert told == ["active"]
    assert "ZeroDivisionError" in caplog.text
    connection.lost()
    await asyncio.sleep(1)
    assert told == ["active", "active"]
    assert session.state is VoiceSessionState.ENDED
    assert connection.closed
    connection.lost()
    connection.ready()
    await backend.close()
    await backend.close()


@virtual_time
async def test_a_session_has_one_connection() -> None:
    backend = PaperBackend()
    session, _ = await connected(backend)
    with pytest.raises(LocalProtocolError, match="already"):
        backend.attach(session, NotedConnection())
    await backend.disconnect(session)
    with pytest.raises(LocalProtocolError, match="over"):
        backend.attach(session, NotedConnection())
    backend.interrupt(session)
    backend.set_input_muted(session, True)
    backend.set_input_gated(session, True)
    await backend.close()
