"""How lines and channels end, and how a line that was unbound begins again (V13, V19, V20)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.voice.stage import ROOM, QuietBackend, ScriptSTT, Stage, stage

from salon.models import HookTrigger
from salon.testing import virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.pipeline.recorder.base import RecordingConfig, RecordingHandle, RecordingResult
from salon.voice.pipeline.recorder.mock import MockAudioRecorder
from salon.voice.tts.mock import MockTTSProvider

T = HookTrigger
ACTIVE = VoiceSessionState.ACTIVE
ANSWER = "There are many things to tell about this town and its people."


async def never() -> None:
    await asyncio.Event().wait()


class StuckBackend(QuietBackend):
    """Neither ends a session nor itself."""

    def __init__(self, work: Any = never) -> None:
        super().__init__()
        self.work = work

    async def disconnect(self, session: VoiceSession) -> None:
        await self.work()

    async def close(self) -> None:
        await self.work()


class StuckSTT(ScriptSTT):
    async def close(self) -> None:
        await never()


class ClosingTTS(MockTTSProvider):
    closed = False

    async def close(self) -> None:
        self.closed = True


# -- what hangs -----------------------------------------------------------------------------------


@virtual_time
async def test_a_backend_that_does_not_end_a_session_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = StuckBackend()
    async with stage(backend=backend) as room:
        before = asyncio.get_running_loop().time()
        await room.kit.leave(room.session)
        took = asyncio.get_running_loop().time() - before
        assert 4.9 <= took <= 5.5
        assert room.session.state is VoiceSessionState.ENDED
        assert "did not close within 5 s" in caplog.text


@virtual_time
async def test_what_hangs_in_closing_keeps_nothing_else_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tts = ClosingTTS()
    other = MockVoiceBackend()
    async with stage(backend=StuckBackend(), stt=StuckSTT(), tts=tts) as room:
        room.channel.add_backend(other)
        await room.channel._delivery.say(room.channel._caller(room.session), "hi", None)
        before = asyncio.get_running_loop().time()
        await room.kit.close()
        assert asyncio.get_running_loop().time() - before <= 12
    assert tts.closed
    assert other.calls[-1].method == "close"
    assert caplog.text.count("did not close within 5 s") == 2


@virtual_time
async def test_what_fails_in_closing_keeps_nothing_else_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def cancels() -> None:
        raise asyncio.CancelledError

    async def fails() -> None:
        raise RuntimeError("broken")

    other = MockVoiceBackend()
    async with stage(backend=StuckBackend(fails)) as room:
        room.channel.add_backend(StuckBackend(cancels))
        room.channel.add_backend(other)
    assert other.calls[-1].method == "close"
    assert caplog.text.count("did not close") == 2


# -- what is unbound ------------------------------------------------------------------------------


async def hears_an_answer(room: Stage) -> None:
    before = room.played_ms()
    await room.ask()
    await asyncio.sleep(4)
    assert room.played_ms() > before


@virtual_time
async def test_V20_an_unbound_session_stays_active_and_hears_nothing_more() -> None:
    async with stage(transcripts=["tell me"], answers=[ANSWER]) as room:
        await room.ask()
        await room.quiet(300)
        room.channel.unbind_session(room.session)
        before = room.played_ms()
        await room.quiet(1000)
        assert room.session.state is ACTIVE
        assert room.played_ms() <= before + 20


@virtual_time
async def test_V19_an_unbound_session_is_bound_again_as_if_it_were_new() -> None:
    async with stage(transcripts=["one", "two"], answers=["Yes.", "No."]) as room:
        room.watch(T.ON_SESSION_STARTED)
        await room.backend.simulate_session_ready(room.session)
        await room.ask()
        await asyncio.sleep(3)
        resets = len(room.vad.resets)
        room.channel.unbind_session(room.session)
        room.channel.bind_session(room.session, ROOM)
        assert room.vad.resets[resets:] != []
        await hears_an_answer(room)
        assert (await room.said()) == ["one", "Yes.", "two", "No."]
        assert room.session.state is ACTIVE
        assert len(room.given(T.ON_SESSION_STARTED)) == 2


@virtual_time
async def test_an_unbound_session_may_enter_another_room() -> None:
    async with stage(transcripts=["one", "two"]) as room:
        await room.kit.create_room("other")
        await room.kit.attach_channel("other", "voice")
        await room.speak()
        await asyncio.sleep(1)
        room.channel.unbind_session(room.session)
        room.channel.bind_session(room.session, "other")
        await room.speak()
        await asyncio.sleep(1)
        assert (await room.said()) == ["one"]
        events = await room.kit.store.list_events("other", limit=100)
        assert [event.text for event in events if event.text] == ["two"]
        assert room.session.room_id == "other"
        await room.kit.leave(room.session)
        assert room.session.state is VoiceSessionState.ENDED


@virtual_time
async def test_V13_the_id_of_a_session_that_has_ended_may_be_used_again() -> None:
    async with stage(transcripts=["one", "two"]) as room:
        await room.speak()
        await asyncio.sleep(1)
        old = room.session
        leaving = asyncio.create_task(room.kit.leave(old))
        await asyncio.sleep(0)
        new = VoiceSession(old.id, ROOM, "ann", "voice", ACTIVE)
        room.channel.bind_session(new, ROOM)
        await leaving
        await room.speak(session=new)
        await asyncio.sleep(1)
        assert (await room.said()) == ["one", "two"]
        assert (old.state, new.state) == (VoiceSessionState.ENDED, ACTIVE)


class SlowRecorder(MockAudioRecorder):
    """Completes a recording in two seconds."""

    async def finish(self, handle: RecordingHandle) -> RecordingResult:
        await asyncio.sleep(2)
        return self.stop(handle)


@virtual_time
async def test_V19_the_recording_of_a_room_is_told_there_whatever_was_bound_since() -> None:
    pipeline = {"recorder": SlowRecorder(), "recording_config": RecordingConfig()}
    async with stage(transcripts=["one"], pipeline=pipeline) as room:
        room.watch(T.ON_RECORDING_STARTED, T.ON_RECORDING_STOPPED)
        await room.kit.create_room("other")
        await room.kit.attach_channel("other", "voice")
        await room.backend.simulate_session_ready(room.session)
        await room.quiet(200)
        room.channel.unbind_session(room.session)
        room.channel.bind_session(room.session, "other")
        await room.quiet(3000)
        await room.speak()
        await asyncio.sleep(1)
        events = await room.kit.store.list_events("other", limit=100)
        assert [event.text for event in events if event.text] == ["one"]
        assert [
            (trigger.value, event.room_id) for trigger, event in room.fired
        ] == [
            ("on_recording_started", ROOM),
            ("on_recording_started", "other"),
            ("on_recording_stopped", ROOM),
        ]  # fmt: skip
        room.channel.unbind_session(room.session)
        await asyncio.sleep(3)
        assert room.fired[-1][1].room_id == "other"
