"""What comes between the sound of a call: key presses, and another source (V28)."""

from __future__ import annotations

from tests.unit.voice.test_packet_leg import opened

from salon.media.frame import FRAME_SAMPLES
from salon.media.telephone_event import telephone_event_packets
from salon.testing import tone
from salon.voice.events import Dtmf


def test_V28_a_key_press_amid_the_sound_is_no_loss() -> None:
    line = opened()
    keys = telephone_event_packets("7", 200)
    for number, frame in enumerate(tone(800).reshape(-1, FRAME_SAMPLES)):
        line.packet(frame.tobytes(), timestamp=number * FRAME_SAMPLES)
        if number >= 10 and (press := next(keys, None)) is not None:
            payload, marker, _ = press
            line.packet(payload, 126, timestamp=1600, marker=marker)
        line.tick()
    assert line.events == [Dtmf("7")]
    figures = line.leg.playout()
    assert figures is not None
    assert (figures.lost, figures.concealed_ms) == (0, 0)


def test_another_source_with_numbers_that_were_there_before_is_heard() -> None:
    line = opened()
    line.say(400, ssrc=5)
    before = line.leg.playout()
    line.sequence = 5
    line.say(600, ssrc=6)
    after = line.leg.playout()
    assert before is not None
    assert after is not None
    assert after.received - before.received == 30
    assert (after.duplicates, after.late, after.resyncs) == (0, 0, 0)
