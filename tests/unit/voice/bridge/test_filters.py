from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.bridge.sound import Ear, mixing, session, tone

from salon.media.frame import AudioFrame
from salon.voice.backends.session import VoiceSession
from salon.voice.bridge import AudioBridge
from salon.voice.hook_payloads import BridgeAudioEvent


class HandClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pair(bridge: AudioBridge) -> Ear:
    ear = Ear()
    bridge.add_session(session("a"), "room", deliver=Ear())
    bridge.add_session(session("b"), "room", deliver=ear)
    return ear


def test_V141_the_filters_see_every_frame_before_it_goes() -> None:
    bridge = AudioBridge()
    ear = pair(bridge)
    seen: list[Any] = []

    def plain(source: VoiceSession, frame: AudioFrame) -> AudioFrame:
        seen.append(("plain", source.id, len(ear.frames)))
        return frame

    def event(given: BridgeAudioEvent) -> AudioFrame:
        seen.append(("event", given.session.id, given.room_id))
        return given.frame

    def own(given: BridgeAudioEvent) -> AudioFrame:
        seen.append(("own", given.session.id, given.room_id))
        return given.frame

    bridge.set_bridge_filter(plain)
    bridge.set_audio_filter(event)
    bridge.set_audio_filter(own, "a")
    bridge.push("a", tone(400))
    assert seen == [("plain", "a", 0), ("event", "a", "room"), ("own", "a", "room")]
    bridge.push("b", tone(400))
    assert [kind for kind, *_ in seen[3:]] == ["plain", "event"]
    for off in (bridge.set_frame_filter, bridge.set_audio_filter):
        off(None)
    bridge.set_audio_filter(None, "a")
    bridge.push("a", tone(400))
    assert len(seen) == 5
    assert len(ear.frames) == 2


@pytest.mark.parametrize("which", ["frame", "audio", "own"])
def test_V141_block_drops_and_modify_replaces(which: str) -> None:
    bridge = AudioBridge()
    ear = pair(bridge)
    answers: list[AudioFrame | None] = [None, AudioFrame.of(tone(800))]
    if which == "frame":
        bridge.set_frame_filter(lambda *_: answers.pop(0))
    else:
        bridge.set_audio_filter(lambda _: answers.pop(0), "a" if which == "own" else None)
    bridge.push("a", tone(400))
    assert ear.frames == []
    assert bridge.statistics().blocked == 1
    bridge.push("a", tone(400))
    assert np.array_equal(ear.samples[0], tone(800))


def test_a_dropped_frame_of_a_mix_counts_as_silence_and_holds_nobody_up() -> None:
    bridge = mixing()
    ear = pair(bridge)
    bridge.add_session(session("c"), "room", deliver=Ear())
    bridge.set_audio_filter(lambda _: None, "a")
    for at in range(5):
        for name in "ac":
            bridge.push(name, tone(400, at))
    assert [np.array_equal(got, tone(400, at)) for at, got in enumerate(ear.samples)] == [True] * 4


def test_V129_a_filter_that_raises_lets_the_frame_pass(caplog: pytest.LogCaptureFixture) -> None:
    bridge = AudioBridge()
    ear = pair(bridge)

    def broken(_: BridgeAudioEvent) -> AudioFrame:
        raise RuntimeError("no")

    bridge.set_audio_filter(broken)
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            bridge.push("a", tone(400))
    assert len(ear.frames) == 5
    assert bridge.statistics().filter_failures == 5
    assert len(caplog.records) == 3


def test_V130_what_is_no_frame_replaces_nothing() -> None:
    bridge = AudioBridge()
    ear = pair(bridge)
    wrong: Any = lambda *_: b"sound"  # noqa: E731
    bridge.set_frame_filter(wrong)
    bridge.push("a", tone(400))
    assert np.array_equal(ear.samples[0], tone(400))
    assert bridge.statistics().filter_failures == 1


def test_V141_more_than_a_millisecond_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    bridge = AudioBridge(clock=clock)
    pair(bridge)
    takes = [0.0009, 0.002, 0.003, 0.004]

    def filtering(_: VoiceSession, frame: AudioFrame) -> AudioFrame:
        clock.now += takes.pop(0)
        return frame

    bridge.set_frame_filter(filtering)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            bridge.push("a", tone(400))
    assert bridge.statistics().slow_filters == 3
    assert len(caplog.records) == 2
