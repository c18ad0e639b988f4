"""Live sessions through the framework: joining and leaving rooms."""

from __future__ import annotations

import asyncio

import pytest

from salon import RoomKit, UnsupportedError, WebSocketChannel
from salon.channels.voice import VoiceChannel
from salon.core.errors import ChannelNotFoundError
from salon.testing import virtual_time
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSessionState


async def made() -> tuple[RoomKit, VoiceChannel, MockVoiceBackend]:
    kit, backend = RoomKit(), MockVoiceBackend()
    voice = VoiceChannel("voice", backend=backend)
    kit.register_channel(voice)
    await kit.create_room("room")
    return kit, voice, backend


@virtual_time
async def test_somebody_joins_by_a_session_of_the_channel_and_leaves() -> None:
    kit, voice, _ = await made()
    await kit.attach_channel("room", "voice")
    session = await kit.join("room", "voice", participant_id="ann", metadata={"name": "Ann"})
    assert session.participant_id == "ann"
    assert session.metadata["name"] == "Ann"
    assert voice.reaches("room")
    await kit.leave(session)
    await kit.leave(session)
    assert session.state is VoiceSessionState.ENDED
    assert not voice.reaches("room")
    assert [member.id for member in await kit.list_members("room")] == ["ann"]
    await kit.close()


@virtual_time
async def test_a_session_made_elsewhere_is_bound() -> None:
    kit, voice, backend = await made()
    await kit.attach_channel("room", "voice")
    session = await backend.connect("room", "ann", "voice")
    await kit.bind_voice_session(session, "room", "voice")
    assert voice.reaches("room")
    again = await kit.connect_voice("room", "ben", "voice")
    assert again.id != session.id
    await kit.disconnect_voice(session)
    await asyncio.sleep(0.1)
    assert voice.reaches("room")
    await kit.close()


@virtual_time
async def test_only_through_a_channel_of_the_room_that_has_sessions() -> None:
    kit, _, _ = await made()
    with pytest.raises(ChannelNotFoundError):
        await kit.join("room", "voice", participant_id="ann")
    kit.register_channel(WebSocketChannel("web"))
    await kit.attach_channel("room", "web")
    with pytest.raises(UnsupportedError, match="no live sessions"):
        await kit.join("room", "web", participant_id="ann")
    await kit.close()
