"""A session's states (V13)."""

from __future__ import annotations

import logging

import pytest

from salon.voice.backends import VoiceSession, VoiceSessionEndedError, VoiceSessionState


def test_it_begins_connecting() -> None:
    session = VoiceSession("s", "room", "ann", "voice")
    assert session.state is VoiceSessionState.CONNECTING
    assert session.provider_session_id is None
    assert session.metadata == {}
    assert session.created_at.tzinfo is not None


@pytest.mark.parametrize("state", ["connecting", "active", "paused"])
def test_V13_nothing_leaves_ended(state: str) -> None:
    session = VoiceSession("s", "room", "ann", "voice")
    session.state = VoiceSessionState.ENDED
    session.state = VoiceSessionState.ENDED
    with pytest.raises(VoiceSessionEndedError) as caught:
        session.state = VoiceSessionState(state)
    assert caught.value.code == "voice_session_ended"
    assert session.state is VoiceSessionState.ENDED


def test_ways_in_the_table_are_silent_and_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = VoiceSession("s", "room", "ann", "voice")
    with caplog.at_level(logging.WARNING, "salon.voice"):
        for state in ("active", "paused", "active"):
            session.state = VoiceSessionState(state)
        assert caplog.records == []
        session.state = VoiceSessionState.CONNECTING
    assert "from active to connecting" in caplog.text
    assert session.state is VoiceSessionState.CONNECTING
