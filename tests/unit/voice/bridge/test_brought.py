"""Rooms without a clock: sound is brought to callbacks and backends as it comes."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.bridge.sound import Ear, mixing, peaks, session, tone

from salon.media.frame import AudioChunk, AudioFrame
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge import AudioBridge


def ears(bridge: AudioBridge, names: str, **more: Any) -> dict[str, Ear]:
    made = {name: Ear() for name in names}
    for name, ear in made.items():
        bridge.add_session(session(name), "room", deliver=ear, **more)
    return made


def say(bridge: AudioBridge, name: str, at: int = 0, hertz: int = 400) -> None:
    bridge.forward(session(name), AudioFrame.of(tone(hertz, at)))


def test_forward_gives_the_other_party_the_frame_itself_at_once() -> None:
    bridge = AudioBridge()
    heard = ears(bridge, "ab")
    frame = AudioFrame.of(tone(400), timestamp_ms=60)
    bridge.forward(session("a"), frame)
    assert heard["b"].frames == [frame]
    assert heard["b"].frames[0] is frame
    assert heard["a"].frames == []
    bridge.push("b", tone(300))
    assert np.array_equal(heard["a"].samples[0], tone(300))


def test_forward_alone_or_to_the_deaf_reaches_nobody() -> None:
    bridge = AudioBridge()
    heard = ears(bridge, "a")
    say(bridge, "a")
    heard |= ears(bridge, "b")
    bridge.set_deaf("b", True)
    say(bridge, "a")
    bridge.set_deaf("b", False)
    bridge.set_audience("a", [])
    say(bridge, "a")
    bridge.set_audience("a", ["b"])
    assert heard["b"].frames == []
    say(bridge, "a")
    assert len(heard["b"].frames) == 1


def test_forward_to_one_who_fetches_waits_for_the_tick() -> None:
    bridge = AudioBridge()
    bridge.add_session(session("a"), "room", deliver=Ear())
    bridge.add_session(session("b"), "room")
    for at in range(3):
        say(bridge, "a", at)
        bridge.tick(at)
        assert (bridge.take("b") is None) == (at == 0)


def test_V142_forward_goes_from_rate_to_rate() -> None:
    bridge = AudioBridge()
    low, high = Ear(), Ear()
    bridge.add_session(session("a", input_sample_rate=8000), "room", deliver=low)
    bridge.add_session(session("b"), "room", deliver=high, sample_rate=48_000)
    for at in range(27):
        bridge.forward(session("a"), AudioFrame.of(tone(400, at, rate=8000), 8000))
        bridge.forward(session("b"), AudioFrame.of(tone(700, at, rate=48_000), 48_000))
    assert {frame.sample_rate for frame in high.frames} == {48_000}
    assert {frame.sample_rate for frame in low.frames} == {8000}
    assert peaks(high.samples[2:], [400, 700], 48_000) == [
        pytest.approx(3000, rel=0.05),
        pytest.approx(0, abs=40),
    ]
    assert peaks(low.samples[2:], [700], 8000)[0] == pytest.approx(3000, rel=0.05)


def test_output_rate_of_the_session_comes_before_its_input_rate() -> None:
    bridge = AudioBridge()
    ear = Ear()
    there = session("a", input_sample_rate=16_000, output_sample_rate=24_000)
    bridge.add_session(there, "room", deliver=ear)
    bridge.add_session(session("b"), "room", deliver=Ear())
    say(bridge, "b")
    assert ear.frames[0].sample_rate == 24_000


def test_a_backend_gets_chunks() -> None:
    bridge = AudioBridge()
    backend = MockVoiceBackend()
    bridge.add_session(session("a"), "room", backend)
    bridge.add_session(session("b"), "room", backend)
    say(bridge, "a")
    assert bridge.get_session_backend("a") is backend
    assert [found for _, found in bridge.get_bridged_sessions("room")] == [backend, backend]
    sent = [call for call in backend.calls if call.method == "send_audio_sync"]
    assert len(sent) == 1


def test_V134_the_frame_processor_makes_the_chunk() -> None:
    bridge = AudioBridge()
    sent: list[tuple[str, AudioChunk]] = []

    class Line(MockVoiceBackend):
        def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> None:
            sent.append((session.id, chunk))

    rates: list[tuple[str, int]] = []

    def outbound(target: VoiceSession, frame: AudioFrame) -> AudioChunk:
        rates.append((target.id, frame.sample_rate))
        return AudioChunk(b"\1\0", frame.sample_rate)

    bridge.add_session(session("a"), "room", Line())
    bridge.add_session(session("b"), "room", Line(), sample_rate=8000)
    bridge.set_frame_processor(outbound)
    say(bridge, "a")
    bridge.set_frame_processor(None)
    say(bridge, "a", 1)
    assert rates == [("b", 8000)]
    assert [(to, len(chunk.data)) for to, chunk in sent] == [("b", 2), ("b", 320)]


def test_mix_closes_a_window_when_every_active_source_has_contributed() -> None:
    bridge = mixing()
    heard = ears(bridge, "abc")
    say(bridge, "a", 0, 300)  # nobody else has spoken yet
    assert [len(heard[name].frames) for name in "abc"] == [0, 1, 1]
    say(bridge, "b", 0, 450)  # now two are active, and one has contributed
    assert [len(heard[name].frames) for name in "abc"] == [0, 1, 1]
    for at in range(1, 27):
        say(bridge, "a", at, 300)
        say(bridge, "b", at, 450)
        assert [len(heard[name].frames) for name in "abc"] == [at, at + 1, at + 1]
    both = heard["c"].samples[1:]
    assert peaks(both, [300, 450]) == [pytest.approx(3000, rel=0.05)] * 2
    assert peaks(heard["a"].samples, [300, 450])[0] < 10


def test_mix_does_not_wait_longer_than_three_frames() -> None:
    bridge = mixing()
    heard = ears(bridge, "abc")
    for at in range(3):
        say(bridge, "a", at)
        say(bridge, "b", at)
    before = len(heard["c"].frames)
    for at in range(3, 13):  # b has gone silent without a word
        say(bridge, "a", at)
    assert len(heard["c"].frames) >= before + 10
    say(bridge, "b", 13)
    say(bridge, "a", 13)
    assert heard["a"].frames
    assert bridge.statistics().overflows == 0


def test_mix_closes_on_tick_too() -> None:
    bridge = mixing()
    heard = ears(bridge, "abc")
    say(bridge, "a")
    say(bridge, "b")
    assert len(heard["c"].frames) == 1
    bridge.tick(0)
    assert len(heard["c"].frames) == 2
    bridge.tick(1)
    assert len(heard["c"].frames) == 2


def test_mix_of_silence_is_not_brought() -> None:
    bridge = mixing()
    heard = ears(bridge, "ab")
    for _ in range(5):
        bridge.push("a", np.zeros(320, np.int16))
    assert heard["b"].frames == []
    assert bridge.source_statistics("a").depth == 0


def test_mix_V142_each_target_at_its_rate() -> None:
    bridge = mixing()
    low, high = Ear(), Ear()
    bridge.add_session(session("low"), "room", deliver=low, sample_rate=8000)
    bridge.add_session(session("high"), "room", deliver=high, sample_rate=48_000)
    bridge.add_session(session("a"), "room", deliver=Ear())
    for at in range(27):
        say(bridge, "a", at)
    assert peaks(low.samples[2:], [400], 8000)[0] == pytest.approx(3000, rel=0.05)
    assert peaks(high.samples[2:], [400], 48_000)[0] == pytest.approx(3000, rel=0.05)


def test_who_fetches_among_those_it_is_brought_to_makes_the_clock_rule() -> None:
    bridge = mixing()
    heard = ears(bridge, "ab")
    bridge.add_session(session("c"), "room")
    for at in range(5):
        say(bridge, "a", at)
        assert len(heard["b"].frames) == max(0, at - 1)
        bridge.tick(at)
        assert (bridge.take("c") is None) == (at == 0)


def test_muted_while_it_comes_in_it_is_not_heard() -> None:
    for strategy in ("forward", "mix"):
        bridge = AudioBridge() if strategy == "forward" else mixing()
        heard = ears(bridge, "ab")

        def mute(_: VoiceSession, frame: AudioFrame, bridge: AudioBridge = bridge) -> AudioFrame:
            bridge.set_muted("a", True)
            return frame

        bridge.set_frame_filter(mute)
        say(bridge, "a")
        assert heard["b"].frames == []


def test_V204_a_target_that_raises_is_counted_and_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bridge = mixing()

    def broken(_: VoiceSession, __: AudioFrame) -> None:
        raise OSError("gone")

    bridge.add_session(session("x"), "room", deliver=broken)
    heard = ears(bridge, "ab")
    with caplog.at_level(logging.ERROR):
        for at in range(5):
            say(bridge, "a", at)
    assert len(heard["b"].frames) == 5
    assert bridge.statistics().delivery_failures == 5
    assert len(caplog.records) == 3  # the 1st, 2nd, 4th


def test_a_target_may_answer_from_within() -> None:
    bridge = AudioBridge()
    rounds: list[str] = []

    def back(name: str) -> Any:
        def deliver(_: VoiceSession, frame: AudioFrame) -> None:
            rounds.append(name)
            if len(rounds) < 6:
                bridge.forward(session(name), frame)

        return deliver

    bridge.add_session(session("a"), "room", deliver=back("a"))
    bridge.add_session(session("b"), "room", deliver=back("b"))
    say(bridge, "a")
    assert rounds == ["b", "a", "b", "a", "b", "a"]


def test_a_target_that_makes_sound_pile_up_loses_the_oldest() -> None:
    bridge = AudioBridge()
    heard: list[int] = []

    def slow(_: VoiceSession, frame: AudioFrame) -> None:
        if not heard:
            heard.append(-1)
            for value in range(1, 31):
                bridge.push("a", np.full(320, value, np.int16))
        heard.append(int(frame.samples[0]))

    bridge.add_session(session("a"), "room", deliver=Ear())
    bridge.add_session(session("b"), "room", deliver=slow)
    bridge.push("a", np.full(320, 100, np.int16))
    assert heard == [-1, 100, *range(15, 31)]
    assert bridge.statistics().undelivered == 14
    bridge.close()
    assert bridge.statistics().undelivered == 14


def test_removed_while_it_is_brought_sound_it_gets_no_more() -> None:
    bridge = AudioBridge()
    heard: list[AudioFrame] = []

    def leave(_: VoiceSession, frame: AudioFrame) -> None:
        heard.append(frame)
        say(bridge, "a")
        bridge.remove_session("b")
        say(bridge, "a")

    bridge.add_session(session("a"), "room", deliver=Ear())
    bridge.add_session(session("b"), "room", deliver=leave)
    say(bridge, "a")
    assert len(heard) == 1


def test_a_frame_that_is_on_its_way_when_its_target_leaves_is_dropped() -> None:
    bridge = AudioBridge()
    heard = ears(bridge, "ab")
    member = bridge._members["b"]
    bridge.remove_session("b")
    bridge._send(member, AudioFrame.of(tone(400)))
    assert heard["b"].frames == []
