"""A session in memory with somebody who talks and listens, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from salon.base import LocalProtocolError
from salon.media import AudioChunk, AudioFrame
from salon.media.frame import FRAME_SAMPLES
from salon.testing import VirtualClock, tone, virtual_time
from salon.voice.backends import VoiceCapability, VoiceSession, VoiceSessionState
from salon.voice.backends.pair import MemoryCaller, MemoryPath, MemoryVoiceBackend


class Table:
    """A backend, a session, a caller and what was heard of it."""

    def __init__(self, **settings: Any) -> None:
        self.backend = MemoryVoiceBackend(clock=VirtualClock(), **settings)
        self.frames: list[AudioFrame] = []
        self.backend.on_audio_received(lambda _session, frame: self.frames.append(frame))
        self.session: VoiceSession
        self.caller: MemoryCaller

    async def sit(self) -> Table:
        self.session = await self.backend.connect("room", "ann", "voice")
        self.caller = self.backend.caller(self.session)
        await asyncio.sleep(0)
        return self


@virtual_time
async def test_what_is_said_arrives_sample_for_sample_each_tick_a_frame() -> None:
    table = await Table().sit()
    table.caller.open_microphone = False
    said = tone(110)
    table.caller.say(said)
    speaking = table.caller.speaking
    assert speaking
    await asyncio.sleep(0.5)
    assert not table.caller.speaking
    heard = np.concatenate([frame.samples for frame in table.frames])
    assert len(table.frames) == 6  # the last one filled up
    assert np.array_equal(heard[: len(said)], said)
    assert not heard[len(said) :].any()
    stamps = [frame.timestamp_ms or 0.0 for frame in table.frames]
    assert np.diff(stamps) == pytest.approx(20.0)
    await table.backend.close()


@virtual_time
async def test_an_open_microphone_sends_silence_and_a_pause_may_be_asked_for() -> None:
    table = await Table().sit()
    await asyncio.sleep(0.205)
    assert len(table.frames) == 10
    table.frames.clear()
    table.caller.open_microphone = False
    table.caller.say_nothing(50)
    table.caller.say(tone(20))
    await asyncio.sleep(0.5)
    assert [bool(frame.samples.any()) for frame in table.frames] == [False, False, False, True]
    table.caller.say(tone(1000))
    await asyncio.sleep(0.105)
    table.caller.stop()
    await asyncio.sleep(0.2)
    assert len(table.frames) == 9
    with pytest.raises(ValueError, match="wait to be said"):
        table.caller.say_nothing(20 * 180_001)
    await table.backend.close()


@virtual_time
async def test_what_is_heard_says_at_which_tick() -> None:
    table = await Table().sit()
    assert len(table.caller.heard) == 1  # the silence that opens the session
    await asyncio.sleep(0.2)
    before = table.backend.ticker.tick
    sound = tone(100)
    await table.backend.send_audio(table.session, sound.astype("<i2").tobytes())
    await asyncio.sleep(0.3)
    heard = [item for item in table.caller.heard if item.samples.any()]
    assert [item.tick for item in heard] == list(range(before + 1, before + 6))
    assert np.array_equal(table.caller.sound(before + 1, before + 5), sound)
    whole = table.caller.sound()
    assert len(whole) == (heard[-1].tick - table.caller.heard[0].tick + 1) * FRAME_SAMPLES
    assert len(table.caller.sound(before - 1, before + 9)) == 11 * FRAME_SAMPLES
    assert len(MemoryCaller(table.backend.ticker).sound()) == 0
    await table.backend.close()


@virtual_time
async def test_V29_V32_V33_lost_frames_are_silence_marked_and_counted() -> None:
    table = await Table(
        to_backend=MemoryPath(latency_ms=45, jitter_ms=30, loss=0.2),
        from_backend=MemoryPath(loss=0.5),
        seed=3,
    ).sit()
    table.caller.say(tone(4000))
    await table.backend.send_audio(table.session, tone(2000).astype("<i2").tobytes())
    await asyncio.sleep(5)
    marked = [frame for frame in table.frames if frame.metadata.get("concealed")]
    lost = table.backend.packets_lost(table.session)
    assert len(marked) == lost == table.backend.concealed_frames(table.session)
    assert 20 <= lost <= 90
    assert all(not frame.samples.any() for frame in marked)
    assert 30 <= table.caller.lost_frames <= 70
    first = next(frame for frame in table.frames if frame.samples.any())
    assert 60 <= (first.timestamp_ms or 0) <= 140
    await table.backend.close()


@virtual_time
async def test_keys_and_texts_pass() -> None:
    table = await Table().sit()
    keys: list[str] = []
    table.backend.on_dtmf_received(lambda _session, event: keys.append(event.digit))
    table.caller.press("7")
    with pytest.raises(ValueError, match="x"):
        table.caller.press("x")
    table.backend.send_dtmf(table.session, "#", 100)
    await table.backend.send_transcription(table.session, "hello", "assistant")
    assert keys == ["7"]
    assert table.caller.keys == [("#", 100)]
    assert table.caller.texts == [("assistant", "hello")]
    await table.backend.disconnect(table.session)
    await table.backend.send_transcription(table.session, "late")
    with pytest.raises(LocalProtocolError):
        table.backend.caller(table.session)
    await table.backend.close()


@virtual_time
async def test_a_caller_may_come_later_and_to_one_session_only() -> None:
    backend = MemoryVoiceBackend(auto_answer=False, clock=VirtualClock())
    session = await backend.connect("room", "ann", "voice")
    assert str(session.state) == "connecting"
    with pytest.raises(LocalProtocolError):
        backend.caller(session)
    caller = backend.new_caller()
    caller.press("1")  # to nobody
    await backend.accept(session, caller)
    assert session.state is VoiceSessionState.ACTIVE
    other = await backend.connect("room", "bob", "voice")
    with pytest.raises(LocalProtocolError):
        await backend.accept(other, caller)
    await backend.close()


@virtual_time
async def test_frames_and_events_may_be_simulated() -> None:
    table = Table(capabilities=VoiceCapability.BARGE_IN)
    await table.sit()
    assert table.backend.capabilities is VoiceCapability.BARGE_IN
    told: list[str] = []
    table.backend.on_barge_in(lambda _session: told.append("barge"))
    table.backend.on_client_disconnected(lambda _session: told.append("gone"))
    odd = AudioFrame(bytes(12), 48_000, 2)
    table.frames.clear()
    await table.backend.simulate_audio_received(table.session, odd)
    assert odd in table.frames
    await table.backend.simulate_barge_in(table.session)
    await table.backend.simulate_client_disconnected(table.session)
    assert told == ["barge", "gone"]
    assert table.session.state is VoiceSessionState.ENDED
    assert not await table.backend.wait_playback(table.session)
    await table.backend.close()


@virtual_time
async def test_wait_playback_says_whether_all_was_played() -> None:
    table = await Table().sit()
    table.backend.send_audio_sync(table.session, AudioChunk(tone(200).astype("<i2").tobytes()))
    assert await table.backend.wait_playback(table.session)
    await table.backend.send_audio(table.session, tone(2000).astype("<i2").tobytes())
    waiting = asyncio.create_task(table.backend.wait_playback(table.session))
    await asyncio.sleep(0.1)
    table.backend.interrupt(table.session)
    assert not await waiting
    await table.backend.close()


@pytest.mark.parametrize("wrong", [{"latency_ms": -1}, {"jitter_ms": -1}, {"loss": 1.5}])
def test_a_path_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="path"):
        MemoryPath(**wrong)


@virtual_time
async def test_a_minute_of_conversation_takes_moments_and_stays_bounded() -> None:
    table = await Table().sit()
    table.backend.on_audio_received(lambda _session, _frame: None)
    table.caller.heard = type(table.caller.heard)(maxlen=100)
    await table.backend.send_audio(table.session, tone(5000).astype("<i2").tobytes())
    await asyncio.sleep(60)
    assert len(table.caller.heard) == 100
    assert table.caller.forgotten == 150
    await table.backend.close()
