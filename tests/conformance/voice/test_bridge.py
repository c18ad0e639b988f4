"""The bridge from outside: what each hears of the others (part 16)."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import FRAME_SAMPLES, AudioChunk, AudioFrame, Samples
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.bridge import AudioBridge, AudioBridgeConfig
from salon.voice.hook_payloads import BridgeAudioEvent

WINDOWS = 26


def session(name: str) -> VoiceSession:
    return VoiceSession(name, "room", name, "voice")


def tone(hertz: int, at: int, rate: int = 16_000) -> Samples:
    place = np.arange(at * rate // 50, (at + 1) * rate // 50)
    sound = np.rint(3000 * np.sin(2 * np.pi * hertz * place / rate))
    samples: Samples = sound.astype(np.int16)
    return samples


def level(frames: list[Samples], hertz: int, rate: int = 16_000) -> float:
    """Amplitude of a tone; all of them are multiples of 50 Hz."""
    sound = np.concatenate(frames)
    place = np.arange(len(sound))
    return float(2 * abs(np.mean(sound * np.exp(-2j * np.pi * hertz * place / rate))))


def mixing(*names: str, places: int = 10) -> AudioBridge:
    bridge = AudioBridge(AudioBridgeConfig(mixing_strategy="mix", max_participants=places))
    for name in names:
        bridge.add_session(session(name), "room")
    return bridge


def talk(bridge: AudioBridge, pitches: dict[str, int], ears: str) -> dict[str, list[Samples]]:
    heard: dict[str, list[Samples]] = {name: [] for name in ears}
    for at in range(WINDOWS + 1):
        for name, hertz in pitches.items():
            bridge.push(name, tone(hertz, at))
        bridge.tick(at)
        for name in ears:
            frame = bridge.take(name)
            if frame is not None:
                heard[name].append(frame)
    return heard


class Ear:
    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []

    def __call__(self, target: VoiceSession, frame: AudioFrame) -> None:
        self.frames.append(frame)


def test_V132_one_concrete_class_with_options() -> None:
    assert not inspect.isabstract(AudioBridge)
    defaults = AudioBridgeConfig()
    assert (defaults.enabled, defaults.max_participants) == (True, 10)
    assert defaults.mixing_strategy == "forward"
    assert AudioBridge(defaults).config is defaults
    assert AudioBridge().config == defaults


def test_V133_sound_is_there_when_forward_returns() -> None:
    bridge, ear = AudioBridge(), Ear()
    bridge.add_session(session("a"), "room", deliver=Ear())
    bridge.add_session(session("b"), "room", deliver=ear)
    frame = AudioFrame.of(tone(400, 0))
    assert not inspect.iscoroutinefunction(bridge.forward)
    bridge.forward(session("a"), frame)
    assert ear.frames == [frame]


def test_V134_sound_passes_the_targets_outbound_stages() -> None:
    bridge = AudioBridge()
    sent: list[AudioChunk] = []

    class Line(MockVoiceBackend):
        def send_audio_sync(self, session: VoiceSession, chunk: AudioChunk) -> None:
            sent.append(chunk)

    chunk = AudioChunk(b"\1\0")
    targets: list[str] = []

    def outbound(target: VoiceSession, frame: AudioFrame) -> AudioChunk:
        targets.append(target.id)
        return chunk

    bridge.set_frame_processor(outbound)
    for name in "ab":
        bridge.add_session(session(name), "room", Line())
    bridge.forward(session("a"), AudioFrame.of(tone(400, 0)))
    assert targets == ["b"]
    assert sent == [chunk]


def test_V136_membership_leaves_the_state_of_a_session_alone() -> None:
    bridge, one = AudioBridge(), session("a")
    bridge.add_session(one, "room")
    assert one.state is VoiceSessionState.CONNECTING
    one.state = VoiceSessionState.ACTIVE
    bridge.remove_session("a")
    assert one.state is VoiceSessionState.ACTIVE
    assert bridge.session_count == 0


def test_V137_members_come_go_and_speak_from_four_threads() -> None:
    bridge = mixing("ear")
    errors: list[Exception] = []

    def life(name: str) -> Callable[[], None]:
        def run() -> None:
            try:
                for at in range(100):
                    bridge.add_session(session(name), "room")
                    bridge.forward(session(name), AudioFrame.of(tone(400, at)))
                    bridge.tick(at)
                    bridge.take("ear")
                    bridge.remove_session(name)
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

        return run

    threads = [threading.Thread(target=life(name), daemon=True) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    assert bridge.get_participant_count("room") == 1
    heard = talk(bridge, {}, "ear")
    assert not any(heard.values())


def test_V138_forward_is_for_two_and_rooms_are_bounded() -> None:
    two = AudioBridge()
    three = mixing("a", "b", "c", places=3)
    for name in "ab":
        two.add_session(session(name), "room")
    for bridge in (two, three):
        with pytest.raises(ConfigurationError):
            bridge.add_session(session("more"), "room")


@pytest.mark.parametrize("names", ["ab", "abc", "abcdef"])
def test_V139_each_hears_all_others_and_never_itself(names: str) -> None:
    pitches = {name: 300 + 150 * at for at, name in enumerate(names)}
    heard = talk(mixing(*names), pitches, names)
    for name in names:
        for other, hertz in pitches.items():
            expected = 0 if other == name else 3000
            assert level(heard[name], hertz) == pytest.approx(expected, abs=30)


def test_V139_sums_beyond_full_scale_are_limited_not_wrapped() -> None:
    bridge = mixing(*"abcd")
    for at in range(2):
        for name in "abc":
            bridge.push(name, np.full(FRAME_SAMPLES, 30_000, np.int16))
        bridge.tick(at)
    heard = bridge.take("d")
    assert heard is not None
    assert heard.dtype == np.int16
    assert (heard > 30_000).all()


def test_V140_one_frame_per_window_and_listener_and_none_of_silence() -> None:
    bridge = mixing(*"abcd")
    heard = talk(bridge, {"a": 300, "b": 450}, "abcd")
    assert {len(frames) for frames in heard.values()} == {WINDOWS}
    assert {len(frame) for frame in heard["d"]} == {FRAME_SAMPLES}
    silent = mixing(*"ab")
    for at in range(5):
        silent.push("a", np.zeros(FRAME_SAMPLES, np.int16))
        silent.tick(at)
        assert silent.take("b") is None


@pytest.mark.parametrize("strategy", ["forward", "mix"])
def test_V141_a_filter_drops_and_replaces_frames_before_they_go(strategy: str) -> None:
    kind = "mix" if strategy == "mix" else "forward"
    bridge, ear = AudioBridge(AudioBridgeConfig(mixing_strategy=kind)), Ear()  # type: ignore[arg-type]
    bridge.add_session(session("a"), "room", deliver=Ear())
    bridge.add_session(session("b"), "room", deliver=ear)
    answers = [None, AudioFrame.of(tone(800, 0))]
    asked: list[BridgeAudioEvent] = []

    def check(event: BridgeAudioEvent) -> AudioFrame | None:
        asked.append(event)
        return answers.pop(0)

    bridge.set_audio_filter(check)
    for at in range(2):
        bridge.push("a", tone(400, at))
    assert [(event.session.id, event.room_id) for event in asked] == [("a", "room")] * 2
    assert len(ear.frames) == 1
    assert np.array_equal(ear.frames[0].samples, tone(800, 0))


@pytest.mark.parametrize(("here", "there"), [(8000, 48_000), (48_000, 8000), (16_000, 24_000)])
@pytest.mark.parametrize("strategy", ["forward", "mix"])
def test_V142_each_hears_at_its_own_rate(strategy: str, here: int, there: int) -> None:
    kind = AudioBridgeConfig(mixing_strategy="mix") if strategy == "mix" else None
    bridge, ear = AudioBridge(kind), Ear()
    bridge.add_session(session("a"), "room", deliver=Ear(), sample_rate=here)
    bridge.add_session(session("b"), "room", deliver=ear, sample_rate=there)
    for at in range(WINDOWS + 4):
        bridge.forward(session("a"), AudioFrame.of(tone(400, at, here), here))
    assert {frame.sample_rate for frame in ear.frames} == {there}
    sound = [frame.samples for frame in ear.frames[2 : 2 + 25]]
    assert level(sound, 400, there) == pytest.approx(3000, rel=0.03)
