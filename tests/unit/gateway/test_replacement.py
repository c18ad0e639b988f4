"""What takes the place of what plays, even if it can't play itself: G80."""

from __future__ import annotations

from salon.testing import CallPair


async def test_G80_a_sound_that_is_not_to_be_had_replaces_speech_too(call: CallPair) -> None:
    await call.invite(tts={})
    call.send({"command": "tts", "text": "a long answer to everything", "playId": "speech"})
    await call.expect("trackStart", playId="speech")
    call.send({"command": "play", "url": "gone.wav"})
    await call.expect("trackEnd", playId="gone.wav")
    told = [name for name in call.names if name not in ("answer", "metrics", "ping")]
    assert told[-5:] == ["interruption", "trackEnd", "trackStart", "error", "trackEnd"]
    (cut,) = call.of("interruption")
    assert cut["playId"] == "speech"
    assert len(call.of("trackEnd", playId="speech")) == 1
