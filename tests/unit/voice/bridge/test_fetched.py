"""Rooms paced by the media clock: push, tick, take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.voice.bridge.sound import mixing, peaks, pitch, session, tone

from salon.base import ConfigurationError
from salon.media.frame import FRAME_SAMPLES, AudioFrame, Samples
from salon.voice.bridge import AudioBridge, AudioBridgeConfig, BridgeFullError
from salon.voice.pipeline.mixer import NumpyMixerProvider

Heard = dict[str, list[Samples | None]]


def people(bridge: AudioBridge, names: list[str], room: str = "room") -> None:
    for name in names:
        bridge.add_session(session(name, room), room)


def run(
    bridge: AudioBridge,
    speaking: list[str],
    listening: list[str],
    windows: int = 27,
    *,
    start: int = 0,
    peak: float = 3000,
) -> Heard:
    """Everybody of `speaking` says their own tone; what is heard, window by window."""
    heard: Heard = {name: [] for name in listening}
    for at in range(start, start + windows):
        for name in speaking:
            bridge.push(name, tone(pitch(int(name)), at, peak=peak))
        bridge.tick(at)
        for name in listening:
            heard[name].append(bridge.take(name))
    return heard


def sounds(frames: list[Samples | None]) -> list[Samples]:
    return [frame for frame in frames if frame is not None]


def hears(frames: list[Samples | None], names: list[str], others: list[str]) -> bool:
    """Exactly the tones of `names`, at their level, of all in `names` and `others`."""
    found = peaks(sounds(frames), [pitch(int(name)) for name in names + others])
    there, absent = found[: len(names)], found[len(names) :]
    return all(2900 < level < 3100 for level in there) and all(level < 10 for level in absent)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_V139_each_hears_exactly_the_others(count: int) -> None:
    bridge = mixing()
    names = [str(at) for at in range(count)]
    people(bridge, names)
    heard = run(bridge, names, names)
    for name in names:
        assert heard[name][0] is None
        assert len(sounds(heard[name])) == 26
        assert hears(heard[name], [each for each in names if each != name], [name])


def test_V139_in_a_crowd_own_voice_is_absent() -> None:
    bridge = mixing(20)
    names = [str(at) for at in range(20)]
    people(bridge, names)
    heard = run(bridge, names, names, windows=52, peak=1000)  # 19 of them fit below the limiter
    for name in names:
        found = peaks(sounds(heard[name])[:50], [pitch(int(each)) for each in names])
        own = found.pop(int(name))
        assert min(found) > 950
        assert own < 10


def test_V138_forward_passes_one_frame_per_window_between_two() -> None:
    bridge = AudioBridge()
    people(bridge, ["0", "1"])
    heard = run(bridge, ["0", "1"], ["0", "1"])
    assert hears(heard["0"], ["1"], ["0"])
    assert hears(heard["1"], ["0"], ["1"])


def test_V138_forward_is_for_two() -> None:
    bridge = AudioBridge()
    people(bridge, ["0", "1"])
    with pytest.raises(BridgeFullError, match="forward") as caught:
        people(bridge, ["2"])
    assert isinstance(caught.value, ConfigurationError | RuntimeError)
    people(bridge, ["2"], room="elsewhere")
    bridge.remove_session("0")
    people(bridge, ["3"])
    assert bridge.get_participant_count("room") == 2


def test_V138_max_participants_bounds_a_room() -> None:
    bridge = mixing(3)
    people(bridge, ["0", "1", "2"])
    with pytest.raises(BridgeFullError, match="3"):
        people(bridge, ["3"])
    people(bridge, ["1"])  # who is there already takes no further place
    assert bridge.session_count == 3


@pytest.mark.parametrize(
    "wrong", [{"mixing_strategy": "shout"}, {"max_participants": 1}, {"max_participants": 0}]
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        AudioBridgeConfig(**wrong)  # type: ignore[arg-type]


def test_V140_one_frame_per_window_and_target_whatever_the_sources() -> None:
    bridge = mixing()
    people(bridge, ["0", "1", "2", "3"])
    for at in range(10):
        for name in ["0"] * 3 + ["1"]:
            bridge.push(name, tone(400, at))
        bridge.tick(at)
        taken = [bridge.take("3"), bridge.take("3")]
        assert taken[1] is None
        if at:
            assert taken[0] is not None
            assert len(taken[0]) == FRAME_SAMPLES


def test_V140_a_source_without_frame_counts_as_silence() -> None:
    bridge = mixing()
    people(bridge, ["0", "1", "2"])
    heard = run(bridge, ["0"], ["0", "1", "2"])
    assert sounds(heard["0"]) == []
    assert hears(heard["1"], ["0"], ["1", "2"])


def test_V140_windows_of_silence_give_nothing() -> None:
    bridge = mixing()
    people(bridge, ["0", "1", "2"])
    for at in range(10):
        for name in ("0", "1"):
            bridge.push(name, np.zeros(FRAME_SAMPLES, np.int16))
        bridge.tick(at)
        assert [bridge.take(name) for name in ("0", "1", "2")] == [None] * 3
    assert bridge.statistics().windows == 0


def test_silence_within_speech_does_not_shift_time() -> None:
    bridge = mixing()
    people(bridge, ["0", "1"])
    said = [tone(400, at) if at % 3 else np.zeros(FRAME_SAMPLES, np.int16) for at in range(12)]
    heard = []
    for at, samples in enumerate(said):
        bridge.push("0", samples)
        bridge.tick(at)
        heard.append(bridge.take("1"))
    for before, after in zip(said, heard[1:], strict=False):
        assert (after is None and not before.any()) or np.array_equal(before, after)  # type: ignore[arg-type]


def test_rooms_do_not_hear_each_other() -> None:
    bridge = mixing()
    people(bridge, ["0", "1"], "a")
    people(bridge, ["2", "3"], "b")
    heard = run(bridge, ["0", "2"], ["1", "3"])
    assert hears(heard["1"], ["0"], ["2"])
    assert hears(heard["3"], ["2"], ["0"])
    assert bridge.rooms == ("a", "b")


def test_V142_frames_of_any_rate_and_shape_are_taken() -> None:
    bridge = mixing()
    people(bridge, ["0", "1", "2", "3"])
    heard: list[Samples] = []
    for at in range(28):
        bridge.forward(session("0"), AudioFrame.of(tone(300, at, rate=8000), 8000))
        bridge.forward(session("1"), AudioFrame.of(tone(450, at, rate=48000), 48000))
        stereo = np.repeat(tone(600, at), 2)
        bridge.forward(session("2"), AudioFrame(stereo.tobytes(), 16000, 2))
        bridge.tick(at)
        mixed = bridge.take("3")
        if mixed is not None:
            heard.append(mixed)
    found = peaks(heard[2:], [300, 450, 600, 750])
    assert all(2800 < level < 3200 for level in found[:3])
    assert found[3] < 30


def test_muted_is_not_heard_and_what_waited_is_gone() -> None:
    bridge = mixing()
    people(bridge, ["0", "1", "2"])
    run(bridge, ["0", "1"], ["2"], 5)
    bridge.set_muted("0", True)
    heard = run(bridge, ["0", "1"], ["2"], start=5)
    assert hears(heard["2"], ["1"], ["0"])
    assert bridge.source_statistics("0").depth == 0
    bridge.set_muted("0", False)
    run(bridge, ["0", "1"], ["2"], 2, start=32)
    assert hears(run(bridge, ["0", "1"], ["2"], start=34)["2"], ["0", "1"], [])


def test_deaf_hears_nobody_and_is_heard() -> None:
    bridge = mixing()
    people(bridge, ["0", "1", "2"])
    names = ["0", "1", "2"]
    run(bridge, names, [], 3)
    bridge.set_deaf("1", True)
    assert bridge.take("1") is None
    heard = run(bridge, names, names, start=3)
    assert sounds(heard["1"]) == []
    assert hears(heard["0"], ["1", "2"], ["0"])
    bridge.set_deaf("1", False)
    assert hears(run(bridge, names, names, start=30)["1"], ["0", "2"], ["1"])


def test_private_speech_is_heard_by_its_audience_only() -> None:
    bridge = mixing()
    names = ["0", "1", "2", "3"]
    people(bridge, names)
    bridge.set_audience("0", {"1"})
    heard = run(bridge, names, names)
    assert hears(heard["1"], ["0", "2", "3"], ["1"])
    assert hears(heard["2"], ["1", "3"], ["0", "2"])
    bridge.set_audience("0", set())
    assert hears(run(bridge, names, names, start=27)["1"], ["2", "3"], ["0", "1"])
    bridge.set_audience("0", None)
    assert hears(run(bridge, names, names, start=54)["2"], ["0", "1", "3"], ["2"])


def test_another_mixer_may_sum() -> None:
    bridge = AudioBridge(AudioBridgeConfig(mixing_strategy="mix", mixer=NumpyMixerProvider()))
    names = ["0", "1", "2"]
    people(bridge, names)
    assert hears(run(bridge, names, names)["1"], ["0", "2"], ["1"])


def test_disabled_it_keeps_members_and_moves_nothing() -> None:
    bridge = AudioBridge(AudioBridgeConfig(enabled=False))
    people(bridge, ["0", "1"])
    assert sounds(run(bridge, ["0"], ["1"])["1"]) == []
    assert bridge.session_count == 2


def test_V136_members_come_and_go() -> None:
    bridge = mixing()
    people(bridge, ["0", "1", "2"])
    run(bridge, ["0", "1"], [], 4)
    bridge.remove_session("0")
    bridge.remove_session("0")
    assert hears(run(bridge, ["0", "1"], ["2"], start=4)["2"], ["1"], ["0"])
    assert bridge.take("0") is None
    assert bridge.statistics().unknown == 27
    people(bridge, ["1"], "elsewhere")
    assert bridge.get_participant_count("room") == 1
    assert bridge.rooms == ("room", "elsewhere")
    people(bridge, ["1"], "elsewhere")  # alone there and again: the room stays
    assert bridge.rooms == ("room", "elsewhere")
    bridge.close()
    assert bridge.get_participant_count("room") == bridge.session_count == 0
    assert not bridge.rooms


def test_no_member_no_setting() -> None:
    bridge = mixing()
    for act in (
        lambda: bridge.set_muted("x", True),
        lambda: bridge.set_deaf("x", True),
        lambda: bridge.set_audience("x", None),
        lambda: bridge.set_audio_filter(None, "x"),
        lambda: bridge.source_statistics("x"),
    ):
        with pytest.raises(KeyError):
            act()
    assert bridge.get_session_backend("x") is None
    assert bridge.get_bridged_sessions("x") == []


def test_only_int16_is_taken() -> None:
    bridge = mixing()
    people(bridge, ["0", "1"])
    with pytest.raises(ValueError, match="int16"):
        bridge.push("0", np.zeros(320, np.float32))


@pytest.mark.parametrize("wrong", [{"sample_rate": 10}, {"prime": 0}])
def test_a_wrong_member_is_refused_and_the_present_one_stays(wrong: dict[str, Any]) -> None:
    bridge = mixing()
    people(bridge, ["0"])
    with pytest.raises(ValueError, match=r"10|prime"):
        bridge.add_session(session("0"), "room", **wrong)
    assert bridge.session_count == 1


def test_what_is_not_taken_is_gone_and_counted() -> None:
    bridge = mixing()
    people(bridge, ["0", "1"])
    run(bridge, ["0"], [], 10)
    assert bridge.statistics().untaken == 8
    bridge.tick(10)  # the last frame
    bridge.tick(11)
    assert bridge.take("1") is None
    assert bridge.statistics().untaken == 10


def test_prime_of_one_adds_no_delay() -> None:
    bridge = mixing()
    bridge.add_session(session("0"), "room", prime=1)
    people(bridge, ["1"])
    assert len(sounds(run(bridge, ["0"], ["1"], 5)["1"])) == 5


def test_jitter_is_evened_out() -> None:
    """Frames in pairs every 40 ms: every window has one."""
    bridge = mixing()
    people(bridge, ["0", "1"])
    heard = []
    for at in range(60):
        if at % 2 == 0:
            bridge.push("0", tone(400, at))
            bridge.push("0", tone(400, at + 1))
        bridge.tick(at)
        heard.append(bridge.take("1"))
    assert sounds(heard) == heard
    assert peaks(sounds(heard), [400])[0] > 2900
    assert bridge.statistics().underruns == 0


@pytest.mark.parametrize(("hurry", "most"), [(1.002, 5), (1.02, 5)])
def test_a_fast_clock_builds_up_no_delay(hurry: float, most: int) -> None:
    """Seven minutes at 2000 ppm, and at far too much."""
    bridge = mixing()
    people(bridge, ["0", "1"])
    said, deepest = 0, 0
    for at in range(20_000):
        while said < at * hurry:
            bridge.push("0", tone(400, said % 50, peak=20 if said % 100 < 20 else 3000))
            said += 1
        bridge.tick(at)
        if at > 1000:
            deepest = max(deepest, bridge.source_statistics("0").depth)
    figures = bridge.statistics()
    assert deepest <= most
    assert figures.shed >= 20_000 * (hurry - 1) - 5
    assert (figures.overflows, figures.underruns) == (0, 0)


def test_a_slow_clock_costs_two_windows_per_lost_frame() -> None:
    bridge = mixing()
    people(bridge, ["0", "1"])
    said, gaps = 0, 0
    for at in range(10_000):
        while said < at * 0.999 + 1:
            bridge.push("0", tone(400, said % 50))
            said += 1
        bridge.tick(at)
        gaps += bridge.take("1") is None
    figures = bridge.statistics()
    assert 4 <= figures.underruns <= 11
    assert gaps <= 2 * figures.underruns + 2


def test_skipped_ticks_do_not_become_delay() -> None:
    bridge = mixing()
    people(bridge, ["0", "1"])
    run(bridge, ["0"], [], 10)
    for at in range(10, 15):
        bridge.push("0", tone(400, at))
    bridge.tick(14)  # 10 to 13 never ran
    assert bridge.source_statistics("0").depth == 1
    assert bridge.statistics().shed == 4


def test_a_flood_is_bounded() -> None:
    bridge = mixing()
    people(bridge, ["0", "1"])
    for at in range(100):
        bridge.push("0", tone(400, at))
    assert bridge.source_statistics("0").depth == 8
    assert bridge.statistics().overflows == 92
    bridge.remove_session("0")
    assert bridge.statistics().overflows == 92


def test_rooms_where_nobody_speaks_are_not_looked_at() -> None:
    bridge = mixing()
    for at in range(50):
        people(bridge, [f"{at}0", f"{at}1"], f"room-{at}")
    run(bridge, ["00"], [], 10)
    for at in range(10, 14):
        bridge.tick(at)
    assert not bridge._reading
    assert bridge.statistics().underruns == 1
