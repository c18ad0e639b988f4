"""V24: what a detector cut out, and recognisers that have listened by themselves."""

from __future__ import annotations

import pytest
from tests.conformance.voice.stage import FRAME, end, stage

from salon.testing import MockSpeechToText, virtual_time

SEGMENT = b"\x07\x00" * 4000


class Whole(MockSpeechToText):
    """Recognises at the end."""

    supports_partials = False


@virtual_time
@pytest.mark.parametrize("whole", [False, True])
async def test_V24_a_recogniser_that_has_heard_the_speech_is_not_asked_anew(whole: bool) -> None:
    stt = Whole(["hello"]) if whole else MockSpeechToText(["hello"])
    async with stage(stt=stt) as room:
        await room.begin()
        await room.quiet(300)
        room.vad.tell(room.session.id, end(SEGMENT, 320.0))
        await room.quiet(400)
        assert await room.said() == ["hello"]
        (finished,) = [heard for heard in stt.heard if heard.finished]
        given_up = [heard for heard in stt.heard if heard.cancelled]
        if whole:
            assert finished.samples.tobytes() == SEGMENT
            assert len(given_up) == 1
        else:
            assert not given_up
            assert set(samples_of(finished.samples.tobytes())) == set(samples_of(FRAME.data))


def samples_of(data: bytes) -> list[bytes]:
    """The samples."""
    return [data[at : at + 2] for at in range(0, len(data), 2)]
