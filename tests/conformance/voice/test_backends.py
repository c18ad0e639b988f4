"""Transports of voice: sessions, capabilities, keys, loss, traces (parts 3, 4, 5, 19)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import FrozenInstanceError
from datetime import UTC

import numpy as np
import pytest

from salon.media.frame import AudioChunk, AudioFrame
from salon.testing import MemoryPath, MemoryVoiceBackend, VirtualClock, tone, virtual_time
from salon.voice.backends import (
    MockVoiceBackend,
    ProtocolTrace,
    RTPVoiceBackend,
    VoiceBackend,
    VoiceCapability,
    VoiceSession,
    VoiceSessionEndedError,
    VoiceSessionState,
    WebSocketVoiceBackend,
)
from salon.voice.capture import MockCaptureSource

REAL = (MemoryVoiceBackend, RTPVoiceBackend, WebSocketVoiceBackend)


@pytest.mark.parametrize("state", [*VoiceSessionState][:-1])
def test_V13_no_way_leads_out_of_ENDED(state: VoiceSessionState) -> None:
    session = VoiceSession("s", "room", "ann", "voice")
    session.state = VoiceSessionState.ENDED
    with pytest.raises(VoiceSessionEndedError):
        session.state = state


@virtual_time
async def test_V13_V19_a_session_goes_from_CONNECTING_to_ACTIVE_to_ENDED() -> None:
    backend = MemoryVoiceBackend(auto_answer=False, clock=VirtualClock())
    session = await backend.connect("room", "ann", "voice")
    states = [session.state]
    await backend.accept(session, backend.new_caller())
    states.append(session.state)
    backend.caller(session).hang_up()
    await asyncio.sleep(0.1)
    states.append(session.state)
    assert [str(state) for state in states] == ["connecting", "active", "ended"]
    await backend.close()


def test_V18_every_backend_has_a_name_of_its_own() -> None:
    names = [make().name for make in (*REAL, MockVoiceBackend)]
    assert len(set(names)) == len(names)
    assert all(names)


def test_V21_no_backend_listens_for_speech() -> None:
    for make in (*REAL, MockVoiceBackend):
        assert not {"on_speech_start", "on_speech_end", "on_silence"} & set(dir(make))


def test_V22_capabilities_are_flags_and_NONE_by_default() -> None:
    assert MockVoiceBackend().capabilities is VoiceCapability.NONE
    both = VoiceCapability.NATIVE_AEC | VoiceCapability.NATIVE_AGC
    assert MockVoiceBackend(capabilities=both).capabilities == both
    assert {flag.name for flag in VoiceCapability} == {
        "INTERRUPTION",
        "BARGE_IN",
        "NATIVE_AEC",
        "NATIVE_AGC",
        "DTMF_INBAND",
        "DTMF_SIGNALING",
        "NATIVE_BRIDGE",
    }


@virtual_time
async def test_V23_keys_beside_the_sound_are_told_as_events() -> None:
    backend = MemoryVoiceBackend(clock=VirtualClock())
    keys: list[str] = []
    backend.on_dtmf_received(lambda _session, event: keys.append(event.digit))
    session = await backend.connect("room", "ann", "voice")
    for digit in "0*#D":
        backend.caller(session).press(digit)
    assert keys == list("0*#D")
    await backend.close()


async def test_V24_keys_need_DTMF_SIGNALING() -> None:
    refusing: list[VoiceBackend] = [WebSocketVoiceBackend(), MockVoiceBackend(refuse_dtmf=True)]
    for backend in refusing:
        assert VoiceCapability.DTMF_SIGNALING not in backend.capabilities
        session = await backend.connect("room", "ann", "voice")
        with pytest.raises(NotImplementedError):
            backend.send_dtmf(session, "5")
        await backend.close()


async def test_V25_there_is_a_mock() -> None:
    backend = MockVoiceBackend()
    heard: list[AudioFrame] = []
    backend.on_audio_received(lambda _session, frame: heard.append(frame))
    session = await backend.connect("room", "ann", "voice")
    frame = AudioFrame(bytes(640))
    await backend.simulate_audio_received(session, frame)
    assert heard == [frame]


@virtual_time
async def test_V29_V32_V33_lost_time_is_replaced_counted_and_marked() -> None:
    backend = MemoryVoiceBackend(to_backend=MemoryPath(loss=0.3), clock=VirtualClock())
    frames: list[AudioFrame] = []
    backend.on_audio_received(lambda _session, frame: frames.append(frame))
    session = await backend.connect("room", "ann", "voice")
    backend.caller(session).say(tone(2000))
    await asyncio.sleep(2.005)
    marked = [frame for frame in frames if frame.metadata.get("concealed") is True]
    assert len(frames) == 100
    assert len(marked) == backend.packets_lost(session) == backend.concealed_frames(session) > 10
    await backend.close()


@virtual_time
async def test_V104_an_interruption_ends_the_answer_that_is_being_sent() -> None:
    async def answer() -> AsyncIterator[AudioChunk]:
        while True:
            yield AudioChunk(tone(100).tobytes())
            await asyncio.sleep(0.05)

    backend = MemoryVoiceBackend(clock=VirtualClock())
    session = await backend.connect("room", "ann", "voice")
    sending = asyncio.create_task(backend.send_audio(session, answer()))
    await asyncio.sleep(1)
    assert await backend.cancel_audio(session)
    await sending
    await asyncio.sleep(0.1)
    heard = backend.caller(session).sound()
    assert np.abs(heard[:1600].astype(int)).max() > 500
    before = len(backend.caller(session).heard)
    await asyncio.sleep(1)
    assert len(backend.caller(session).heard) == before
    await backend.close()


@virtual_time
async def test_V212_traces_are_frozen_records_of_what_passed() -> None:
    traces: list[ProtocolTrace] = []
    backend = MemoryVoiceBackend(clock=VirtualClock())
    backend.set_trace_emitter(traces.append)
    session = await backend.connect("room", "ann", "voice")
    backend.caller(session).hang_up()
    await asyncio.sleep(0.1)
    assert [(trace.direction, trace.summary) for trace in traces] == [
        ("inbound", "memory connection accepted"),
        ("outbound", "sound passes"),
        ("inbound", "the far end is gone"),
        ("outbound", "session ended"),
    ]
    first = traces[0]
    assert (first.channel_id, first.protocol, first.session_id, first.room_id) == (
        "voice",
        "Memory",
        session.id,
        "room",
    )
    assert first.timestamp.tzinfo is UTC
    with pytest.raises(FrozenInstanceError):
        first.summary = "another"  # type: ignore[misc]
    await backend.close()


@virtual_time
async def test_V213_nothing_is_traced_while_nobody_listens_nor_what_was_pressed() -> None:
    traces: list[ProtocolTrace] = []
    backend = MemoryVoiceBackend(clock=VirtualClock())
    session = await backend.connect("room", "ann", "voice")
    backend.set_trace_emitter(traces.append)
    backend.caller(session).press("7")
    backend.send_dtmf(session, "8")
    assert not any("7" in trace.summary or "8" in trace.summary for trace in traces)
    backend.set_trace_emitter(None)
    await backend.disconnect(session)
    assert traces == []
    await backend.close()


def test_V251_the_past_of_a_shared_microphone_is_replayed_before_what_is_live() -> None:
    source = MockCaptureSource()
    mark = source.mark()
    past = source.feed_blocks(2, fill=1)
    heard: list[bytes] = []
    subscription = source.subscribe(lambda frame: heard.append(frame.data), since=mark)
    live = source.feed_blocks(1, fill=2)
    assert heard == past + live
    assert subscription.replayed_bytes == 1280
    assert not subscription.truncated
