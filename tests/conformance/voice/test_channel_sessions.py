"""Sessions of a voice channel: how they begin and end, whose they are, what they may (parts 3, 4,
15 and 19)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from tests.conformance.voice.stage import FRAME, ROOM, Stage, ToldVAD, stage

from salon.base import ConfigurationError, LocalProtocolError
from salon.media.frame import AudioFrame
from salon.models import (
    Access,
    EventStatus,
    HookResult,
    HookTrigger,
    InboundMessage,
    SystemContent,
)
from salon.testing import virtual_time
from salon.voice.backends.base import VoiceCapability
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.pipeline.denoiser.mock import MockDenoiserProvider
from salon.voice.pipeline.dtmf.base import DTMFEvent, DTMFRedaction
from salon.voice.pipeline.dtmf.mock import MockDTMFDetector
from salon.voice.pipeline.recorder.base import RecordingConfig
from salon.voice.pipeline.recorder.mock import MockAudioRecorder
from salon.voice.pipeline.vad.base import VADEvent

T = HookTrigger
ENDED = VoiceSessionState.ENDED
LONG = "This is a sentence that goes on for quite a while, and then some more."


def message(room: Stage, session: VoiceSession | None = None) -> InboundMessage:
    """What brings a session into the room."""
    return InboundMessage(
        channel_id="voice",
        sender_id="ann",
        content=SystemContent(body="", code="session_started", data={"caller": "+15550100"}),
        session=session or room.session,
    )


# -- the session ----------------------------------------------------------------------------------


@virtual_time
async def test_V13_a_session_that_has_left_is_ended_for_good() -> None:
    async with stage() as room:
        assert room.session.state is VoiceSessionState.ACTIVE
        room.channel.unbind_session(room.session)
        await room.channel.disconnect_session(room.session, ROOM)
        assert room.session.state is ENDED
        with pytest.raises(Exception, match="ended"):
            room.session.state = VoiceSessionState.ACTIVE


@virtual_time
async def test_V13_an_ended_session_is_not_bound_again() -> None:
    async with stage(transcripts=["hello"]) as room:
        await room.channel.disconnect_session(room.session, ROOM)
        with pytest.raises((ConfigurationError, LocalProtocolError)):
            room.channel.bind_session(room.session, ROOM)


@virtual_time
async def test_V13_whoever_comes_back_gets_a_new_session() -> None:
    async with stage(transcripts=["hello"]) as room:
        await room.channel.disconnect_session(room.session, ROOM)
        again = await room.join("ann")
        assert again.id != room.session.id
        await room.speak(400, again)
        await asyncio.sleep(0.2)
        assert await room.said() == ["hello"]


@virtual_time
async def test_V14_framework_events_of_a_session() -> None:
    async with stage(bound=False) as room:
        room.watch_framework("voice_session_started", "voice_session_ready", "voice_session_ended")
        room.channel.bind_session(room.session, ROOM)
        await asyncio.sleep(0.1)
        assert [name for name, _ in room.framework] == ["voice_session_started"]
        await room.backend.simulate_session_ready(room.session)
        await asyncio.sleep(1.9)
        await room.channel.disconnect_session(room.session, ROOM)
        await asyncio.sleep(0.1)
        assert [name for name, _ in room.framework] == [
            "voice_session_started",
            "voice_session_ready",
            "voice_session_ended",
        ]
        for _, data in room.framework:
            assert data["session_id"] == room.session.id
            assert data["room_id"] == ROOM
        assert room.framework[2][1]["duration_ms"] == 2000


@virtual_time
async def test_V14_a_far_end_that_is_gone_ends_the_session() -> None:
    async with stage() as room:
        room.watch_framework("voice_session_ended")
        await room.backend.simulate_client_disconnected(room.session)
        await room.backend.simulate_client_disconnected(room.session)
        await asyncio.sleep(0.1)
        assert [name for name, _ in room.framework] == ["voice_session_ended"]
        assert room.session.state is ENDED


@virtual_time
async def test_V15_one_session_each() -> None:
    async with stage() as room:
        room.watch(T.ON_SESSION_STARTED)
        bob = await room.join("bob")
        await room.backend.simulate_session_ready(bob)
        await asyncio.sleep(0.1)
        (started,) = room.given(T.ON_SESSION_STARTED)
        assert started.session is bob
        assert (started.room_id, started.participant_id) == (ROOM, "bob")
        await room.backend.simulate_session_ready(room.session)
        await asyncio.sleep(0.1)
        assert len(room.fired) == 2


@virtual_time
async def test_V15_a_session_that_left_before_the_sound_came_does_not_start() -> None:
    async with stage() as room:
        room.watch(T.ON_SESSION_STARTED)
        room.channel.unbind_session(room.session)
        await room.backend.simulate_session_ready(room.session)
        await asyncio.sleep(0.1)
        assert not room.fired


@virtual_time
async def test_V16_a_message_connects_its_session_once_it_is_stored() -> None:
    async with stage(transcripts=["hello"], bound=False) as room:
        result = await room.kit.process_inbound(message(room), room_id=ROOM)
        assert not result.blocked
        await room.speak()
        await asyncio.sleep(0.2)
        assert await room.said() == ["hello"]


@virtual_time
async def test_V16_a_blocked_message_never_connects_its_session() -> None:
    async with stage(transcripts=["hello"], bound=False) as room:

        @room.kit.hook(T.BEFORE_BROADCAST)
        async def refuse(_event: Any, _context: Any) -> HookResult:
            return HookResult.block("not today")

        room.watch(T.ON_SESSION_STARTED, T.ON_SPEECH_START)
        await room.backend.simulate_session_ready(room.session)
        result = await room.kit.process_inbound(message(room), room_id=ROOM)
        assert result.blocked
        await room.speak()
        await asyncio.sleep(0.2)
        assert not room.fired
        assert not room.stt.heard
        assert await room.said() == []


@virtual_time
async def test_V17_a_session_becomes_a_message() -> None:
    async with stage(bound=False) as room:
        from salon.voice import parse_voice_session  # type: ignore[attr-defined]

        room.session.metadata["caller"] = "+15550100"
        made = parse_voice_session(room.session, "voice", metadata={"a": 1})
        assert made.channel_id == "voice"
        assert made.sender_id == "ann"
        assert made.content.code == "session_started"
        assert made.content.data["caller"] == "+15550100"
        assert made.session is room.session
        assert made.metadata == {"caller": "+15550100", "a": 1}


@virtual_time
async def test_V18_what_a_channel_makes_names_its_backend() -> None:
    async with stage(transcripts=["hello"], bound=False) as room:
        await room.kit.process_inbound(message(room), room_id=ROOM)
        await room.speak()
        await asyncio.sleep(0.2)
        mine = [event for event in await room.events() if event.source.channel_id == "voice"]
        spoken = [event for event in mine if event.source.participant_id is not None]
        assert len(spoken) == 2
        assert {event.source.provider for event in spoken} == {"MockVoiceBackend"}


def recording() -> tuple[MockAudioRecorder, dict[str, Any]]:
    recorder = MockAudioRecorder()
    config = RecordingConfig(storage_encrypted_at_rest=True)
    return recorder, {"recorder": recorder, "recording_config": config}


@virtual_time
async def test_V19_V85_what_happens_in_which_order_at_the_start() -> None:
    recorder, parts = recording()
    async with stage(pipeline=parts, bound=False) as room:
        seen: list[str] = []
        reset = room.vad.reset

        def noted(stream: str) -> None:
            seen.append(f"reset {room.session.state}")
            reset(stream)

        room.vad.reset = noted
        room.watch(T.ON_SESSION_STARTED, T.ON_RECORDING_STARTED)
        room.channel.bind_session(room.session, ROOM)
        assert seen[:1] == ["reset active"]
        await room.backend.simulate_session_ready(room.session)
        await asyncio.sleep(0.1)
        assert room.order() == [T.ON_SESSION_STARTED, T.ON_RECORDING_STARTED]
        assert len(recorder.started) == 1


@virtual_time
async def test_V85_nothing_is_captured_while_the_hook_is_heard() -> None:
    recorder, parts = recording()
    async with stage(pipeline=parts, bound=False) as room:

        @room.kit.hook(T.ON_RECORDING_STARTED)
        async def consent(_event: Any, _context: Any) -> HookResult:
            await asyncio.sleep(0.3)
            return HookResult.allow()

        room.channel.bind_session(room.session, ROOM)
        await room.backend.simulate_session_ready(room.session)
        await room.quiet(280)
        assert not recorder.inbound_frames
        await room.quiet(200)
        assert recorder.inbound_frames


@virtual_time
async def test_V19_what_happens_in_which_order_at_the_end() -> None:
    recorder, parts = recording()
    async with stage(pipeline=parts) as room:
        await room.backend.simulate_session_ready(room.session)
        await room.quiet(200)
        room.watch(T.ON_RECORDING_STOPPED)
        room.watch_framework("voice_session_ended", "recording_stopped")
        resets = len(room.vad.resets)
        await room.channel.disconnect_session(room.session, ROOM)
        await asyncio.sleep(0.1)
        assert len(recorder.stopped) == 1
        (stopped,) = room.given(T.ON_RECORDING_STOPPED)
        assert stopped.session is room.session
        assert (stopped.id != "", stopped.room_id) == (True, ROOM)
        assert room.session.state is ENDED
        assert len(room.vad.resets) > resets
        assert not room.vad.closed


@virtual_time
async def test_V19_stages_are_closed_with_the_channel_only() -> None:
    async with stage() as room:
        bob = await room.join("bob")
        await room.channel.disconnect_session(bob, ROOM)
        assert not room.vad.closed
    assert room.vad.closed


@virtual_time
async def test_V46_a_stage_keeps_nothing_of_lines_that_have_left() -> None:
    async with stage() as room:
        for number in range(50):
            session = await room.join(f"p{number}")
            await room.feed(1, session)
            await room.channel.disconnect_session(session, ROOM)
        assert len(room.vad.events) <= 1


@pytest.mark.parametrize("how", ["close_room"])
@virtual_time
async def test_V20_V206_a_closed_room_refuses_transcripts(how: str) -> None:
    async with stage(transcripts=["hello", "too late"], answers=[LONG]) as room:
        await room.ask()
        await getattr(room.kit, how)(ROOM)
        before = await room.events()
        await room.speak()
        await room.quiet(1000)
        after = await room.events()
        assert [event.id for event in after if event.status is EventStatus.DELIVERED] == [
            event.id for event in before if event.status is EventStatus.DELIVERED
        ]
        played = room.played_ms()
        await room.quiet(1000)
        assert room.played_ms() == played
        room.watch(T.ON_SPEECH_START)
        late = await room.backend.connect(ROOM, "bob", "voice")
        result = await room.kit.process_inbound(message(room, late), room_id=ROOM)
        assert result.blocked
        await room.speak(400, late)
        assert not room.fired


# -- keys -----------------------------------------------------------------------------------------


@virtual_time
async def test_V23_a_key_in_the_sound_and_a_signalled_one_end_in_the_same_hook() -> None:
    detector = MockDTMFDetector([DTMFEvent("5", 80.0, 0.9)])
    async with stage(pipeline={"dtmf": detector}) as room:
        room.watch(T.ON_DTMF)
        await room.feed(2)
        await room.backend.simulate_dtmf_received(room.session, "5", 80.0)
        await asyncio.sleep(0.1)
        heard, signalled = room.given(T.ON_DTMF)
        assert (heard.digit, heard.duration_ms) == (signalled.digit, signalled.duration_ms)
        assert (heard.digit, heard.duration_ms) == ("5", 80.0)
        assert heard.session is signalled.session is room.session


@virtual_time
async def test_V24_V70_keys_towards_the_far_end() -> None:
    backend = MockVoiceBackend(refuse_dtmf=True)
    async with stage(backend=backend) as room:
        with pytest.raises(NotImplementedError):
            room.channel.send_dtmf(room.session, "5")
    backend = MockVoiceBackend(capabilities=VoiceCapability.DTMF_SIGNALING, refuse_dtmf=True)
    async with stage(backend=backend) as room:
        room.channel.send_dtmf(room.session, "5")
        room.channel.send_dtmf(room.session, "#", 400)
        assert backend.sent_dtmf == [(room.session.id, "5", 160), (room.session.id, "#", 400)]
        for digit, duration in (("x", 160), ("", 160), ("12", 160), ("1", 0), ("1", 10_001)):
            with pytest.raises(ValueError, match=r"digit|duration"):
                room.channel.send_dtmf(room.session, digit, duration)
        await room.channel.disconnect_session(room.session, ROOM)
        with pytest.raises(LocalProtocolError):
            room.channel.send_dtmf(room.session, "5")


@virtual_time
async def test_V207_with_redaction_no_digit_is_stored_or_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    number = "4929173306851"
    detector = MockDTMFDetector([DTMFEvent(digit) for digit in number])
    parts = {"dtmf": detector, "dtmf_redaction": DTMFRedaction()}
    async with stage(pipeline=parts) as room:
        room.watch(T.ON_DTMF)
        room.watch_framework("*")
        await room.feed(20)
        await asyncio.sleep(0.1)
        told = room.given(T.ON_DTMF)
        assert "".join(event.redacted_digit for event in told) == "*" * len(number)
        assert "".join(event.digit for event in told) == number
        assert number not in str([event.model_dump() for event in await room.events()])
        assert number not in str(room.framework)
        assert number not in caplog.text


# -- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["muted", "read_only"])
@virtual_time
async def test_V205_who_may_not_write_adds_nothing(how: str) -> None:
    async with stage(transcripts=["hello", "again"]) as room:
        if how == "muted":
            await room.kit.mute(ROOM, "voice")
        else:
            await room.kit.set_access(ROOM, "voice", Access.READ_ONLY)
        await room.speak()
        await asyncio.sleep(0.2)
        assert all(e.status is EventStatus.BLOCKED for e in await room.messages())
        room.vad.events.clear()  # what it was to say of sound that never came to it
        if how == "muted":
            await room.kit.unmute(ROOM, "voice")
        else:
            await room.kit.set_access(ROOM, "voice", Access.READ_WRITE)
        await room.speak()
        await asyncio.sleep(0.2)
        delivered = [e for e in await room.messages() if e.status is EventStatus.DELIVERED]
        assert len(delivered) == 1


@virtual_time
async def test_V204_a_hook_that_raises_stops_nobody() -> None:
    async with stage(transcripts=["one", "two"]) as room:

        @room.kit.hook(T.ON_SPEECH_START, name="bad")
        async def bad(_event: Any, _context: Any) -> HookResult:
            raise RuntimeError("no")

        room.watch(T.ON_SPEECH_START)
        for _ in range(2):
            await room.speak()
            await asyncio.sleep(0.2)
        assert len(room.fired) == 2
        assert await room.said() == ["one", "two"]


class Failing(MockDenoiserProvider):
    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        raise RuntimeError("broken")


@virtual_time
async def test_V204_a_stage_that_raises_on_every_frame_loses_no_sound() -> None:
    async with stage(transcripts=["one"], pipeline={"denoiser": Failing()}) as room:
        await room.speak()
        await asyncio.sleep(0.2)
        assert await room.said() == ["one"]
        assert len(room.stt.heard[0]) >= 400 * 32


class FailingVAD(ToldVAD):
    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        found = super().process(frame, stream)
        if found is None:
            raise RuntimeError("broken")
        return found


@virtual_time
async def test_V204_so_does_a_detector_that_raises() -> None:
    async with stage(transcripts=["one"], pipeline={"vad": FailingVAD()}) as room:
        await room.speak()
        await asyncio.sleep(0.2)
        assert await room.said() == ["one"]


@virtual_time
async def test_a_frame_of_an_odd_format_does_not_end_the_line() -> None:
    async with stage(transcripts=["one"]) as room:
        await room.backend.simulate_audio_received(
            room.session, AudioFrame(b"\x00" * 4 * 7, 22_050, 2, 2)
        )
        await room.backend.simulate_audio_received(room.session, AudioFrame(b""))
        await room.speak()
        await asyncio.sleep(0.2)
        assert await room.said() == ["one"]
        assert not room.backend.errors


@virtual_time
async def test_max_audio_frames_per_second_is_kept() -> None:
    async with stage(max_audio_frames_per_second=50) as room:
        seen = 0
        process = room.vad.process

        def counted(frame: AudioFrame, stream: str) -> VADEvent | None:
            nonlocal seen
            seen += 1
            return process(frame, stream)  # type: ignore[no-any-return]

        room.vad.process = counted
        await asyncio.sleep(1.0)
        for _ in range(400):
            await room.backend.simulate_audio_received(room.session, FRAME)
            await asyncio.sleep(0.0025)
        assert seen <= 105


@virtual_time
async def test_frames_of_a_session_in_no_room_are_dropped() -> None:
    async with stage(bound=False, transcripts=["hello"]) as room:
        await room.speak()
        await asyncio.sleep(0.1)
        assert not room.stt.heard
        assert not room.backend.errors
