"""The contract of `VoiceBackend`, for every backend that can run where tests run."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import numpy as np
import pytest

from salon.media.frame import AudioChunk, AudioFrame, Samples
from salon.media.resample import resample
from salon.testing.speech import tone
from salon.voice.backends.base import VoiceBackend, VoiceCapability
from salon.voice.backends.errors import VoiceSessionEndedError
from salon.voice.backends.session import VoiceSession, VoiceSessionState

_LOUD: Final = 500
ROOM: Final = "room"
CHANNEL: Final = "voice"


class VoiceBackendBench(ABC):
    """A backend with far ends that a test can play."""

    backend: VoiceBackend
    plays = True
    """What is sent takes its time and can be interrupted; a mock only notes it."""
    takes_keys = True
    """The far end agreed to keys, if the backend can send any."""
    told_ready: list[str]
    """Ids of sessions, as `on_session_ready` told them."""

    def __init__(self, backend: VoiceBackend) -> None:
        self.backend = backend
        self.told_ready = []
        backend.on_session_ready(lambda session: self.told_ready.append(session.id))

    @abstractmethod
    async def dial(self, participant: str) -> VoiceSession:
        """A session whose far end is there, or on its way."""

    @abstractmethod
    async def say(self, session: VoiceSession, samples: Samples) -> None:
        """The far end speaks ``int16[n]``, 16 kHz; may take as long, or not."""

    @abstractmethod
    def heard(self, session: VoiceSession) -> Samples:
        """All that the far end has heard, at 16 kHz; nothing lost but silence."""

    @abstractmethod
    async def hang_up(self, session: VoiceSession) -> None:
        """The far end leaves."""

    async def close(self) -> None:
        """The test is over."""
        await self.backend.close()

    # -- what tests use ---------------------------------------------------------------------------

    async def connected(self, participant: str = "ann") -> VoiceSession:
        """A session that is ready."""
        session = await self.dial(participant)
        await until(lambda: session.id in self.told_ready)
        return session

    def heard_ms(self, session: VoiceSession) -> float:
        """How long the far end has heard something loud."""
        frames = self.heard(session)
        whole = len(frames) // 160 * 160
        levels = np.abs(frames[:whole].astype(np.int32)).reshape(-1, 160).max(axis=1, initial=0)
        return float((levels > _LOUD).sum()) * 10


async def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait for it; `TimeoutError` if it never comes."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - whatever it is, nobody tells of it
            await asyncio.sleep(0.01)


def _bytes(milliseconds: int) -> bytes:
    return bytes(tone(milliseconds).astype("<i2").tobytes())


class VoiceBackendContract:
    """Give it a `bench` fixture: a new bench per test, closed by the fixture."""

    # -- sessions ---------------------------------------------------------------------------------

    async def test_a_session_says_who_is_where(self, bench: VoiceBackendBench) -> None:
        session = await bench.connected("ann")
        assert (session.room_id, session.participant_id) == (ROOM, "ann")
        assert session.channel_id == CHANNEL
        assert bench.backend.get_session(session.id) is session
        assert session in bench.backend.list_sessions(ROOM)
        assert bench.backend.list_sessions("elsewhere") == []
        assert bench.backend.name

    async def test_v15_ready_is_told_once_and_the_session_is_active(
        self, bench: VoiceBackendBench
    ) -> None:
        session = await bench.connected()
        await asyncio.sleep(0.1)
        assert bench.told_ready == [session.id]
        assert session.state is VoiceSessionState.ACTIVE

    async def test_v13_a_disconnected_session_has_ended_for_good(
        self, bench: VoiceBackendBench
    ) -> None:
        gone: list[VoiceSession] = []
        bench.backend.on_client_disconnected(gone.append)
        session = await bench.connected()
        await bench.backend.disconnect(session)
        await bench.backend.disconnect(session)
        assert session.state is VoiceSessionState.ENDED
        with pytest.raises(VoiceSessionEndedError):
            session.state = VoiceSessionState.ACTIVE
        assert session not in bench.backend.list_sessions(ROOM)
        known = bench.backend.get_session(session.id)
        assert known is None or known.state is VoiceSessionState.ENDED
        await asyncio.sleep(0.05)
        assert gone == []  # nobody left: we hung up

    async def test_v13_nothing_done_to_an_ended_session_has_an_effect(
        self, bench: VoiceBackendBench
    ) -> None:
        session = await bench.connected()
        await bench.backend.disconnect(session)
        async with asyncio.timeout(2):
            if bench.plays:
                await bench.backend.send_audio(session, _bytes(100))
                bench.backend.send_audio_sync(session, AudioChunk(_bytes(20)))
            bench.backend.interrupt(session)
            bench.backend.set_input_muted(session, True)
            bench.backend.set_input_gated(session, True)
            bench.backend.end_of_response(session)
            assert not await bench.backend.cancel_audio(session)
        assert not bench.backend.is_playing(session)
        assert session.state is VoiceSessionState.ENDED

    async def test_who_comes_back_gets_another_session(self, bench: VoiceBackendBench) -> None:
        first = await bench.connected()
        await bench.backend.disconnect(first)
        second = await bench.connected()
        assert second.id != first.id
        assert second.state is VoiceSessionState.ACTIVE

    async def test_the_far_end_leaves(self, bench: VoiceBackendBench) -> None:
        gone: list[tuple[str, VoiceSessionState]] = []
        bench.backend.on_client_disconnected(lambda one: gone.append((one.id, one.state)))
        session = await bench.connected()
        await bench.hang_up(session)
        await until(lambda: bool(gone))
        assert [item[0] for item in gone] == [session.id]
        if bench.plays:
            assert gone[0][1] is not VoiceSessionState.ENDED  # told before it ends
            await until(lambda: session.state is VoiceSessionState.ENDED)
        await bench.backend.disconnect(session)
        assert len(gone) == 1

    async def test_close_ends_every_session_and_may_be_repeated(
        self, bench: VoiceBackendBench
    ) -> None:
        sessions = [await bench.connected(name) for name in ("ann", "bob")]
        await bench.backend.close()
        await bench.backend.close()
        assert {session.state for session in sessions} == {VoiceSessionState.ENDED}
        assert bench.backend.list_sessions(ROOM) == []

    # -- sound ------------------------------------------------------------------------------------

    async def test_what_the_far_end_says_is_heard(self, bench: VoiceBackendBench) -> None:
        frames: list[AudioFrame] = []
        sessions: set[str] = set()

        def hear(one: VoiceSession, frame: AudioFrame) -> None:
            sessions.add(one.id)
            frames.append(frame)

        bench.backend.on_audio_received(hear)
        session = await bench.connected()
        await bench.say(session, tone(400))
        await until(lambda: _loud_ms(frames) >= 300)
        assert sessions == {session.id}
        assert {(frame.channels, frame.sample_width) for frame in frames} == {(1, 2)}
        stamps = [frame.timestamp_ms for frame in frames if frame.timestamp_ms is not None]
        assert stamps == sorted(stamps)

    async def test_what_is_sent_is_heard_at_the_far_end(self, bench: VoiceBackendBench) -> None:
        async def chunks() -> AsyncIterator[AudioChunk]:
            for _ in range(5):
                yield AudioChunk(_bytes(40))

        session = await bench.connected()
        rate = session.metadata.get("output_sample_rate", 16_000)
        await bench.backend.send_audio(session, chunks())
        samples = resample(tone(200), 16_000, rate)
        await bench.backend.send_audio(session, samples.astype("<i2").tobytes())
        bench.backend.send_audio_sync(session, AudioChunk(_bytes(200), is_final=True))
        await until(lambda: bench.heard_ms(session) >= 500)
        async with asyncio.timeout(5):
            assert await bench.backend.wait_playback(session)

    async def test_send_audio_returns_when_it_is_queued(self, bench: VoiceBackendBench) -> None:
        session = await bench.connected()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await bench.backend.send_audio(session, _bytes(2000))
        assert loop.time() - began < 1.0
        if bench.plays:
            assert bench.backend.is_playing(session)

    async def test_an_interruption_drops_what_is_queued(self, bench: VoiceBackendBench) -> None:
        if not bench.plays:
            pytest.skip("it does not play")
        session = await bench.connected()
        await bench.backend.send_audio(session, _bytes(5000))
        await until(lambda: bench.heard_ms(session) >= 60)
        assert await bench.backend.cancel_audio(session)
        before = bench.heard_ms(session)
        await until(lambda: not bench.backend.is_playing(session))
        await asyncio.sleep(0.5)
        assert bench.heard_ms(session) - before < 400  # what was on its way already
        await bench.backend.send_audio(session, _bytes(200))  # the next answer is played
        await until(lambda: bench.heard_ms(session) - before >= 100)

    async def test_an_interruption_ends_the_sending_that_fills_the_queue(
        self, bench: VoiceBackendBench
    ) -> None:
        if not bench.plays:
            pytest.skip("it does not play")
        ended: list[bool] = []

        async def endless() -> AsyncIterator[AudioChunk]:
            try:
                while True:
                    yield AudioChunk(_bytes(100))
                    await asyncio.sleep(0.01)
            finally:
                ended.append(True)

        session = await bench.connected()
        stream = endless()
        sending = asyncio.create_task(bench.backend.send_audio(session, stream))
        await until(lambda: bench.heard_ms(session) >= 40)
        bench.backend.interrupt(session)
        async with asyncio.timeout(2):
            await sending
        await stream.aclose()  # type: ignore[attr-defined]
        assert ended

    async def test_a_queue_without_a_listener_in_time_is_bounded_and_counted(
        self, bench: VoiceBackendBench
    ) -> None:
        dropped = getattr(bench.backend, "dropped_frames", None)
        if dropped is None:
            pytest.skip("it queues nothing")
        session = await bench.connected()
        piece = AudioChunk(_bytes(500))
        for _ in range(100):
            bench.backend.send_audio_sync(session, piece)
        assert dropped(session) > 1000  # of 2500 frames

    async def test_a_muted_microphone_is_not_heard(self, bench: VoiceBackendBench) -> None:
        if not bench.plays:
            pytest.skip("the mock hands on whatever is simulated")
        frames: list[AudioFrame] = []
        bench.backend.on_audio_received(lambda _session, frame: frames.append(frame))
        session = await bench.connected()
        bench.backend.set_input_muted(session, True)
        await bench.say(session, tone(200))
        await asyncio.sleep(0.5)
        assert frames == []
        bench.backend.set_input_muted(session, False)
        await bench.say(session, tone(400))
        await until(lambda: _loud_ms(frames) >= 200)

    # -- other people's code ----------------------------------------------------------------------

    async def test_v204_callbacks_that_raise_stop_nothing(self, bench: VoiceBackendBench) -> None:
        def bad(*_args: object) -> None:
            raise RuntimeError("a callback that is wrong")

        frames = 0
        told: list[str] = []

        def hear(_session: VoiceSession, _frame: AudioFrame) -> None:
            nonlocal frames
            frames += 1
            raise RuntimeError("another one")

        backend = bench.backend
        backend.on_session_ready(bad)
        backend.on_session_ready(lambda _one: told.append("ready"))
        backend.on_client_disconnected(bad)
        backend.on_client_disconnected(lambda _one: told.append("gone"))
        backend.on_audio_received(hear)
        backend.set_trace_emitter(bad)
        session = await bench.connected()
        await bench.say(session, tone(200))
        await until(lambda: frames >= 3)
        await backend.send_audio(session, _bytes(100))
        await until(lambda: bench.heard_ms(session) >= 60)
        await bench.hang_up(session)
        await until(lambda: "gone" in told)
        assert told == ["ready", "gone"]

    async def test_callbacks_may_be_coroutine_functions(self, bench: VoiceBackendBench) -> None:
        told: list[str] = []

        async def ready(session: VoiceSession) -> None:
            await asyncio.sleep(0)
            told.append(session.id)

        bench.backend.on_session_ready(ready)
        session = await bench.connected()
        await until(lambda: told == [session.id])

    # -- several ----------------------------------------------------------------------------------

    async def test_two_sessions_know_nothing_of_each_other(self, bench: VoiceBackendBench) -> None:
        heard: dict[str, list[AudioFrame]] = {}
        bench.backend.on_audio_received(
            lambda session, frame: heard.setdefault(session.id, []).append(frame)
        )
        ann, bob = await bench.connected("ann"), await bench.connected("bob")
        await bench.backend.send_audio(ann, _bytes(200))
        await bench.say(bob, tone(200))
        await until(lambda: bench.heard_ms(ann) >= 100 and _loud_ms(heard.get(bob.id, [])) >= 100)
        assert bench.heard_ms(bob) == 0
        assert _loud_ms(heard.get(ann.id, [])) == 0
        await bench.backend.disconnect(ann)
        assert bob.state is VoiceSessionState.ACTIVE
        await bench.backend.send_audio(bob, _bytes(200))
        await until(lambda: bench.heard_ms(bob) >= 100)

    # -- keys -------------------------------------------------------------------------------------

    async def test_v24_keys_are_sent_or_refused(self, bench: VoiceBackendBench) -> None:
        session = await bench.connected()
        able = VoiceCapability.DTMF_SIGNALING in bench.backend.capabilities
        if not (able and bench.takes_keys):
            with pytest.raises(NotImplementedError):
                bench.backend.send_dtmf(session, "5")
            return
        bench.backend.send_dtmf(session, "5", 80)
        if bench.plays:
            with pytest.raises(ValueError, match="x"):
                bench.backend.send_dtmf(session, "x")

    async def test_v23_keys_of_the_far_end_are_told_once(self, bench: VoiceBackendBench) -> None:
        press: Any = getattr(bench, "press", None)
        if press is None:
            pytest.skip("its far end presses no keys")
        told: list[tuple[str, str]] = []
        bench.backend.on_dtmf_received(  # type: ignore[attr-defined]
            lambda session, event: told.append((session.id, event.digit))
        )
        session = await bench.connected()
        await press(session, "7")
        await until(lambda: bool(told))
        await asyncio.sleep(0.2)
        assert told == [(session.id, "7")]

    # -- traces -----------------------------------------------------------------------------------

    async def test_v212_whoever_listens_is_told_of_the_protocol(
        self, bench: VoiceBackendBench
    ) -> None:
        traces: list[Any] = []
        bench.backend.set_trace_emitter(traces.append)
        session = await bench.connected()
        await bench.backend.disconnect(session)
        mine = [trace for trace in traces if trace.session_id == session.id]
        assert all(
            (trace.protocol, trace.channel_id, trace.room_id) == (bench.backend.name, CHANNEL, ROOM)
            for trace in mine
        )
        if bench.plays:
            assert {trace.direction for trace in mine} == {"inbound", "outbound"}
        before = len(traces)
        bench.backend.set_trace_emitter(None)
        await bench.backend.disconnect(await bench.connected())
        assert len(traces) == before


def _loud_ms(frames: list[AudioFrame]) -> float:
    return sum(
        frame.duration_ms
        for frame in frames
        if len(frame.samples) and int(np.abs(frame.samples.astype(np.int32)).max()) > _LOUD
    )
