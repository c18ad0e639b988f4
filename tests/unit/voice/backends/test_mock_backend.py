"""`MockVoiceBackend` records what it is told and plays the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.media import AudioChunk, AudioFrame
from salon.voice.backends import VoiceCapability, VoiceSession, VoiceSessionState
from salon.voice.backends.mock import MockVoiceBackend, MockVoiceCall


async def stream(*parts: bytes, fails: bool = False) -> AsyncIterator[AudioChunk]:
    for part in parts:
        yield AudioChunk(part, 8000)
    if fails:
        raise ValueError("no more")


async def test_every_call_is_noted_with_its_arguments() -> None:
    backend = MockVoiceBackend()
    session = await backend.connect("room", "ann", "voice", metadata={"a": 1})
    assert (session.state, session.metadata) == (VoiceSessionState.ACTIVE, {"a": 1})
    await backend.send_audio(session, b"abcd")
    await backend.send_audio(session, stream(b"12", b"34"))
    backend.send_audio_sync(session, AudioChunk(b"56"))
    await backend.send_transcription(session, "hi", "assistant")
    backend.send_dtmf(session, "5")
    backend.start_playing(session)
    assert backend.is_playing(session)
    assert [await backend.cancel_audio(session) for _ in range(2)] == [True, False]
    await backend.disconnect(session)
    await backend.close()
    assert backend.sent_audio == [
        (session.id, b"abcd"),
        (session.id, b"1234"),
        (session.id, b"56"),
    ]
    assert [chunk.data for _, chunk in backend.sent_chunks] == [b"12", b"34", b"56"]
    assert backend.sent_transcriptions == [(session.id, "hi", "assistant")]
    assert backend.sent_dtmf == [(session.id, "5", 160)]
    one = {"session_id": session.id}
    assert backend.calls == [
        MockVoiceCall(
            "connect",
            {
                "room_id": "room",
                "participant_id": "ann",
                "channel_id": "voice",
                "metadata": {"a": 1},
            },
        ),
        MockVoiceCall("send_audio", one),
        MockVoiceCall("send_audio", one),
        MockVoiceCall("send_audio_sync", {**one, "size": 2}),
        MockVoiceCall("send_transcription", {**one, "text": "hi", "role": "assistant"}),
        MockVoiceCall("send_dtmf", {**one, "digit": "5", "duration_ms": 160}),
        MockVoiceCall("cancel_audio", {**one, "was_playing": True}),
        MockVoiceCall("cancel_audio", {**one, "was_playing": False}),
        MockVoiceCall("disconnect", one),
        MockVoiceCall("close"),
    ]
    assert MockVoiceCall("x").args == {}


async def test_a_stream_that_breaks_leaves_what_was_read() -> None:
    backend = MockVoiceBackend()
    session = await backend.connect("room", "ann", "voice")
    with pytest.raises(ValueError, match="no more"):
        await backend.send_audio(session, stream(b"12", fails=True))
    assert backend.sent_audio == []
    assert [chunk.data for _, chunk in backend.sent_chunks] == [b"12"]


async def test_every_simulation_reaches_every_callback_and_errors_are_kept() -> None:
    backend = MockVoiceBackend(capabilities=VoiceCapability.BARGE_IN)
    told: list[Any] = []

    async def ready(session: VoiceSession) -> None:
        told.append(("ready", session.id))

    def bad(*_args: object) -> None:
        raise RuntimeError("wrong")

    backend.on_session_ready(bad)
    backend.on_session_ready(ready)
    backend.on_audio_received(lambda _session, frame: told.append(frame))
    backend.on_audio_received(lambda _session, frame: told.append(frame))
    backend.on_barge_in(lambda _session: told.append("barge"))
    backend.on_client_disconnected(lambda _session: told.append("gone"))
    backend.on_dtmf_received(lambda _session, event: told.append(event.digit))
    session = await backend.connect("room", "ann", "voice")
    frame = AudioFrame(b"\0\0")
    await backend.simulate_audio_received(session, frame)
    await backend.simulate_barge_in(session)
    await backend.simulate_client_disconnected(session)
    await backend.simulate_dtmf_received(session, "#")
    assert told == [("ready", session.id), frame, frame, "barge", "gone", "#"]
    assert [str(error) for error in backend.errors] == ["wrong"]
    assert [call.method for call in backend.calls][-1] == "connect"
    assert backend.capabilities is VoiceCapability.BARGE_IN
    assert backend.name == "MockVoiceBackend"


async def test_V24_keys_may_be_refused_as_a_real_backend_would() -> None:
    refusing = MockVoiceBackend(refuse_dtmf=True)
    session = await refusing.connect("room", "ann", "voice")
    with pytest.raises(NotImplementedError):
        refusing.send_dtmf(session, "1")
    able = MockVoiceBackend(capabilities=VoiceCapability.DTMF_SIGNALING, refuse_dtmf=True)
    able.send_dtmf(session, "1")
    assert able.sent_dtmf == [(session.id, "1", 160)]


async def test_an_ended_session_is_known_until_close() -> None:
    backend = MockVoiceBackend()
    session = await backend.connect("room", "ann", "voice")
    other = await backend.connect("room", "bob", "voice")
    backend.start_playing(session)
    backend.stop_playing(session)
    await backend.disconnect(session)
    assert backend.get_session(session.id) is session
    assert backend.list_sessions("room") == [other]
    await backend.close()
    assert backend.get_session(session.id) is None
    assert other.state is VoiceSessionState.ENDED
